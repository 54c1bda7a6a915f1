//! The merge loop that both tokenizers share: neighbours join, the best pair first, in n log n.
//! What may join, and how good a pair is, comes in as a function.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Marks the absence of a neighbour.
const NONE: usize = usize::MAX;

/// A stretch of the text that is one token so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    /// First byte in the text.
    pub(crate) start: usize,
    /// Bytes; zero once it has been swallowed by its left neighbour.
    pub(crate) length: usize,
    /// The token's id, in the caller's numbering.
    pub(crate) id: u32,
    previous: usize,
    next: usize,
}

/// What two neighbours would become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Join {
    /// Lower joins first; among equals, the leftmost.
    pub(crate) rank: u32,
    /// Id of the joined token.
    pub(crate) id: u32,
}

/// A join seen at some time: stale when either side has changed its length since.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: usize,
    left_length: usize,
    right_length: usize,
    id: u32,
}

/// Working memory, kept from one word to the next.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<Candidate>>,
}

impl Merger {
    /// Forgets the last text.
    pub(crate) fn clear(&mut self) {
        self.symbols.clear();
        self.heap.clear();
    }

    /// Appends the next stretch of the text.
    pub(crate) fn push(&mut self, start: usize, length: usize, id: u32) {
        let index = self.symbols.len();
        if let Some(last) = self.symbols.last_mut() {
            last.next = index;
        }
        self.symbols.push(Symbol { start, length, id, previous: index.wrapping_sub(1), next: NONE });
    }

    /// Joins until nothing joins any more. `join(left, right)` says what two neighbours become, if anything.
    pub(crate) fn run(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        for left in 0..self.symbols.len() {
            self.consider(left, &join);
        }
        while let Some(Reverse(best)) = self.heap.pop() {
            let left = self.symbols[best.left];
            if left.length != best.left_length || left.next == NONE {
                continue;
            }
            let right = self.symbols[left.next];
            if right.length != best.right_length {
                continue;
            }
            self.symbols[left.next].length = 0;
            self.symbols[best.left] =
                Symbol { length: left.length + right.length, id: best.id, next: right.next, ..left };
            if right.next != NONE {
                self.symbols[right.next].previous = best.left;
            }
            self.consider(best.left, &join);
            if left.previous != NONE {
                self.consider(left.previous, &join);
            }
        }
    }

    /// The symbols that are left, in the order of the text.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|symbol| symbol.length > 0)
    }

    fn consider(&mut self, left: usize, join: &impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        let first = self.symbols[left];
        if first.next == NONE {
            return;
        }
        let second = self.symbols[first.next];
        if let Some(Join { rank, id }) = join(&first, &second) {
            let (left_length, right_length) = (first.length, second.length);
            self.heap.push(Reverse(Candidate { rank, left, left_length, right_length, id }));
        }
    }
}

//! Blocks as a resource: reference counts, budgets, and which block goes first. It does not know what a block holds.
//!
//! A block is *blank* (nothing worth keeping), *held* (reference count above zero) or *cached* (nobody holds it, but its
//! content can still be found). Each partition has a budget and its own eviction order, one queue per retention class:
//!
//! ```text
//! blank:        [ b7 b9 … ]                       common stack
//! partition 0:  conversation  oldest ⇄ … ⇄ newest   evicted first
//!               document      oldest ⇄ … ⇄ newest
//!               pinned        oldest ⇄ … ⇄ newest   evicted last
//! ```

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::ids::BlockId;

/// Which blocks outlive which when space runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Retention {
    /// A user's own turn: goes first.
    #[default]
    Conversation,
    /// Document context, likely to be asked about again.
    Document,
    /// Document context that an operator pinned: goes last.
    Pinned,
}

const CLASSES: [Retention; 3] = [Retention::Conversation, Retention::Document, Retention::Pinned];

/// A budget of blocks with its own eviction order. Partition 0 is the commons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Blank,
    Held,
    Cached,
}

#[derive(Debug, Clone, Copy)]
struct Meta {
    state: State,
    ref_count: u32,
    /// Whether the content can be found, so that a release caches the block instead of blanking it.
    findable: bool,
    partition: PartitionId,
    retention: Retention,
    /// Neighbours in the eviction queue while cached.
    previous: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Partition {
    budget: usize,
    held: usize,
    cached: usize,
    queues: [Queue; 3],
}

struct Books {
    meta: Vec<Meta>,
    blank: Vec<u32>,
    partitions: Vec<Partition>,
}

/// The pool. Clones are views of the same pool, for handles; the bookkeeping lives on one thread.
#[derive(Clone)]
pub struct BlockPool(Rc<RefCell<Books>>);

/// A counted reference to a block. Not `Clone`: sharing is explicit, through [`BlockPool::share`]. Dropping it gives it back.
pub struct BlockRef {
    id: BlockId,
    pool: BlockPool,
}

/// The block whose content was given up to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted(pub BlockId);

impl BlockPool {
    /// `budgets[p]` blocks for partition `p`; their sum is the number of blocks.
    #[must_use]
    pub fn new(budgets: &[usize]) -> Self {
        let total = u32::try_from(budgets.iter().sum::<usize>()).expect("block ids are 32-bit");
        let blank = Meta {
            state: State::Blank,
            ref_count: 0,
            findable: false,
            partition: PartitionId(0),
            retention: Retention::Conversation,
            previous: NONE,
            next: NONE,
        };
        let queues = [Queue { oldest: NONE, newest: NONE }; 3];
        Self(Rc::new(RefCell::new(Books {
            meta: vec![blank; total as usize],
            // Popped from the end: block 0 is given out first.
            blank: (0..total).rev().collect(),
            partitions: budgets.iter().map(|&budget| Partition { budget, held: 0, cached: 0, queues }).collect(),
        })))
    }

    /// A blank block, or the first of the partition's own eviction order; `None` when all its budget is held.
    #[must_use]
    pub fn allocate(&self, partition: PartitionId, retention: Retention) -> Option<(BlockRef, Option<Evicted>)> {
        let mut state = self.0.borrow_mut();
        let owner = &state.partitions[partition.0 as usize];
        let (id, evicted) = if owner.held + owner.cached < owner.budget {
            (state.blank.pop().expect("budgets add up to the total"), None)
        } else {
            let id = CLASSES.iter().map(|&class| owner.queues[class as usize].oldest).find(|&id| id != NONE)?;
            state.unlink(id);
            state.partitions[partition.0 as usize].cached -= 1;
            (id, Some(Evicted(BlockId(id))))
        };
        let meta = &mut state.meta[id as usize];
        *meta = Meta { state: State::Held, ref_count: 1, findable: false, partition, retention, ..*meta };
        state.partitions[partition.0 as usize].held += 1;
        Some((BlockRef { id: BlockId(id), pool: self.clone() }, evicted))
    }

    /// Another reference to a block that is held or cached; a higher retention class sticks.
    #[must_use]
    pub fn share(&self, id: BlockId, retention: Retention) -> BlockRef {
        let mut state = self.0.borrow_mut();
        let meta = state.meta[id.index()];
        match meta.state {
            State::Held => {}
            State::Cached => {
                state.unlink(id.0);
                let owner = &mut state.partitions[meta.partition.0 as usize];
                owner.cached -= 1;
                owner.held += 1;
            }
            State::Blank => panic!("block {} is blank: nothing to share", id.0),
        }
        let meta = &mut state.meta[id.index()];
        meta.state = State::Held;
        meta.ref_count += 1;
        meta.retention = meta.retention.max(retention);
        BlockRef { id, pool: self.clone() }
    }

    fn release(&self, id: BlockId) {
        let mut state = self.0.borrow_mut();
        let meta = &mut state.meta[id.index()];
        assert!(meta.state == State::Held && meta.ref_count > 0, "block {} released twice", id.0);
        meta.ref_count -= 1;
        if meta.ref_count > 0 {
            return;
        }
        let meta = *meta;
        state.partitions[meta.partition.0 as usize].held -= 1;
        if meta.findable {
            state.meta[id.index()].state = State::Cached;
            state.partitions[meta.partition.0 as usize].cached += 1;
            state.link_newest(id.0);
        } else {
            state.meta[id.index()].state = State::Blank;
            state.blank.push(id.0);
        }
    }

    /// Says whether a block's content can be found. A cached block that cannot becomes blank.
    pub fn set_findable(&self, id: BlockId, findable: bool) {
        let mut state = self.0.borrow_mut();
        let meta = &mut state.meta[id.index()];
        assert!(meta.state != State::Blank, "block {} is blank", id.0);
        meta.findable = findable;
        if !findable && meta.state == State::Cached {
            meta.state = State::Blank;
            let partition = meta.partition;
            state.unlink(id.0);
            state.partitions[partition.0 as usize].cached -= 1;
            state.blank.push(id.0);
        }
    }

    /// References to a block.
    #[must_use]
    pub fn ref_count(&self, id: BlockId) -> u32 {
        self.0.borrow().meta[id.index()].ref_count
    }

    /// Blocks a partition could still be given: its budget less what is held.
    #[must_use]
    pub fn available(&self, partition: PartitionId) -> usize {
        let state = self.0.borrow();
        let owner = &state.partitions[partition.0 as usize];
        owner.budget - owner.held
    }

    /// A partition's budget in blocks.
    #[must_use]
    pub fn budget(&self, partition: PartitionId) -> usize {
        self.0.borrow().partitions[partition.0 as usize].budget
    }

    /// `(blank, cached, held)` over all partitions.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = self.0.borrow();
        let cached = state.partitions.iter().map(|partition| partition.cached).sum();
        let held = state.partitions.iter().map(|partition| partition.held).sum();
        (state.blank.len(), cached, held)
    }

    /// A partition's cached blocks in the order in which they would be evicted.
    #[must_use]
    pub fn eviction_order(&self, partition: PartitionId) -> Vec<BlockId> {
        let state = self.0.borrow();
        let mut order = Vec::new();
        for queue in state.partitions[partition.0 as usize].queues {
            let mut id = queue.oldest;
            while id != NONE {
                order.push(BlockId(id));
                id = state.meta[id as usize].next;
            }
        }
        order
    }

    /// Whether a block's content is marked as findable.
    pub(crate) fn is_findable(&self, id: BlockId) -> bool {
        self.0.borrow().meta[id.index()].findable
    }

    /// Panics when the books do not balance.
    pub fn assert_invariants(&self) {
        let state = self.0.borrow();
        let budgets: usize = state.partitions.iter().map(|partition| partition.budget).sum();
        assert_eq!(budgets, state.meta.len(), "budgets add up to the total");
        let mut seen = vec![false; state.meta.len()];
        for &id in &state.blank {
            assert!(!std::mem::replace(&mut seen[id as usize], true), "block {id} is blank twice");
            let meta = state.meta[id as usize];
            assert!(meta.state == State::Blank && meta.ref_count == 0, "block {id} is blank and held");
        }
        for (index, partition) in state.partitions.iter().enumerate() {
            assert!(partition.held + partition.cached <= partition.budget, "partition {index} is over its budget");
            let mut cached = 0;
            for (class, queue) in CLASSES.iter().zip(partition.queues) {
                let (mut id, mut previous) = (queue.oldest, NONE);
                while id != NONE {
                    let meta = state.meta[id as usize];
                    assert!(!std::mem::replace(&mut seen[id as usize], true), "block {id} is in two places");
                    assert_eq!(meta.state, State::Cached, "block {id} is queued but not cached");
                    assert_eq!(meta.ref_count, 0, "block {id} is queued but held");
                    assert!(meta.findable, "block {id} is cached but cannot be found");
                    assert_eq!((meta.partition.0 as usize, meta.retention), (index, *class), "block {id} is misfiled");
                    assert_eq!(meta.previous, previous, "block {id} has a wrong neighbour");
                    (previous, id) = (id, meta.next);
                    cached += 1;
                }
                assert_eq!(queue.newest, previous, "a queue ends where its links end");
            }
            assert_eq!(cached, partition.cached, "partition {index} counts its cached blocks");
            let held = |meta: &&Meta| meta.state == State::Held && meta.partition.0 as usize == index;
            assert_eq!(state.meta.iter().filter(held).count(), partition.held, "partition {index} counts what is held");
        }
        for (id, meta) in state.meta.iter().enumerate() {
            assert_eq!(meta.state == State::Held, meta.ref_count > 0, "block {id} is held while referenced");
            assert_eq!(seen[id], meta.state != State::Held, "block {id} is in exactly one place");
        }
    }
}

impl Books {
    fn unlink(&mut self, id: u32) {
        let Meta { previous, next, partition, retention, .. } = self.meta[id as usize];
        let queue = &mut self.partitions[partition.0 as usize].queues[retention as usize];
        if previous == NONE {
            queue.oldest = next;
        } else {
            self.meta[previous as usize].next = next;
        }
        let queue = &mut self.partitions[partition.0 as usize].queues[retention as usize];
        if next == NONE {
            queue.newest = previous;
        } else {
            self.meta[next as usize].previous = previous;
        }
        let meta = &mut self.meta[id as usize];
        (meta.previous, meta.next) = (NONE, NONE);
    }

    fn link_newest(&mut self, id: u32) {
        let Meta { partition, retention, .. } = self.meta[id as usize];
        let queue = &mut self.partitions[partition.0 as usize].queues[retention as usize];
        let previous = std::mem::replace(&mut queue.newest, id);
        if previous == NONE {
            queue.oldest = id;
        } else {
            self.meta[previous as usize].next = id;
        }
        let meta = &mut self.meta[id as usize];
        (meta.previous, meta.next) = (previous, NONE);
    }
}

impl BlockRef {
    /// The block.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.id
    }
}

impl Drop for BlockRef {
    fn drop(&mut self) {
        self.pool.release(self.id);
    }
}

impl fmt::Debug for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockRef({})", self.id.0)
    }
}

impl fmt::Debug for BlockPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blank, cached, held) = self.counts();
        write!(f, "BlockPool(blank {blank}, cached {cached}, held {held})")
    }
}

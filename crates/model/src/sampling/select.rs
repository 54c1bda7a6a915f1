//! The best tokens of a row without sorting the vocabulary. Order: higher logit first, then lower id, so that no two
//! tokens are equal and every selection has one answer.

use std::cmp::Ordering;

/// Logits that are looked at together.
const BLOCK: usize = 64;

/// A token with its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub(super) logit: f32,
    pub(super) id: u32,
}

/// Best first. The two zeros are equal; a NaN never comes here.
fn by_rank(left: &Scored, right: &Scored) -> Ordering {
    right.logit.partial_cmp(&left.logit).unwrap_or(Ordering::Equal).then(left.id.cmp(&right.id))
}

/// The last token that is let through, and everything ranked before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cutoff {
    last: Scored,
}

impl Cutoff {
    /// Lets every token through but the banned (negative infinity).
    pub(super) const NONE: Self = Self { last: Scored { logit: f32::MIN, id: u32::MAX } };

    /// Lets logits of at least this through.
    pub(super) fn at_least(logit: f32) -> Self {
        Self { last: Scored { logit: logit.max(f32::MIN), id: u32::MAX } }
    }

    /// Lets this token and all ranked before it through.
    pub(super) fn through(last: Scored) -> Self {
        Self { last }
    }

    /// Whether a token may pass.
    #[inline]
    pub(super) fn passes(self, logit: f32, id: u32) -> bool {
        logit > self.last.logit || (logit == self.last.logit && id <= self.last.id)
    }
}

/// The best token; none for an empty row.
pub(super) fn argmax(logits: &[f32]) -> Option<Scored> {
    let greatest = logits.iter().copied().reduce(f32::max)?;
    let index = logits.iter().position(|&logit| logit == greatest)?;
    Some(Scored { logit: logits[index], id: index as u32 })
}

/// Puts the best `count` tokens that pass the cutoff into `best`, best first; fewer if fewer pass.
pub(super) fn best(logits: &[f32], cutoff: Cutoff, count: usize, best: &mut Vec<Scored>) {
    best.clear();
    if count == 0 {
        return;
    }
    let floor = floor_of_best(logits, count, best);
    for (block, chunk) in logits.chunks(BLOCK).enumerate() {
        for (offset, &logit) in chunk.iter().enumerate() {
            let id = (block * BLOCK + offset) as u32;
            if logit >= floor && cutoff.passes(logit, id) {
                best.push(Scored { logit, id });
            }
        }
    }
    if count < best.len() {
        best.select_nth_unstable_by(count - 1, by_rank);
        best.truncate(count);
    }
    best.sort_unstable_by(by_rank);
}

/// A logit that at least `count` tokens reach: the `count`-th of the blocks' greatest. Usually few tokens reach it
/// besides the best, so that little is left to select from.
fn floor_of_best(logits: &[f32], count: usize, scratch: &mut Vec<Scored>) -> f32 {
    if count > logits.len() / BLOCK {
        return f32::NEG_INFINITY;
    }
    let greatest = |chunk: &[f32]| chunk.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scratch.extend(logits.chunks(BLOCK).map(|chunk| Scored { logit: greatest(chunk), id: 0 }));
    let (_, floor, _) = scratch.select_nth_unstable_by(count - 1, by_rank);
    let floor = floor.logit;
    scratch.clear();
    floor
}

//! Steps that are made up: lone rows padded to a size that a graph was recorded for, and fillers to warm a card up with. What
//! they write goes to the scratch block, which no sequence owns and nobody reads.

use super::largest_graph;
use crate::batch::ForwardBatch;

/// Sizes from which on only powers of two are recorded.
const EXACT_SIZES: usize = 8;

/// The block that made-up rows write to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scratch {
    pub(super) block: u32,
    pub(super) block_size: usize,
}

/// The numbers of lone rows that graphs are recorded for when at most `most` sequences run: each up to 8, then powers of two, the
/// last of them at least `most` as far as graphs go. Largest first.
pub(super) fn graph_sizes(most: usize) -> Vec<usize> {
    let largest = largest_graph(most);
    let powers = std::iter::successors(Some(2 * EXACT_SIZES), |size| Some(2 * size));
    let mut sizes: Vec<usize> = (1..=EXACT_SIZES.min(most)).chain(powers.take_while(|size| *size <= largest)).collect();
    sizes.reverse();
    sizes
}

/// Whether every sequence of a batch brings one row whose logits are wanted, in order.
pub(super) fn is_lone_rows(batch: &ForwardBatch) -> bool {
    let rows = batch.input_ids.len();
    rows > 0
        && batch.seq_lens_k.len() == rows
        && batch.logits_rows.len() == rows
        && batch.logits_rows.iter().zip(0..).all(|(row, index)| *row == index)
}

/// Lone rows with made-up ones behind them, `size` in all.
pub(super) fn padded(batch: &ForwardBatch, size: usize, scratch: Scratch, padded: &mut ForwardBatch) {
    padded.clone_from(batch);
    for row in batch.input_ids.len()..size {
        push_sequence(padded, 1, scratch);
        padded.logits_rows.push(row as u32);
    }
}

/// A step of `rows` made-up rows in sequences of at most `context`, with the logits of as many rows as `logits` says.
pub(super) fn filler(rows: usize, context: usize, logits: usize, scratch: Scratch) -> ForwardBatch {
    let mut batch = ForwardBatch { cu_seqlens_q: vec![0], cu_blocks: vec![0], ..ForwardBatch::default() };
    let mut left = rows;
    while left > 0 {
        let length = left.min(context);
        push_sequence(&mut batch, length, scratch);
        left -= length;
    }
    batch.logits_rows = (0..logits.min(rows) as u32).collect();
    batch
}

/// A sequence that begins with these rows.
fn push_sequence(batch: &mut ForwardBatch, rows: usize, scratch: Scratch) {
    let Scratch { block, block_size } = scratch;
    batch.input_ids.extend(std::iter::repeat_n(0, rows));
    batch.positions.extend(0..rows as u32);
    let slot = |position: usize| block * block_size as u32 + (position % block_size) as u32;
    batch.slot_mapping.extend((0..rows).map(slot));
    batch.seq_lens_k.push(rows as u32);
    batch.cu_seqlens_q.push(batch.input_ids.len() as u32);
    batch.block_tables.extend(std::iter::repeat_n(block, rows.div_ceil(block_size)));
    batch.cu_blocks.push(batch.block_tables.len() as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRATCH: Scratch = Scratch { block: 9, block_size: 4 };

    #[test]
    fn graphs_are_recorded_for_each_small_size_and_then_for_powers_of_two() {
        assert_eq!(graph_sizes(1), [1]);
        assert_eq!(graph_sizes(3), [3, 2, 1]);
        assert_eq!(graph_sizes(8), [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(graph_sizes(9)[..2], [16, 8]);
        assert_eq!(graph_sizes(128)[..5], [128, 64, 32, 16, 8]);
        assert_eq!(graph_sizes(1000)[0], 256);
    }

    #[test]
    fn padding_keeps_the_rows_and_adds_some_that_write_to_the_scratch_block_only() {
        let batch = ForwardBatch {
            input_ids: vec![5, 6],
            positions: vec![7, 0],
            slot_mapping: vec![3, 4],
            cu_seqlens_q: vec![0, 1, 2],
            seq_lens_k: vec![8, 1],
            block_tables: vec![2, 0, 1],
            cu_blocks: vec![0, 2, 3],
            logits_rows: vec![0, 1],
        };
        assert!(is_lone_rows(&batch));
        let mut found = ForwardBatch::default();
        padded(&batch, 4, SCRATCH, &mut found);
        let expected = ForwardBatch {
            input_ids: vec![5, 6, 0, 0],
            positions: vec![7, 0, 0, 0],
            slot_mapping: vec![3, 4, 36, 36],
            cu_seqlens_q: vec![0, 1, 2, 3, 4],
            seq_lens_k: vec![8, 1, 1, 1],
            block_tables: vec![2, 0, 1, 9, 9],
            cu_blocks: vec![0, 2, 3, 4, 5],
            logits_rows: vec![0, 1, 2, 3],
        };
        assert_eq!(found, expected);
        assert!(!is_lone_rows(&ForwardBatch { logits_rows: vec![1], ..batch.clone() }));
        assert!(!is_lone_rows(&ForwardBatch { seq_lens_k: vec![8], ..batch }));
    }

    #[test]
    fn a_filler_stays_within_the_context_and_the_scratch_block() {
        let batch = filler(10, 6, 3, SCRATCH);
        assert_eq!(batch.positions, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]);
        assert_eq!(batch.cu_seqlens_q, [0, 6, 10]);
        assert_eq!(batch.cu_blocks, [0, 2, 3]);
        assert!(batch.slot_mapping.iter().all(|slot| slot / 4 == 9));
        assert_eq!(batch.logits_rows, [0, 1, 2]);
    }
}

//! The index arrays of a step, checked once so that every kernel may trust them. No tensors and no tokens here.

use std::sync::OnceLock;

use candle_core::Device;

use crate::error::{KernelError, Result};
#[cfg(feature = "cuda")]
use crate::indices::CardWords;
use crate::kinship::Kinship;
use crate::launch::AttentionShape;
#[cfg(feature = "cuda")]
use crate::launch::{AttentionPlan, StepLayout};
use crate::placed::PlacedStep;

const OPERATION: &str = "paged_batch";

/// The raw index arrays of a batch of sequences; rows of all sequences stand one after another.
#[derive(Debug, Clone, Copy)]
pub struct PagedBatchParts<'a> {
    /// Absolute position of each row in its sequence.
    pub positions: &'a [u32],
    /// Where each row's key and value go: `block * block_size + offset`.
    pub slot_mapping: &'a [u32],
    /// First row of each sequence, and the number of rows at the end: sequences + 1 entries.
    pub cu_seqlens_q: &'a [u32],
    /// Keys that the last row of each sequence sees, its own included.
    pub seq_lens_k: &'a [u32],
    /// The block tables of the sequences, one after another.
    pub block_tables: &'a [u32],
    /// First entry of each sequence's block table, and their number at the end: sequences + 1 entries.
    pub cu_blocks: &'a [u32],
}

/// One sequence of a checked batch.
#[derive(Debug, Clone)]
pub(crate) struct PagedSequence {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// Keys that the last row sees; row `i` sees `keys - rows + 1 + i`.
    pub(crate) keys: usize,
    pub(crate) blocks: std::ops::Range<usize>,
}

/// Index arrays that are known to be consistent with each other and with a cache of `num_blocks` blocks of `block_size` slots.
#[derive(Debug, Clone)]
pub struct PagedBatch {
    pub(crate) positions: Vec<u32>,
    pub(crate) slots: Vec<u32>,
    pub(crate) sequences: Vec<PagedSequence>,
    pub(crate) block_tables: Vec<u32>,
    pub(crate) num_blocks: usize,
    pub(crate) block_size: usize,
    /// Found when it is first asked for.
    pub(crate) kinship: OnceLock<Kinship>,
    /// The same arrays on a card, once they were brought there.
    #[cfg(feature = "cuda")]
    pub(crate) on_card: Option<BatchOnCard>,
}

/// A batch's arrays on a card.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone)]
pub(crate) struct BatchOnCard {
    pub(crate) words: CardWords,
    pub(crate) layout: StepLayout,
    /// How its rows are given to the attention kernels.
    pub(crate) plan: AttentionPlan,
}

impl PagedBatch {
    /// Checks the arrays and copies them.
    ///
    /// # Errors
    /// Names the array and the entry that is wrong: a length that contradicts another, offsets that fall, a sequence without
    /// rows, a position that is not the one that follows from the lengths, a block or slot outside of the cache, a block table
    /// too short for its keys.
    pub fn new(
        parts: PagedBatchParts<'_>,
        num_blocks: usize,
        block_size: usize,
    ) -> std::result::Result<Self, KernelError> {
        let rows = parts.positions.len();
        let count = parts.seq_lens_k.len();
        expect_length("slot_mapping", parts.slot_mapping.len(), rows)?;
        expect_length("cu_seqlens_q", parts.cu_seqlens_q.len(), count + 1)?;
        expect_length("cu_blocks", parts.cu_blocks.len(), count + 1)?;
        check_offsets("cu_seqlens_q", parts.cu_seqlens_q, rows)?;
        check_offsets("cu_blocks", parts.cu_blocks, parts.block_tables.len())?;
        check_below("slot_mapping", parts.slot_mapping, num_blocks.saturating_mul(block_size))?;
        check_below("block_tables", parts.block_tables, num_blocks)?;
        let mut sequences = Vec::with_capacity(count);
        for index in 0..count {
            sequences.push(check_sequence(&parts, index, block_size)?);
        }
        Ok(Self {
            positions: parts.positions.to_vec(),
            slots: parts.slot_mapping.to_vec(),
            sequences,
            block_tables: parts.block_tables.to_vec(),
            num_blocks,
            block_size,
            kinship: OnceLock::new(),
            #[cfg(feature = "cuda")]
            on_card: None,
        })
    }

    /// The same batch where the tensors of a device can be reached from: a check's; a step's arrays go to a card together.
    ///
    /// # Errors
    /// What the device reports.
    pub fn on(self, device: &Device, shape: AttentionShape) -> std::result::Result<Self, KernelError> {
        Ok(PlacedStep::new(&vec![0; self.rows()], self, &[]).on(device, shape)?.batch)
    }

    /// Rows of all sequences together.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.positions.len()
    }

    /// Which of the sequences begin alike.
    pub(crate) fn kinship(&self) -> &Kinship {
        self.kinship.get_or_init(|| Kinship::of(&self.sequences, &self.block_tables))
    }

    /// Absolute position of each row.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }
}

fn expect_length(argument: &'static str, actual: usize, expected: usize) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(KernelError::Length { operation: OPERATION, argument, expected, actual })
}

/// Offsets start at 0, never fall, and end at `end`.
fn check_offsets(argument: &'static str, offsets: &[u32], end: usize) -> Result<()> {
    let mut previous = 0;
    for (index, &offset) in offsets.iter().enumerate() {
        let last = index + 1 == offsets.len();
        let expected = match offset {
            offset if index == 0 && offset != 0 => Some("0".to_string()),
            offset if offset < previous => Some(format!("at least {previous}, the entry before it")),
            offset if last && offset as usize != end => Some(format!("{end}, the number of entries that it divides")),
            _ => None,
        };
        if let Some(expected) = expected {
            let value = u64::from(offset);
            return Err(KernelError::OutOfRange { operation: OPERATION, argument, index, value, expected });
        }
        previous = offset;
    }
    Ok(())
}

fn check_below(argument: &'static str, values: &[u32], limit: usize) -> Result<()> {
    match values.iter().enumerate().find(|(_, value)| **value as usize >= limit) {
        None => Ok(()),
        Some((index, &value)) => Err(KernelError::OutOfRange {
            operation: OPERATION,
            argument,
            index,
            value: u64::from(value),
            expected: format!("below {limit}"),
        }),
    }
}

fn check_sequence(parts: &PagedBatchParts<'_>, index: usize, block_size: usize) -> Result<PagedSequence> {
    let out_of_range = |argument, index, value: u32, expected| KernelError::OutOfRange {
        operation: OPERATION,
        argument,
        index,
        value: u64::from(value),
        expected,
    };
    let first_row = parts.cu_seqlens_q[index] as usize;
    let rows = parts.cu_seqlens_q[index + 1] as usize - first_row;
    let keys = parts.seq_lens_k[index] as usize;
    let blocks = parts.cu_blocks[index] as usize..parts.cu_blocks[index + 1] as usize;
    if rows == 0 {
        let end = parts.cu_seqlens_q[index + 1];
        return Err(out_of_range("cu_seqlens_q", index + 1, end, "larger than the entry before it".to_string()));
    }
    if keys < rows || keys > blocks.len().saturating_mul(block_size) {
        let expected =
            format!("from {rows} (its rows) to {} (its blocks' slots)", blocks.len().saturating_mul(block_size));
        return Err(out_of_range("seq_lens_k", index, parts.seq_lens_k[index], expected));
    }
    for row in first_row..first_row + rows {
        let expected = keys - rows + (row - first_row);
        if parts.positions[row] as usize != expected {
            return Err(out_of_range("positions", row, parts.positions[row], expected.to_string()));
        }
    }
    Ok(PagedSequence { first_row, rows, keys, blocks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut Vec<Vec<u32>>)) -> String {
        // positions, slots, cu_seqlens_q, seq_lens_k, block_tables, cu_blocks
        let mut arrays =
            vec![vec![0, 1, 2, 6], vec![0, 1, 2, 10], vec![0, 3, 4], vec![3, 7], vec![0, 1, 2], vec![0, 1, 3]];
        change(&mut arrays);
        let parts = PagedBatchParts {
            positions: &arrays[0],
            slot_mapping: &arrays[1],
            cu_seqlens_q: &arrays[2],
            seq_lens_k: &arrays[3],
            block_tables: &arrays[4],
            cu_blocks: &arrays[5],
        };
        PagedBatch::new(parts, 3, 4).map_or_else(|error| error.to_string(), |batch| format!("{} rows", batch.rows()))
    }

    #[test]
    fn each_inconsistency_is_named() {
        let cases: [(usize, usize, u32, &str); 12] = [
            (0, 3, 6, "4 rows"),
            (0, 3, 5, "positions[3] is 5, must be 6"),
            (1, 3, 12, "slot_mapping[3] is 12, must be below 12"),
            (2, 0, 1, "cu_seqlens_q[0] is 1, must be 0"),
            (2, 1, 0, "cu_seqlens_q[1] is 0, must be larger"),
            (2, 1, 5, "cu_seqlens_q[2] is 4, must be at least 5"),
            (2, 2, 3, "cu_seqlens_q[2] is 3, must be 4"),
            (3, 0, 2, "seq_lens_k[0] is 2, must be from 3"),
            (3, 1, 9, "seq_lens_k[1] is 9, must be from 1 (its rows) to 8"),
            (4, 2, 3, "block_tables[2] is 3, must be below 3"),
            (5, 1, 3, "seq_lens_k[1] is 7"),
            (5, 1, 4, "cu_blocks[2] is 3, must be at least 4"),
        ];
        for (array, entry, value, expected) in cases {
            let message = check(|arrays| arrays[array][entry] = value);
            assert!(message.contains(expected), "{array}/{entry}: {message}");
        }
        for array in 0..6 {
            let message = check(|arrays| {
                arrays[array].pop();
            });
            assert!(!message.ends_with(" rows"), "array {array} cut short was accepted");
        }
    }

    #[test]
    fn an_empty_batch_has_no_rows() {
        let parts = PagedBatchParts {
            positions: &[],
            slot_mapping: &[],
            cu_seqlens_q: &[0],
            seq_lens_k: &[],
            block_tables: &[],
            cu_blocks: &[0],
        };
        assert_eq!(PagedBatch::new(parts, 0, 4).map(|batch| batch.rows()).ok(), Some(0));
    }
}

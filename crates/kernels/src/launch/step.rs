//! The index arrays of a step as one run of words, so that one copy brings them to a card. Where an array begins depends on the
//! numbers of entries alone: a recorded graph finds them again in the next step of the same size.

/// How many entries the arrays of a step have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCounts {
    /// Rows: tokens, positions and slots.
    pub rows: usize,
    /// Sequences.
    pub sequences: usize,
    /// Rows whose logits are wanted.
    pub logits_rows: usize,
    /// Sequences that bring one row.
    pub decodes: usize,
    /// Tiles of rows of the other sequences, two words each.
    pub tiles: usize,
    /// Entries of all block tables.
    pub table_entries: usize,
}

/// The first word of each array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the arrays.
pub struct StepLayout {
    pub input_ids: usize,
    pub positions: usize,
    pub slot_mapping: usize,
    pub cu_seqlens_q: usize,
    pub seq_lens_k: usize,
    pub cu_blocks: usize,
    pub logits_rows: usize,
    pub decodes: usize,
    pub tiles: usize,
    /// Last, because its length differs from step to step of the same size.
    pub block_tables: usize,
    /// Words in all.
    pub words: usize,
}

impl StepCounts {
    /// Where each array begins.
    #[must_use]
    pub fn layout(self) -> StepLayout {
        let mut words = 0;
        let mut next = |entries: usize| {
            let start = words;
            words += entries;
            start
        };
        StepLayout {
            input_ids: next(self.rows),
            positions: next(self.rows),
            slot_mapping: next(self.rows),
            cu_seqlens_q: next(self.sequences + 1),
            seq_lens_k: next(self.sequences),
            cu_blocks: next(self.sequences + 1),
            logits_rows: next(self.logits_rows),
            decodes: next(self.decodes),
            tiles: next(2 * self.tiles),
            block_tables: next(self.table_entries),
            words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_length_moves_no_array() {
        let counts = StepCounts { rows: 8, sequences: 8, logits_rows: 8, decodes: 8, tiles: 0, table_entries: 100 };
        let (short, long) = (counts.layout(), StepCounts { table_entries: 9000, ..counts }.layout());
        assert_eq!(StepLayout { words: long.words, ..short }, long);
        assert_eq!((short.words, long.words), (8 * 3 + 9 + 8 + 9 + 8 + 8 + 100, 8 * 3 + 9 + 8 + 9 + 8 + 8 + 9000));
    }
}

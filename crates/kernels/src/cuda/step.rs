//! A step's index arrays on their way to a card: one copy, at addresses that depend on the numbers of entries alone.

use candle_core::Device;

use super::card::facts;
use super::transfer::Upload;
use crate::batch::{BatchOnCard, PagedBatch};
use crate::error::{KernelError, Result};
use crate::indices::Indices;
use crate::launch::{AttentionPlan, AttentionShape, StepCounts};
use crate::placed::PlacedStep;

/// The memory that steps' arrays are brought to, one step after another.
#[derive(Debug)]
pub struct StepUpload {
    upload: Upload,
    shape: AttentionShape,
    multiprocessors: u32,
    /// Reused by each step.
    words: Vec<u32>,
}

impl StepUpload {
    /// Memory for steps of at most these sizes: only a larger one moves it. `shape` is that of the attention that reads them.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub fn new(device: &Device, most: StepCounts, shape: AttentionShape) -> std::result::Result<Self, KernelError> {
        let multiprocessors = facts(device)?.multiprocessors;
        Ok(Self { upload: Upload::new(device, most.layout().words)?, shape, multiprocessors, words: Vec::new() })
    }

    /// Graphs are recorded now that read at these addresses: a step that would move the memory is refused from here on.
    pub fn fix(&mut self) {
        self.upload.fix();
    }

    /// Brings a step's arrays to the card, in the order of its stream.
    ///
    /// # Errors
    /// What the driver reported, or that a fixed memory is too small.
    pub fn place<'a>(
        &mut self,
        ids: &'a [u32],
        batch: PagedBatch,
        logits_rows: &'a [u32],
    ) -> std::result::Result<PlacedStep<'a>, KernelError> {
        let plan = AttentionPlan::new(&batch, self.shape, self.multiprocessors)?;
        let layout = StepCounts {
            rows: batch.rows(),
            sequences: batch.sequences.len(),
            logits_rows: logits_rows.len(),
            decodes: plan.decode().len(),
            tiles: plan.tiles().len() / 2,
            table_entries: batch.block_tables.len(),
        }
        .layout();
        let words = &mut self.words;
        words.clear();
        words.extend(ids);
        words.extend(batch.positions());
        words.extend(&batch.slots);
        words.extend(batch.sequences.iter().map(|sequence| sequence.first_row as u32));
        words.push(batch.rows() as u32);
        words.extend(batch.sequences.iter().map(|sequence| sequence.keys as u32));
        words.extend(batch.sequences.iter().map(|sequence| sequence.blocks.start as u32));
        words.push(batch.block_tables.len() as u32);
        words.extend(logits_rows);
        words.extend(plan.decode());
        words.extend(plan.tiles());
        words.extend(&batch.block_tables);
        debug_assert_eq!(words.len(), layout.words, "every array has the length that was counted");
        let placed = self.upload.send(&[words])?;
        Ok(PlacedStep {
            ids: Indices { values: ids, on_card: Some(placed.from(layout.input_ids)) },
            logits_rows: Indices { values: logits_rows, on_card: Some(placed.from(layout.logits_rows)) },
            batch: PagedBatch { on_card: Some(BatchOnCard { words: placed, layout, plan }), ..batch },
        })
    }
}

impl Indices<'_> {
    /// Brings indices to a card by themselves, as a check does; a step's go together.
    pub(crate) fn upload(self, device: &Device) -> Result<Self> {
        let words = Upload::new(device, self.len())?.send(&[self.values])?;
        Ok(Self { on_card: Some(words), ..self })
    }
}

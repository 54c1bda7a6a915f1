//! Draws on a card: the tokens of a step are drawn where its logits lie, the next step finds them there, and the host fetches
//! what was drawn while that runs.

use candle_core::{DType, Device, Tensor};

use super::run::run;
use super::tensor::{address, card, unwritten};
use super::transfer::{Download, Fetch, Upload};
use crate::error::{KernelError, Result};
use crate::indices::Indices;
use crate::launch::{
    DevicePointer, ResolveTokens, ResolveTokensArguments, SAMPLING_TOP_LIMIT, SamplingBuffers, SamplingCounts,
    SamplingResult,
};

const OPERATION: &str = "sampling";

/// The memory of a card's draws, used in turns by two steps.
#[derive(Debug)]
pub struct CardSampler {
    device: Device,
    /// Rows and draws of tokens that the step before has drawn.
    pending: Upload,
    /// The words of a step's draws.
    words: Upload,
    /// ```text
    /// drawn [most] | results [most, 8 words] | likely tokens [most, 20 pairs]
    /// ```
    download: Download,
    most: usize,
    /// Draws of the step before.
    drawn_before: usize,
}

/// A step's draws on their way to the host.
#[derive(Debug)]
#[must_use]
pub struct FetchedDraws {
    fetch: Fetch,
    counts: SamplingCounts,
}

/// What the kernel wrote for a step's draws.
#[derive(Debug, Clone, Copy)]
pub struct DrawnWords<'a> {
    /// [`SamplingResult`]s.
    pub results: &'a [u32],
    /// Lists of likely tokens, all of one length.
    pub top: &'a [u32],
}

impl CardSampler {
    /// Memory for steps of at most so many draws.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub fn new(device: &Device, most: usize) -> std::result::Result<Self, KernelError> {
        // Results hold words of 64 bits.
        let most = most.max(1).next_multiple_of(2);
        let words = most * (1 + SamplingResult::WORDS + 2 * SAMPLING_TOP_LIMIT as usize);
        Ok(Self {
            device: device.clone(),
            pending: Upload::new(device, 2 * most)?,
            words: Upload::new(device, 64 * most)?,
            download: Download::new(device, words)?,
            most,
            drawn_before: 0,
        })
    }

    /// Sets the ids of rows whose tokens the step before has drawn; pairs of a row and a draw. A draw that failed gives token 0.
    ///
    /// # Errors
    /// When a row or a draw does not exist, or what the driver reported.
    pub fn resolve(
        &mut self,
        ids: &Indices<'_>,
        pending: &[[u32; 2]],
        vocabulary: usize,
    ) -> std::result::Result<(), KernelError> {
        if pending.is_empty() {
            return Ok(());
        }
        self.check_pending(pending, ids.len())?;
        let Some(on_card) = &ids.on_card else {
            return Err(KernelError::Device { operation: OPERATION, argument: "ids" });
        };
        let (rows, draws): (Vec<u32>, Vec<u32>) = pending.iter().map(|&[row, draw]| (row, draw)).unzip();
        let words = self.pending.send(&[&rows, &draws])?;
        let arguments = ResolveTokensArguments {
            input_ids: on_card.at(0),
            drawn: self.download.previous(),
            rows: words.at(0),
            draws: words.at(rows.len()),
            count: rows.len() as u32,
            vocabulary: vocabulary as u32,
        };
        let card = card(&self.device, OPERATION, "device")?;
        // SAFETY: rows and draws were checked above against the ids and against what the step before has drawn.
        #[allow(unsafe_code)]
        unsafe {
            run(card, &ResolveTokens { arguments }.launch())
        }
    }

    /// [`Self::resolve`] for ids that lie on another card than the draws: the host waits for the draws and fills them in itself.
    ///
    /// # Errors
    /// When a row or a draw does not exist, or what went wrong on the card.
    pub fn resolve_on_host(
        &self,
        ids: &mut [u32],
        pending: &[[u32; 2]],
        vocabulary: usize,
    ) -> std::result::Result<(), KernelError> {
        self.check_pending(pending, ids.len())?;
        let drawn = self.download.latest(self.drawn_before)?;
        for &[row, draw] in pending {
            let token = drawn[draw as usize];
            ids[row as usize] = if (token as usize) < vocabulary { token } else { 0 };
        }
        Ok(())
    }

    fn check_pending(&self, pending: &[[u32; 2]], rows: usize) -> Result<()> {
        let draws = self.drawn_before;
        let is_wrong = |&[row, draw]: &[u32; 2]| row as usize >= rows || draw as usize >= draws;
        let Some(index) = pending.iter().position(is_wrong) else { return Ok(()) };
        let (value, expected) = (u64::from(pending[index][0]), format!("below {rows}, from a draw below {draws}"));
        Err(KernelError::OutOfRange { operation: OPERATION, argument: "pending", index, value, expected })
    }

    /// Draws from `logits [draws, vocabulary]`, and begins to bring what was drawn to the host. Without draws it only marks where
    /// the step ends.
    ///
    /// # Errors
    /// When the words contradict their counts or the logits, or what the driver reported.
    pub fn draw(
        &mut self,
        logits: Option<&Tensor>,
        words: &[u32],
        counts: SamplingCounts,
    ) -> std::result::Result<FetchedDraws, KernelError> {
        let drawn = match logits {
            Some(logits) if counts.rows > 0 => self.launch(logits, words, counts)?,
            _ => 0,
        };
        let fetch = self.download.begin(drawn)?;
        self.drawn_before = counts.rows as usize;
        Ok(FetchedDraws { fetch, counts })
    }

    /// Launches the kernel, and gives how many words of the download are to be fetched.
    fn launch(&mut self, logits: &Tensor, words: &[u32], counts: SamplingCounts) -> Result<usize> {
        counts.check(words)?;
        let rows = counts.rows as usize;
        let (available, vocabulary) = crate::storage::matrix_shape(logits, OPERATION, "logits")?;
        if rows > self.most || available < rows {
            let expected = self.most.min(available);
            return Err(KernelError::Length { operation: OPERATION, argument: "draws", expected, actual: rows });
        }
        let workspace = unwritten((counts.adjusted_rows.max(1) as usize, vocabulary), DType::F32, &self.device)?;
        let target = self.download.target();
        let part = |word: usize| DevicePointer(target.0 + 4 * word as u64);
        let (results, top) = (self.most, self.most * (1 + SamplingResult::WORDS));
        let buffers = SamplingBuffers {
            words: self.words.send(&[words])?.at(0),
            logits: address(logits, DType::F32, OPERATION, "logits")?,
            workspace: address(&workspace, DType::F32, OPERATION, "workspace")?,
            drawn_before: self.download.previous(),
            drawn_before_count: self.drawn_before as u32,
            results: part(results),
            top: part(top),
            drawn: part(0),
        };
        let card = card(&self.device, OPERATION, "device")?;
        // SAFETY: the words were checked against their counts and the logits, and the download has room for `most` draws.
        #[allow(unsafe_code)]
        unsafe { run(card, &counts.launch(vocabulary as u32, &buffers)) }?;
        Ok(if counts.top_words() > 0 { top + counts.top_words() } else { results + counts.result_words() })
    }

    /// Waits for a step's draws.
    ///
    /// # Errors
    /// What went wrong on the card since.
    pub fn wait(&self, draws: FetchedDraws) -> std::result::Result<DrawnWords<'_>, KernelError> {
        let FetchedDraws { fetch, counts } = draws;
        let words = self.download.wait(&fetch)?;
        if words.is_empty() {
            return Ok(DrawnWords { results: &[], top: &[] });
        }
        let top = self.most * (1 + SamplingResult::WORDS);
        Ok(DrawnWords {
            results: &words[self.most..self.most + counts.result_words()],
            top: words.get(top..top + counts.top_words()).unwrap_or(&[]),
        })
    }
}

//! The angles of rotary position embedding: a frequency for each pair of dimensions, and the sines and cosines of a step.

use candle_core::Device;
#[cfg(feature = "cuda")]
use candle_core::Tensor;

use crate::batch::PagedBatch;
use crate::error::{KernelError, Result};
use crate::math::multiply_add;

/// Which of the leading `2 * pairs` dimensions of a head turn together; those behind them stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// `(2i, 2i + 1)`: the order in which GGUF stores Llama's projections.
    Neighbours,
    /// `(i, i + pairs)`: the order of GPT-NeoX, which Qwen and Phi keep.
    Halves,
}

impl RopePairs {
    /// The dimensions of pair `pair` of `pairs`.
    #[must_use]
    pub fn dimensions(self, pair: usize, pairs: usize) -> [usize; 2] {
        match self {
            Self::Neighbours => [2 * pair, 2 * pair + 1],
            Self::Halves => [pair, pair + pairs],
        }
    }
}

/// How queries grow with their position, so that attention stays as sharp over very many keys: by `1 + scale ln(1 + n)`, where
/// `n` is how often the position holds the period (Llama 4's; Ministral 3 has it, too).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryGrowth {
    /// The growth per e-fold of periods.
    pub scale: f32,
    /// Positions, at least one.
    pub period: u32,
}

impl QueryGrowth {
    /// What a rotated query at a position is multiplied by.
    #[must_use]
    pub fn at(self, position: u32) -> f32 {
        multiply_add(self.scale, ((position / self.period.max(1)) as f32 + 1.0).ln(), 1.0)
    }
}

/// The angle per position of each rotated pair (Su et al., 2021), which dimensions the pairs are, and what their sines and
/// cosines are multiplied by.
#[derive(Debug, Clone)]
pub struct RopeFrequencies {
    per_pair: Vec<f64>,
    pairs: RopePairs,
    magnitude: f32,
    growth: Option<QueryGrowth>,
    /// The frequencies on the device that they were brought to, F64 `[pairs]`.
    #[cfg(feature = "cuda")]
    on_card: Option<Tensor>,
}

impl RopeFrequencies {
    /// Radians per position of each pair, and the factor of every sine and cosine: 1, or the attention factor of a model
    /// whose context was stretched.
    ///
    /// # Errors
    /// When a number is not finite, or beyond what single precision holds.
    pub fn new(per_pair: Vec<f64>, pairs: RopePairs, magnitude: f32) -> std::result::Result<Self, KernelError> {
        expect_finite("per_pair", &per_pair)?;
        expect_finite("magnitude", &[f64::from(magnitude)])?;
        Ok(Self {
            per_pair,
            pairs,
            magnitude,
            growth: None,
            #[cfg(feature = "cuda")]
            on_card: None,
        })
    }

    /// The same frequencies, with queries that grow with their position.
    ///
    /// # Errors
    /// When the scale is not finite.
    pub fn with_query_growth(self, growth: Option<QueryGrowth>) -> std::result::Result<Self, KernelError> {
        expect_finite("query_growth.scale", &[growth.map_or(0.0, |growth| f64::from(growth.scale))])?;
        Ok(Self { growth, ..self })
    }

    /// How queries grow with their position, if they do.
    #[must_use]
    pub fn query_growth(&self) -> Option<QueryGrowth> {
        self.growth
    }

    /// Radians per position of each pair.
    #[must_use]
    pub fn per_pair(&self) -> &[f64] {
        &self.per_pair
    }

    /// Which dimensions turn together.
    #[must_use]
    pub fn pairs(&self) -> RopePairs {
        self.pairs
    }

    /// What every sine and cosine is multiplied by.
    #[must_use]
    pub fn magnitude(&self) -> f32 {
        self.magnitude
    }

    /// The same frequencies for the layers of a device.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn on(&self, device: &Device) -> std::result::Result<Self, KernelError> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                let on_card = Some(Tensor::from_slice(&self.per_pair, self.per_pair.len(), device)?);
                Ok(Self { on_card, ..self.clone() })
            }
            _ => Ok(self.clone()),
        }
    }

    /// Sines and cosines for the rows of a step, on the device of these frequencies; every layer there uses the same.
    ///
    /// # Errors
    /// When the batch was not brought to the device, or what the device reports.
    pub fn table(&self, batch: &PagedBatch) -> std::result::Result<RopeTable, KernelError> {
        let (rows, pairs) = (batch.rows(), self.per_pair.len());
        let order = self.pairs;
        #[cfg(feature = "cuda")]
        if let Some(frequencies) = &self.on_card {
            let (cosines, sines) = crate::cuda::operations::rope_table(frequencies, self.magnitude, batch)?;
            return Ok(RopeTable { angles: Angles::Card { cosines, sines, order }, pairs, rows, growth: self.growth });
        }
        let magnitude = f64::from(self.magnitude);
        let mut cosines = Vec::with_capacity(rows * pairs);
        let mut sines = Vec::with_capacity(rows * pairs);
        for &position in batch.positions() {
            for frequency in &self.per_pair {
                let (sine, cosine) = (f64::from(position) * frequency).sin_cos();
                cosines.push((cosine * magnitude) as f32);
                sines.push((sine * magnitude) as f32);
            }
        }
        let angles = Angles::Host(HostAngles { cosines, sines, pairs, order });
        Ok(RopeTable { angles, pairs, rows, growth: self.growth })
    }
}

/// A number beyond single precision would make an angle infinite at a far position.
fn expect_finite(argument: &'static str, numbers: &[f64]) -> Result<()> {
    let holds = |number: &f64| number.abs() <= f64::from(f32::MAX);
    match numbers.iter().position(|number| !holds(number)) {
        None => Ok(()),
        Some(index) => {
            Err(KernelError::NotFinite { operation: "rope_frequencies", argument, index, value: numbers[index] })
        }
    }
}

/// Sines and cosines of each row and pair, `[rows, pairs]`.
#[derive(Debug, Clone)]
pub struct RopeTable {
    pub(super) angles: Angles,
    pub(super) pairs: usize,
    pub(super) rows: usize,
    pub(super) growth: Option<QueryGrowth>,
}

/// Where the numbers are.
#[derive(Debug, Clone)]
pub(super) enum Angles {
    Host(HostAngles),
    #[cfg(feature = "cuda")]
    Card {
        cosines: Tensor,
        sines: Tensor,
        order: RopePairs,
    },
}

#[derive(Debug, Clone)]
pub(super) struct HostAngles {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    pairs: usize,
    order: RopePairs,
}

impl HostAngles {
    /// Turns the pairs of one head in place; dimensions behind the last pair stay.
    pub(super) fn rotate(&self, row: usize, head: &mut [f32]) {
        let cosines = &self.cosines[row * self.pairs..(row + 1) * self.pairs];
        let sines = &self.sines[row * self.pairs..(row + 1) * self.pairs];
        let angles = cosines.iter().zip(sines);
        // Loops of their own, which the compiler turns into vectors.
        match self.order {
            RopePairs::Neighbours => {
                for ([first, second], angle) in head.as_chunks_mut().0.iter_mut().zip(angles) {
                    rotate_pair(first, second, angle);
                }
            }
            RopePairs::Halves => {
                let (firsts, rest) = head.split_at_mut(self.pairs);
                for ((first, second), angle) in firsts.iter_mut().zip(rest).zip(angles) {
                    rotate_pair(first, second, angle);
                }
            }
        }
    }
}

/// Turns a pair by an angle of which these are the cosine and the sine.
#[inline(always)]
fn rotate_pair(first: &mut f32, second: &mut f32, (cosine, sine): (&f32, &f32)) {
    let (x, y) = (*first, *second);
    *first = multiply_add(x, *cosine, -(y * sine));
    *second = multiply_add(x, *sine, y * cosine);
}

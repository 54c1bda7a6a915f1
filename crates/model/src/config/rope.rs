//! Rotary position embedding as a file asks for it: its keys, with every number checked, and the angles that they give.

use sconce_kernels::{QueryGrowth, RopeFrequencies};

use super::{Keys, config_error};
use crate::error::ModelError;
use crate::gguf::{Metadata, quoted};

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Leading dimensions of a head that are rotated.
    pub dimensions: usize,
    /// The base of the frequencies.
    pub frequency_base: f32,
    /// How contexts longer than those of the first training are reached.
    pub scaling: RopeScaling,
    /// The context of the first training: where two tables of factors are there, the long one counts beyond it.
    pub original_context: usize,
    /// What sines and cosines are multiplied by, besides what the scaling brings along.
    pub attention_factor: f32,
    /// How queries grow with their position, where they do.
    pub query_growth: Option<QueryGrowth>,
}

/// How positions beyond the first training's are squeezed into it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided by a factor (Chen et al., 2023).
    Linear {
        /// The factor.
        factor: f32,
    },
    /// Slow pairs are divided by a factor, fast ones are not, and between them there is a ramp (Peng et al., 2023).
    Yarn(YarnScaling),
    /// Each pair is divided by a factor of its own, from the short or from the long table (Ding et al., 2024).
    LongRope,
}

/// The numbers of YaRN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YarnScaling {
    /// What slow pairs are divided by.
    pub factor: f32,
    /// How far the ramp is followed: 1 is the paper's, 0 is linear scaling.
    pub extrapolation: f32,
    /// Pairs that turn at least so often within the original context stay as they are.
    pub beta_fast: f32,
    /// Pairs that turn at most so often are divided.
    pub beta_slow: f32,
    /// Where it is not zero: the share of the growth of attention's scores that training has seen already.
    pub log_multiplier: f32,
}

/// The tables of factors beside the weights, each as long as there are pairs.
#[derive(Debug, Default)]
pub(crate) struct RopeFactors {
    /// `rope_freqs.weight`: Llama 3.1's.
    pub(crate) plain: Option<Vec<f32>>,
    /// `rope_factors_short.weight`.
    pub(crate) short: Option<Vec<f32>>,
    /// `rope_factors_long.weight`.
    pub(crate) long: Option<Vec<f32>>,
}

impl RopeConfig {
    pub(super) fn read(keys: &Keys<'_>, head_dim: usize, context_length: usize) -> Result<Self, ModelError> {
        let metadata = keys.metadata;
        let key = keys.name("rope.dimension_count");
        let dimensions = metadata.u32_opt(&key)?.map_or(head_dim, |dimensions| dimensions as usize);
        if dimensions == 0 || dimensions > head_dim || !dimensions.is_multiple_of(2) {
            return Err(config_error(&key, dimensions, format!("an even number from 2 to {head_dim}")));
        }
        let float = |field: &str, default: f32, least: f32, most: f32| -> Result<f32, ModelError> {
            float_in_range(metadata, &keys.name(field), default, least, most)
        };
        let frequency_base = float("rope.freq_base", 10_000.0, 1.0, 1e12)?;
        let attention_factor = float("rope.scaling.attn_factor", 1.0, 1e-3, 1e3)?;
        let kind_key = keys.name("rope.scaling.type");
        let kind = metadata.str_opt(&kind_key)?;
        let original_key = keys.name("rope.scaling.original_context_length");
        let original_context = metadata.u32_opt(&original_key)?.map_or(context_length, |length| length as usize);
        if !(1..=1 << 24).contains(&original_context) {
            return Err(config_error(&original_key, original_context, format!("from 1 to {}", 1 << 24)));
        }
        // A factor of zero stands for "none" in files of old converters, which had a key of another name, too.
        let old = float("rope.scale_linear", 1.0, 0.0, 1e6)?;
        let factor = float("rope.scaling.factor", old, 0.0, 1e6)?;
        let factor = if factor == 0.0 { 1.0 } else { factor };
        let scaling = match kind.unwrap_or("linear") {
            "none" => RopeScaling::None,
            "linear" if factor == 1.0 => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor },
            "yarn" => RopeScaling::Yarn(YarnScaling {
                factor: float("rope.scaling.factor", 1.0, 1.0, 1e6)?,
                extrapolation: float("rope.scaling.yarn_ext_factor", 1.0, 0.0, 1.0)?,
                beta_fast: float("rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6)?,
                beta_slow: float("rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6)?,
                log_multiplier: float("rope.scaling.yarn_log_multiplier", 0.0, 0.0, 1e3)?,
            }),
            "longrope" => RopeScaling::LongRope,
            other => {
                let expected = "\"none\", \"linear\", \"yarn\" or \"longrope\"".to_string();
                return Err(config_error(&kind_key, quoted(other), expected));
            }
        };
        let scale = float("attention.temperature_scale", 0.0, 0.0, 1e3)?;
        // Where no key says at which length queries begin to grow, it is the original context.
        let period = keys.number_opt("attention.temperature_length", 1 << 24)?.unwrap_or(original_context);
        let query_growth = (scale != 0.0).then_some(QueryGrowth { scale, period: period as u32 });
        Ok(Self { dimensions, frequency_base, scaling, original_context, attention_factor, query_growth })
    }

    /// The angles of each pair for a context of `served` tokens.
    ///
    /// # Errors
    /// Names the tensor of factors that is missing.
    pub(crate) fn frequencies(
        &self,
        factors: &RopeFactors,
        served: usize,
        pairs: sconce_kernels::RopePairs,
    ) -> Result<RopeFrequencies, ModelError> {
        let table = |table: &Option<Vec<f32>>, name: &str| {
            let missing = || crate::gguf::GgufError::MissingTensor { name: name.to_string() };
            table.clone().ok_or_else(missing)
        };
        // Most files have the two tables without naming the scaling.
        let is_long_rope = self.scaling == RopeScaling::LongRope || factors.long.is_some() || factors.short.is_some();
        let factors = match is_long_rope {
            true if served > self.original_context => Some(table(&factors.long, "rope_factors_long.weight")?),
            true => Some(table(&factors.short, "rope_factors_short.weight")?),
            false => factors.plain.clone(),
        };
        let per_pair = (0..self.dimensions / 2).map(|pair| {
            let frequency = f64::from(self.frequency_base).powf(-2.0 * pair as f64 / self.dimensions as f64);
            frequency / factors.as_ref().map_or(1.0, |factors| f64::from(factors[pair])) / self.divisor(pair)
        });
        let magnitude = self.attention_factor * self.magnitude();
        Ok(RopeFrequencies::new(per_pair.collect(), pairs, magnitude)?.with_query_growth(self.query_growth)?)
    }

    /// What the frequency of a pair is divided by.
    fn divisor(&self, pair: usize) -> f64 {
        match self.scaling {
            RopeScaling::None | RopeScaling::LongRope => 1.0,
            RopeScaling::Linear { factor } => f64::from(factor),
            RopeScaling::Yarn(yarn) => {
                // The pair, not whole, that turns so often within the original context.
                let dimensions = self.dimensions as f64;
                let turning = |turns: f32| {
                    let per_turn = self.original_context as f64 / (f64::from(turns) * std::f64::consts::TAU);
                    dimensions * per_turn.ln() / (2.0 * f64::from(self.frequency_base).ln())
                };
                let low = turning(yarn.beta_fast).floor().max(0.0);
                let high = turning(yarn.beta_slow).ceil().min(dimensions - 1.0);
                let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                let kept = (1.0 - ramp) * f64::from(yarn.extrapolation);
                1.0 / (kept + (1.0 - kept) / f64::from(yarn.factor))
            }
        }
    }

    /// What YaRN multiplies sines and cosines by, so that attention stays as sharp over more keys.
    fn magnitude(&self) -> f32 {
        let RopeScaling::Yarn(yarn) = self.scaling else { return 1.0 };
        if yarn.extrapolation == 0.0 {
            return 1.0;
        }
        let growth = |share: f32| 1.0 + 0.1 * share * yarn.factor.ln();
        growth(1.0) / if yarn.log_multiplier == 0.0 { 1.0 } else { growth(yarn.log_multiplier) }
    }
}

fn float_in_range(metadata: &Metadata, key: &str, default: f32, least: f32, most: f32) -> Result<f32, ModelError> {
    let value = metadata.f32_opt(key)?.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(config_error(key, value, format!("from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use sconce_kernels::RopePairs;

    use super::{RopeConfig, RopeFactors, RopeScaling, YarnScaling};

    /// Heads of 16, all rotated, with the base 10000.
    fn config(scaling: RopeScaling, original_context: usize, attention_factor: f32) -> RopeConfig {
        RopeConfig {
            dimensions: 16,
            frequency_base: 10_000.0,
            scaling,
            original_context,
            attention_factor,
            query_growth: None,
        }
    }

    fn check(config: &RopeConfig, factors: &RopeFactors, served: usize, expected: [f64; 8], magnitude: f64) {
        let found = config.frequencies(factors, served, RopePairs::Halves).expect("frequencies");
        for (found, expected) in found.per_pair().iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} instead of {expected}");
        }
        assert_eq!(found.per_pair().len(), expected.len());
        assert!((f64::from(found.magnitude()) / magnitude - 1.0).abs() < 1e-6, "{}", found.magnitude());
    }

    // The numbers are those of transformers 5.24.0, `ROPE_INIT_FUNCTIONS` for "linear", "yarn" and "longrope".

    #[test]
    fn linear_and_yarn_are_those_of_transformers() {
        let linear = config(RopeScaling::Linear { factor: 4.0 }, 256, 1.0);
        let expected = [
            0.25,
            0.079_056_941,
            0.025_000_000_4,
            0.007_905_694_66,
            0.002_499_999_94,
            0.000_790_569_466,
            0.000_250_000_012,
            0.000_079_056_946_6,
        ];
        check(&linear, &RopeFactors::default(), 256, expected, 1.0);
        let yarn =
            YarnScaling { factor: 4.0, extrapolation: 1.0, beta_fast: 32.0, beta_slow: 1.0, log_multiplier: 0.0 };
        let expected = [
            1.0,
            0.316_227_764,
            0.100_000_001,
            0.025_693_506,
            0.006_249_999_63,
            0.001_383_496_56,
            0.000_250_000_012,
            0.000_079_056_946_6,
        ];
        let yarn = config(RopeScaling::Yarn(yarn), 4096, 1.0);
        check(&yarn, &RopeFactors::default(), 16_384, expected, 1.138_629_436_111_989);
    }

    #[test]
    fn longrope_takes_the_long_table_beyond_the_original_context_only() {
        let magnitude = 1.154_700_538_379_251_7;
        let config = config(RopeScaling::LongRope, 64, magnitude as f32);
        let factors = RopeFactors {
            plain: None,
            short: Some(vec![1.0, 1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5]),
            long: Some(vec![1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0]),
        };
        let short = [
            1.0,
            0.316_227_764,
            0.095_238_097,
            0.028_747_979_6,
            0.008_333_332_84,
            0.002_432_521_43,
            0.000_714_285_707,
            0.000_210_818_514,
        ];
        let long = [
            1.0,
            0.210_818_499,
            0.050_000_000_7,
            0.010_540_925,
            0.002_499_999_94,
            0.000_527_046_33,
            0.000_125_000_006,
            0.000_026_352_314_3,
        ];
        check(&config, &factors, 64, short, magnitude);
        check(&config, &factors, 65, long, magnitude);
    }
}

//! The parameters of sampling with their ranges. The wire's names are used, so that an error can name the field.

/// Most entries of `logit_bias`, and of a logprobs list.
const BIAS_LIMIT: usize = 1024;
const LOGPROBS_LIMIT: u8 = 20;

/// How a token is drawn. The defaults are OpenAI's: the model's own distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// 0 takes the most likely token; 0 to 2.
    pub temperature: f32,
    /// Draw from this many most likely tokens; at least 1, none for all.
    pub top_k: Option<u32>,
    /// Draw from the fewest most likely tokens that together reach this probability; above 0, at most 1.
    pub top_p: f32,
    /// Draw from tokens at least this fraction as likely as the likeliest; 0 to 1.
    pub min_p: f32,
    /// Positive logits of tokens in prompt or output are divided by it, negative ones multiplied; 0.1 to 10, 1 is none.
    pub repetition_penalty: f32,
    /// Taken from the logit of every token in the output; -2 to 2.
    pub presence_penalty: f32,
    /// Taken from the logit of a token for each time it is in the output; -2 to 2.
    pub frequency_penalty: f32,
    /// Repeats the draw; none leaves the choice to whoever makes the sampler.
    pub seed: Option<u64>,
    /// Added to the logits of these tokens; -100 to 100, at most 1,024 entries.
    pub logit_bias: Vec<(u32, f32)>,
    /// Report the log-probability of the token drawn, and of this many most likely ones; at most 20.
    pub logprobs: Option<u8>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: None,
            logit_bias: Vec::new(),
            logprobs: None,
        }
    }
}

/// Why nothing can be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A parameter is outside of its range.
    #[error("{field} is {value}, but it must be {range}")]
    OutOfRange {
        /// Name of the parameter.
        field: &'static str,
        /// What it was.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A bias for a token that the model does not have.
    #[error("logit_bias names token {token}, but the model has {vocabulary_size} tokens")]
    UnknownToken {
        /// Token named.
        token: u32,
        /// Tokens of the model.
        vocabulary_size: usize,
    },
    /// The model gave something that is not a number.
    #[error("the model's logit of token {index} is {value}; the weights or a kernel are broken")]
    NotFinite {
        /// Token concerned.
        index: usize,
        /// What was there.
        value: f32,
    },
    /// No token is left to draw from.
    #[error("no token may be drawn: the row of logits is empty, or every token is banned")]
    NothingAllowed,
}

impl SamplingError {
    /// Name of the parameter that is wrong, if one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::OutOfRange { field, .. } => Some(field),
            Self::UnknownToken { .. } => Some("logit_bias"),
            Self::NotFinite { .. } | Self::NothingAllowed => None,
        }
    }
}

impl SamplingParams {
    /// The fraction of 2^64 that stands for a `top_p` of 1; every other is below.
    pub(super) const WHOLE: u64 = u64::MAX;

    /// Whether the most likely token is taken.
    pub(super) fn is_greedy(&self) -> bool {
        self.temperature == 0.0 || self.top_k == Some(1)
    }

    /// What separates the least logit that `min_p` lets through from the greatest; at most 0.
    pub(super) fn min_p_offset(&self) -> f32 {
        if self.min_p > 0.0 { self.temperature * self.min_p.ln() } else { f32::NEG_INFINITY }
    }

    /// `top_p` in units of 2^-64.
    pub(super) fn top_p_fraction(&self) -> u64 {
        (f64::from(self.top_p) * 2.0f64.powi(64)) as u64
    }

    /// Checks every range. A NaN is in no range.
    ///
    /// # Errors
    /// [`SamplingError::OutOfRange`] names the first field that is wrong.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |field, value: f32, fits: bool, range| {
            if fits { Ok(()) } else { Err(SamplingError::OutOfRange { field, value: f64::from(value), range }) }
        };
        let Self { temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty, .. } = *self;
        check("temperature", temperature, (0.0..=2.0).contains(&temperature), "from 0 to 2")?;
        check("top_k", 0.0, self.top_k != Some(0), "at least 1, or absent for all tokens")?;
        check("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1")?;
        let fits = (0.1..=10.0).contains(&repetition_penalty);
        check("repetition_penalty", repetition_penalty, fits, "from 0.1 to 10")?;
        let fits = (-2.0..=2.0).contains(&presence_penalty);
        check("presence_penalty", presence_penalty, fits, "from -2 to 2")?;
        let fits = (-2.0..=2.0).contains(&frequency_penalty);
        check("frequency_penalty", frequency_penalty, fits, "from -2 to 2")?;
        let entries = self.logit_bias.len();
        check("logit_bias", entries as f32, entries <= BIAS_LIMIT, "at most 1024 entries")?;
        for &(_, bias) in &self.logit_bias {
            check("logit_bias", bias, (-100.0..=100.0).contains(&bias), "from -100 to 100 for each token")?;
        }
        let count = self.logprobs.unwrap_or(0);
        check("logprobs", f32::from(count), count <= LOGPROBS_LIMIT, "at most 20")
    }

    /// Checks that the tokens named exist.
    ///
    /// # Errors
    /// [`SamplingError::UnknownToken`] names the first that does not.
    pub fn validate_tokens(&self, vocabulary_size: usize) -> Result<(), SamplingError> {
        match self.logit_bias.iter().find(|&&(token, _)| token as usize >= vocabulary_size) {
            Some(&(token, _)) => Err(SamplingError::UnknownToken { token, vocabulary_size }),
            None => Ok(()),
        }
    }
}

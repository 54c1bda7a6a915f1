//! Learns how many tokens this server makes of a word, from the counts that it reports. Its texts open with words of their
//! own, so that they warm no cache for the prompts that are measured.

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::exchange::{Call, Observer, exchange};
use crate::prompts::{OPENING_WORDS, Prompts};
use crate::stats::tidy;
use crate::words::WORDS;

/// Used where the server counts nothing: about what tokenizers of 32,000 tokens and more make of common words.
const ASSUMED_TOKENS_PER_WORD: f64 = 1.1;
/// Two texts are compared; the shorter decks are for servers with a short context.
const DECKS: [usize; 4] = [WORDS.len(), WORDS.len() / 4, WORDS.len() / 16, WORDS.len() / 64];

/// What the server's tokenizer makes of words: `tokens = overhead_tokens + tokens_per_word * words`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Mean tokens of one word with its space.
    pub tokens_per_word: f64,
    /// Tokens that every prompt has beside its words: a begin-of-text token, a chat template.
    pub overhead_tokens: f64,
    /// Why the numbers are assumed and not measured, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Calibration {
    fn assumed(note: String) -> Self {
        Self { tokens_per_word: ASSUMED_TOKENS_PER_WORD, overhead_tokens: 1.0, note: Some(note) }
    }

    /// Words for a whole prompt of about this many tokens; at least one.
    pub(crate) fn words_in_prompt(&self, tokens: u32) -> usize {
        words(f64::from(tokens) - self.overhead_tokens, self.tokens_per_word)
    }

    /// Words for a part of a prompt, to which nothing is added; at least one.
    pub(crate) fn words_in_part(&self, tokens: u32) -> usize {
        words(f64::from(tokens), self.tokens_per_word)
    }

    /// From two counts of texts that differ by `deck` words, the shorter of which has the opening words alone.
    fn from_counts(short: u32, long: u32, deck: usize) -> Option<Self> {
        let tokens_per_word = tidy(f64::from(long.checked_sub(short)?) / deck as f64);
        // Below a fifth of a token no word is counted, and above fifty no text is: such counts tell nothing.
        (0.2..=50.0).contains(&tokens_per_word).then(|| Self {
            tokens_per_word,
            overhead_tokens: tidy((f64::from(short) - tokens_per_word * OPENING_WORDS as f64).max(0.0)),
            note: None,
        })
    }
}

fn words(tokens: f64, tokens_per_word: f64) -> usize {
    (tokens / tokens_per_word).round().max(1.0) as usize
}

/// Asks for one token after a long and after a short text. A server that refuses or counts nothing gets assumed numbers with
/// a note; whether it can be measured at all is then for the run to find.
pub(crate) async fn calibrate(client: &Client, prompts: &Prompts) -> Calibration {
    let mut last_problem = String::new();
    for deck in DECKS {
        let long = prompts.text("calibration", 0, OPENING_WORDS + deck);
        let long_tokens = match count(client, long).await {
            Ok(Some(tokens)) => tokens,
            Ok(None) => return Calibration::assumed("the server reports no usage".to_owned()),
            Err(problem) => {
                last_problem = problem;
                continue;
            }
        };
        let short = prompts.text("calibration", 0, OPENING_WORDS);
        return match count(client, short).await {
            Ok(Some(short_tokens)) => Calibration::from_counts(short_tokens, long_tokens, deck).unwrap_or_else(|| {
                Calibration::assumed(format!(
                    "the server counts {long_tokens} tokens for {deck} words more than {short_tokens} tokens"
                ))
            }),
            Ok(None) => Calibration::assumed("the server reports no usage".to_owned()),
            Err(problem) => Calibration::assumed(problem),
        };
    }
    Calibration::assumed(last_problem)
}

/// Tokens of a prompt as the server counts them; a problem only where it gave no count.
async fn count(client: &Client, prompt: String) -> Result<Option<u32>, String> {
    let call = Call { group: "calibration", index: 0, prompt, max_tokens: 1, scheduled_ms: None };
    let (trace, end) = exchange(client, &call, &mut Observer::default()).await;
    match (trace.prompt_tokens(), end) {
        (Some(tokens), _) => Ok(Some(tokens)),
        (None, Ok(_)) => Ok(None),
        (None, Err(failure)) => Err(format!("the calibration failed: {failure}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_counts_give_the_slope_and_the_overhead() {
        let calibration = Calibration::from_counts(6, 6 + 320, 256).expect("plausible counts");
        assert_eq!(calibration.tokens_per_word, 1.25);
        assert_eq!(calibration.overhead_tokens, 1.0);
        assert_eq!(calibration.words_in_prompt(126), 100);
        assert_eq!(calibration.words_in_part(125), 100);
        assert_eq!(calibration.words_in_prompt(1), 1);
        assert_eq!(calibration.words_in_part(1), 1);
    }

    #[test]
    fn counts_that_tell_nothing_are_refused() {
        assert_eq!(Calibration::from_counts(9, 5, 256), None);
        assert_eq!(Calibration::from_counts(5, 5, 256), None);
        assert_eq!(Calibration::from_counts(1, u32::MAX, 4), None);
    }
}

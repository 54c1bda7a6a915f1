//! Prompts of a wanted length in tokens: common words, drawn from a seed, each prompt with an opening of its own.
//! Nothing here knows the server beyond the tokens that it makes of a word.

use crate::Calibration;
use crate::random::Random;
use crate::words::WORDS;

/// Words that begin a prompt and depend on the run, so that no cache that an earlier run filled can serve this one
/// (but for a chance of 2⁻³²).
pub(crate) const OPENING_WORDS: usize = 4;

/// Makes the prompts of one run.
#[derive(Clone, Debug)]
pub(crate) struct Prompts {
    seed: u64,
    nonce: u64,
}

impl Prompts {
    pub(crate) fn new(seed: u64, nonce: u64) -> Self {
        Self { seed, nonce }
    }

    /// A text of `words` words (at least one). Texts of one `family` with indices that differ, by less than the number of
    /// known words, begin with different words. The body depends on the workload's seed alone.
    pub(crate) fn text(&self, family: &str, index: u32, words: usize) -> String {
        let family = family_key(family);
        let start = Random::keyed(&[self.nonce, self.seed, family]).below(WORDS.len());
        let mut opening = Random::keyed(&[self.nonce, self.seed, family, index.into()]);
        let mut chosen = vec![WORDS[(start + index as usize) % WORDS.len()]];
        while chosen.len() < OPENING_WORDS.min(words) {
            chosen.push(WORDS[opening.below(WORDS.len())]);
        }
        let mut body = Random::keyed(&[self.seed, family, index.into()]);
        while chosen.len() < words {
            // Whole shuffled decks: the mean length of a word in tokens is then that of the calibration's deck.
            let mut deck = WORDS;
            body.shuffle(&mut deck);
            chosen.extend(deck.iter().take(words - chosen.len()));
        }
        chosen.join(" ")
    }

    /// A prompt of about `tokens` tokens in all.
    pub(crate) fn prompt(&self, family: &str, index: u32, tokens: u32, calibration: &Calibration) -> String {
        self.text(family, index, calibration.words_in_prompt(tokens))
    }

    /// A question of about `tokens` tokens after a context, on a line of its own.
    pub(crate) fn question(&self, context: &str, index: u32, tokens: u32, calibration: &Calibration) -> String {
        format!("{context}\n{}", self.text("question", index, calibration.words_in_part(tokens)))
    }
}

/// FNV-1a: a name becomes a number, the same in every build.
fn family_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn word_count(text: &str) -> usize {
        text.split_whitespace().count()
    }

    #[test]
    fn a_text_has_the_words_that_were_asked_for() {
        let prompts = Prompts::new(1, 2);
        for words in [1, 2, 3, 4, 5, 255, 256, 257, 1_500] {
            assert_eq!(word_count(&prompts.text("client", 0, words)), words);
        }
        assert_eq!(word_count(&prompts.text("client", 0, 0)), 1);
    }

    #[test]
    fn the_same_seed_and_nonce_give_the_same_text_and_another_nonce_only_another_opening() {
        let text = Prompts::new(1, 2).text("client", 3, 60);
        assert_eq!(text, Prompts::new(1, 2).text("client", 3, 60));
        let other = Prompts::new(1, 9).text("client", 3, 60);
        let split = |text: &str| -> (Vec<String>, Vec<String>) {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            (words[..OPENING_WORDS].to_vec(), words[OPENING_WORDS..].to_vec())
        };
        assert_ne!(split(&text).0, split(&other).0);
        assert_eq!(split(&text).1, split(&other).1);
    }

    #[test]
    fn prompts_of_a_family_all_begin_with_another_word() {
        let prompts = Prompts::new(7, 11);
        let texts: Vec<String> = (0..WORDS.len() as u32).map(|index| prompts.text("client", index, 9)).collect();
        let first: HashSet<&str> = texts.iter().filter_map(|text| text.split(' ').next()).collect();
        assert_eq!(first.len(), WORDS.len());
    }

    #[test]
    fn questions_share_the_context_and_then_differ_at_once() {
        let prompts = Prompts::new(7, 11);
        let calibration = Calibration { tokens_per_word: 1.0, overhead_tokens: 1.0, note: None };
        let context = prompts.prompt("context", 0, 101, &calibration);
        assert_eq!(word_count(&context), 100);
        let first = prompts.question(&context, 0, 15, &calibration);
        let second = prompts.question(&context, 1, 15, &calibration);
        let first_own: Vec<&str> = first[context.len()..].split_whitespace().collect();
        let second_own: Vec<&str> = second[context.len()..].split_whitespace().collect();
        assert_eq!(first_own.len(), 15);
        assert_ne!(first_own[0], second_own[0]);
    }
}

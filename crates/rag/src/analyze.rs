//! Words of a text: where they are, their stem, and whether they carry content. Index, query, role names and the check
//! of an answer all come through here, so that they agree on what a word is. No ranking, no storage.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::OnceLock;

use rust_stemmers::{Algorithm, Stemmer};

/// Words longer than this many bytes are cut: they are hashes or base64, and would only swell the index.
const MAX_WORD_BYTES: usize = 64;

/// Words that stand in nearly every sentence or only phrase a question. A disjunction with them would match everything.
const STOP_WORDS: &str = "a about above after again all also am an and any are as at be because been before being \
    below between both but by can cannot could did do does doing down during each etc few for from further get gets \
    give had has have having he her here hers him his how however i if in into is it its itself just know let like \
    many may me might more most much must my need needed needs no nor not of off often on once one only or other our \
    out over own per please same shall she should so some such tell than that the their theirs them then there these \
    they this those through to too typical typically under until up upon us usually very want was we were what when \
    where which while who whom whose why will with within would you your";

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where it is in the text, in bytes.
    pub(crate) range: Range<usize>,
    /// Lower case, without the separators of thousands: what a figure is compared by.
    pub(crate) normal: String,
    /// Snowball stem of `normal`; a figure is its own stem.
    pub(crate) stem: String,
    /// Whether it is on the stop list.
    pub(crate) stop: bool,
}

impl Word {
    /// Whether the word is a number, or holds one (`401k`).
    pub(crate) fn is_figure(&self) -> bool {
        self.normal.bytes().any(|byte| byte.is_ascii_digit())
    }
}

fn stop_words() -> &'static HashSet<&'static str> {
    static WORDS: OnceLock<HashSet<&'static str>> = OnceLock::new();
    WORDS.get_or_init(|| STOP_WORDS.split_whitespace().collect())
}

/// English Snowball stem of a lower-case word.
pub(crate) fn stem(word: &str) -> String {
    thread_local! {
        static STEMMER: Stemmer = Stemmer::create(Algorithm::English);
    }
    if word.bytes().any(|byte| byte.is_ascii_digit()) {
        return word.to_owned();
    }
    STEMMER.with(|stemmer| stemmer.stem(word).into_owned())
}

/// Ranges of the words of `text`: runs of letters and digits; a comma or full stop between two digits belongs to the
/// number.
fn word_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = None;
    let mut previous = ' ';
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next_is_digit = characters.peek().is_some_and(|(_, next)| next.is_ascii_digit());
        let inside = character.is_alphanumeric()
            || (matches!(character, ',' | '.') && previous.is_ascii_digit() && next_is_digit && start.is_some());
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                ranges.push(from..at);
                start = None;
            }
            _ => {}
        }
        previous = character;
    }
    if let Some(from) = start {
        ranges.push(from..text.len());
    }
    ranges
}

/// Whether the word at `range` is what follows an apostrophe in `bachelor's` or `don't`.
fn is_contraction_tail(text: &str, range: &Range<usize>) -> bool {
    let tail = &text[range.clone()];
    let before = &text[..range.start];
    tail.len() <= 2
        && (before.ends_with('\'') || before.ends_with('’'))
        && matches!(tail.to_ascii_lowercase().as_str(), "s" | "t" | "re" | "ll" | "ve" | "d" | "m")
}

/// All words of `text` in order, stop words included.
pub(crate) fn words(text: &str) -> Vec<Word> {
    word_ranges(text)
        .into_iter()
        .filter(|range| !is_contraction_tail(text, range))
        .map(|range| {
            let mut normal: String = text[range.clone()].to_lowercase().replace(',', "");
            if normal.len() > MAX_WORD_BYTES {
                let cut = (0..=MAX_WORD_BYTES).rev().find(|at| normal.is_char_boundary(*at)).unwrap_or(0);
                normal.truncate(cut);
            }
            let stop = stop_words().contains(normal.as_str());
            let stem = stem(&normal);
            Word { range, normal, stem, stop }
        })
        .collect()
}

/// Stems of the content words of `text`, in order.
pub(crate) fn content_stems(text: &str) -> Vec<String> {
    words(text).into_iter().filter(|word| !word.stop).map(|word| word.stem).collect()
}

/// What is put into the full-text index for `text`: its content stems, separated by spaces.
pub(crate) fn index_text(text: &str) -> String {
    content_stems(text).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_decimals_and_lose_their_thousands_separators() {
        let normals: Vec<_> = words("$59,310 a year, $28.51 an hour.").into_iter().map(|word| word.normal).collect();
        assert_eq!(normals, ["59310", "a", "year", "28.51", "an", "hour"]);
    }

    #[test]
    fn singular_and_plural_share_a_stem() {
        for (one, many) in [("carpenter", "carpenters"), ("nurse", "nurses"), ("actuary", "actuaries")] {
            assert_eq!(stem(one), stem(many));
        }
    }

    #[test]
    fn an_apostrophe_ends_a_word_and_its_tail_is_dropped() {
        assert_eq!(content_stems("bachelor’s degrees don't"), ["bachelor", "degre", "don"]);
    }

    #[test]
    fn ranges_point_at_the_words_they_describe() {
        let text = "Émigrés earn 1,234 £";
        let found: Vec<_> = words(text).iter().map(|word| text[word.range.clone()].to_owned()).collect();
        assert_eq!(found, ["Émigrés", "earn", "1,234"]);
    }
}

//! Finds stop strings in a text that arrives in pieces, and says how much of it may be shown already.
//! Knows text only; tokens and UTF-8 repair are the detokenizer's.

/// Where the first stop string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopMatch {
    /// Index in the list that was given.
    pub(crate) index: usize,
    /// First byte of the match.
    pub(crate) start: usize,
    /// Byte after the match.
    pub(crate) end: usize,
}

/// The stop strings of one answer.
#[derive(Debug)]
pub(crate) struct StopStrings {
    strings: Vec<String>,
}

impl StopStrings {
    pub(crate) fn new(strings: Vec<String>) -> Self {
        Self { strings }
    }

    /// The stop string that is complete first; of those that complete together, the longest. Since it is the end that
    /// counts, the answer does not depend on the pieces in which the text arrived. An empty string stops nothing.
    pub(crate) fn find(&self, text: &str) -> Option<StopMatch> {
        let candidates = self.strings.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
        let matches = candidates.filter_map(|(index, stop)| {
            let start = text.find(stop.as_str())?;
            Some(StopMatch { index, start, end: start + stop.len() })
        });
        matches.min_by_key(|found| (found.end, found.start, found.index))
    }

    /// Bytes at the end of a text that might begin a stop string and must be held back. The text holds no whole one.
    pub(crate) fn held(&self, text: &str) -> usize {
        self.strings.iter().map(|stop| longest_overlap(text, stop)).max().unwrap_or(0)
    }
}

/// Bytes of the longest suffix of `text` that is a proper prefix of `stop`.
fn longest_overlap(text: &str, stop: &str) -> usize {
    let most = stop.len().saturating_sub(1).min(text.len());
    let overlaps = |&length: &usize| {
        stop.is_char_boundary(length) && text.as_bytes()[text.len() - length..] == stop.as_bytes()[..length]
    };
    (1..=most).rev().find(overlaps).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(strings: &[&str]) -> StopStrings {
        StopStrings::new(strings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_string_that_completes_first_wins_and_then_the_longest() {
        assert_eq!(stops(&["cd", "b"]).find("abcd"), Some(StopMatch { index: 1, start: 1, end: 2 }));
        assert_eq!(stops(&["b", "ab"]).find("xab"), Some(StopMatch { index: 1, start: 1, end: 3 }));
        assert_eq!(stops(&["", "z"]).find("abc"), None);
    }

    #[test]
    fn only_what_may_begin_a_stop_is_held() {
        assert_eq!(stops(&["###"]).held("a##"), 2);
        assert_eq!(stops(&["###"]).held("a# "), 0);
        assert_eq!(stops(&["abab!", "b?"]).held("xabab"), 4);
        assert_eq!(stops(&["né!"]).held("xné"), 3);
    }
}

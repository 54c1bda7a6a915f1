//! Names under which a document's role can be asked for, made from its title, and the places of a question where such a
//! name can stand. No storage: the store keeps the names, retrieval looks them up.

use std::collections::HashSet;

use crate::analyze::{Word, content_stems};

/// Most content words that a role's name may have; longer titles are documents about something else.
const MAX_NAME_WORDS: usize = 12;

/// One name of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleName {
    /// Content stems joined by spaces.
    pub(crate) phrase: String,
    /// Whether it is the whole title, rather than one of the roles that the title lists.
    pub(crate) whole: bool,
}

/// Names of the role or roles that `title` tells of. "Set and Exhibit Designers" gives the whole title, "set designers"
/// and "exhibit designers".
pub(crate) fn role_names(title: &str) -> Vec<RoleName> {
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    let mut push = |text: &str, whole: bool| {
        let stems = content_stems(text);
        if stems.is_empty() || stems.len() > MAX_NAME_WORDS {
            return;
        }
        let phrase = stems.join(" ");
        if seen.insert(phrase.clone()) {
            names.push(RoleName { phrase, whole });
        }
    };
    push(title, true);
    let parts = parts_of(title);
    if parts.len() > 1 {
        for (part, head) in parts.iter().zip(heads_of(&parts)) {
            if names_people(part) {
                push(part, false);
                continue;
            }
            // A part without a head of its own borrows the tail of the next part that has one.
            let Some(head) = head else { continue };
            let words: Vec<&str> = head.split_whitespace().collect();
            let longest = (words.len() - 1).clamp(1, MAX_NAME_WORDS);
            for tail in 1..=longest {
                push(&format!("{part} {}", words[words.len() - tail..].join(" ")), false);
            }
        }
    }
    names
}

/// For each part the next one that names people, itself included.
fn heads_of(parts: &[String]) -> Vec<Option<&String>> {
    let mut heads = Vec::with_capacity(parts.len());
    let mut head = None;
    for part in parts.iter().rev() {
        head = if names_people(part) { Some(part) } else { head };
        heads.push(head);
    }
    heads.reverse();
    heads
}

/// The members of a title's list: split at commas, slashes, "and" and "including".
fn parts_of(title: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in title.replace(['/', ','], " and ").split_whitespace() {
        let lower = word.to_lowercase();
        if matches!(lower.as_str(), "and" | "or" | "&" | "including") {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(word);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Whether the last word of a part is a plural, which is how titles name people.
fn names_people(part: &str) -> bool {
    let last = part.split_whitespace().next_back().unwrap_or("");
    last.ends_with('s') && !last.ends_with("ss")
}

/// A run of a question's content words that may be a role's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameSpan {
    /// Content stems joined by spaces.
    pub(crate) phrase: String,
    /// Indexes into the question's words.
    pub(crate) words: Vec<usize>,
}

/// All runs of content words of a question, longest first.
pub(crate) fn name_spans(question: &[Word]) -> Vec<NameSpan> {
    let content: Vec<usize> = (0..question.len()).filter(|index| !question[*index].stop).collect();
    let mut spans = Vec::new();
    for length in (1..=content.len().min(MAX_NAME_WORDS)).rev() {
        for run in content.windows(length) {
            let stems: Vec<&str> = run.iter().map(|index| question[*index].stem.as_str()).collect();
            spans.push(NameSpan { phrase: stems.join(" "), words: run.to_vec() });
        }
    }
    spans
}

/// A role that a question names, with the documents that tell of it.
#[derive(Debug, Clone)]
pub(crate) struct RoleMatch {
    /// Rowids of the documents.
    pub(crate) documents: Vec<i64>,
    /// Indexes of the question's words that name it.
    pub(crate) words: Vec<usize>,
    /// 1 for a whole title, less for a part of one.
    pub(crate) strength: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::words;

    fn phrases(title: &str) -> Vec<String> {
        role_names(title).into_iter().map(|name| name.phrase).collect()
    }

    #[test]
    fn a_list_of_roles_gives_each_of_them() {
        assert_eq!(phrases("Accountants and Auditors"), ["account auditor", "account", "auditor"]);
        assert!(phrases("Plumbers, Pipefitters, and Steamfitters").contains(&"plumber".to_owned()));
    }

    #[test]
    fn a_modifier_borrows_the_head_of_the_next_role() {
        assert!(phrases("Set and Exhibit Designers").contains(&"set design".to_owned()));
        assert!(phrases("Film and Video Editors and Camera Operators").contains(&"film editor".to_owned()));
    }

    #[test]
    fn an_example_after_including_can_be_asked_for() {
        assert!(phrases("Atmospheric Scientists, Including Meteorologists").contains(&"meteorologist".to_owned()));
    }

    #[test]
    fn a_title_of_many_parts_costs_by_its_length() {
        assert!(phrases(&"Baker, ".repeat(50_000)).is_empty());
        assert_eq!(phrases(&format!("{}Cooks", "Baker, ".repeat(50_000))), ["baker cook", "cook"]);
    }

    #[test]
    fn the_longest_runs_of_a_question_come_first() {
        let spans = name_spans(&words("the registered nurse"));
        let phrases: Vec<_> = spans.iter().map(|span| span.phrase.as_str()).collect();
        assert_eq!(phrases, ["regist nurs", "regist", "nurs"]);
    }
}

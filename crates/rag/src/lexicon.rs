//! The small domain lexicon: what questions about roles say, and what the documents call it. The words live in
//! `lexicon.txt`; here they are read once and matched. No ranking.

use std::sync::OnceLock;

use crate::analyze::{Word, content_stems, words};

const SOURCE: &str = include_str!("lexicon.txt");

/// What a question can be about.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its name in `lexicon.txt`.
    pub(crate) name: &'static str,
    /// Each phrase as stems, `None` for `*`.
    triggers: Vec<Vec<Option<String>>>,
    /// Stems of the documents' words.
    pub(crate) expansions: Vec<String>,
}

/// A topic found in a question.
#[derive(Debug)]
pub(crate) struct TopicMatch {
    pub(crate) topic: &'static Topic,
    /// Indexes of the question's words that named it.
    pub(crate) words: Vec<usize>,
}

/// All topics, in the order of the file.
pub(crate) fn topics() -> &'static [Topic] {
    static TOPICS: OnceLock<Vec<Topic>> = OnceLock::new();
    TOPICS.get_or_init(|| SOURCE.lines().filter_map(topic_of_line).collect())
}

fn topic_of_line(line: &'static str) -> Option<Topic> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut columns = line.split('|').map(str::trim);
    let (name, triggers, expansions) = (columns.next()?, columns.next()?, columns.next()?);
    let triggers = triggers.split(',').map(pattern_of_phrase).collect();
    let mut stems: Vec<String> = Vec::new();
    for stem in content_stems(expansions) {
        if !stems.contains(&stem) {
            stems.push(stem);
        }
    }
    Some(Topic { name, triggers, expansions: stems })
}

fn pattern_of_phrase(phrase: &str) -> Vec<Option<String>> {
    phrase
        .split_whitespace()
        .flat_map(|part| match part {
            "*" => vec![None],
            part => words(part).into_iter().map(|word| Some(word.stem)).collect(),
        })
        .collect()
}

/// The topics of a question. Words marked in `taken` (a role's name) name no topic: "training specialists" is a role.
pub(crate) fn match_topics(question: &[Word], taken: &[bool]) -> Vec<TopicMatch> {
    let mut found = Vec::new();
    let asks_more = question.iter().zip(taken).any(|(word, taken)| !word.stop && !taken);
    for topic in topics() {
        let mut named: Vec<usize> = Vec::new();
        for pattern in &topic.triggers {
            for start in 0..question.len() {
                let Some(positions) = match_at(pattern, question, taken, start) else { continue };
                // "How many" alone asks for jobs only where nothing else is counted: not in "how many street lamps".
                let is_bare = !pattern.contains(&None) && positions.iter().all(|word| question[*word].stop);
                if !(is_bare && asks_more) {
                    named.extend(positions);
                }
            }
        }
        if !named.is_empty() {
            named.sort_unstable();
            named.dedup();
            found.push(TopicMatch { topic, words: named });
        }
    }
    drop_weaker(question, found)
}

/// A topic whose every word also names another one with more words is the weaker reading, and so is one named by stop words
/// only beside another: "how many hours" asks about hours, not about the number of jobs.
fn drop_weaker(question: &[Word], found: Vec<TopicMatch>) -> Vec<TopicMatch> {
    let has_content = |one: &TopicMatch| one.words.iter().any(|word| !question[*word].stop);
    let any_content = found.iter().any(has_content);
    let is_weaker = |one: &TopicMatch| {
        (any_content && !has_content(one))
            || found.iter().any(|other| {
                other.words.len() > one.words.len() && one.words.iter().all(|word| other.words.contains(word))
            })
    };
    let weaker: Vec<bool> = found.iter().map(is_weaker).collect();
    found.into_iter().zip(weaker).filter(|(_, weaker)| !weaker).map(|(topic, _)| topic).collect()
}

/// The words of `question` that `pattern` matches from `start` on. A gap takes any words, as few as possible.
fn match_at(pattern: &[Option<String>], question: &[Word], taken: &[bool], start: usize) -> Option<Vec<usize>> {
    let mut positions = Vec::new();
    let mut at = start;
    let mut gap = false;
    for part in pattern {
        let Some(stem) = part else {
            gap = true;
            continue;
        };
        let is_match = |index: &usize| question[*index].stem == *stem && !taken.get(*index).copied().unwrap_or(false);
        let last = if gap { question.len() } else { (at + 1).min(question.len()) };
        let position = (at..last).find(is_match)?;
        positions.push(position);
        at = position + 1;
        gap = false;
    }
    (!positions.is_empty()).then_some(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(question: &str) -> Vec<&'static str> {
        let question = words(question);
        let taken = vec![false; question.len()];
        match_topics(&question, &taken).into_iter().map(|found| found.topic.name).collect()
    }

    #[test]
    fn every_line_of_the_lexicon_is_a_topic() {
        let lines = SOURCE.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).count();
        assert_eq!(topics().len(), lines);
        for topic in topics() {
            assert!(!topic.triggers.iter().any(Vec::is_empty), "{} has an empty phrase", topic.name);
            assert!(!topic.expansions.is_empty(), "{} expands to nothing", topic.name);
        }
    }

    #[test]
    fn questions_name_their_topics() {
        assert_eq!(names("How much do carpenters earn?"), ["pay"]);
        assert_eq!(names("How much do carpenters make?"), ["pay"]);
        assert_eq!(names("What do carpenters do?"), ["duties"]);
        assert_eq!(names("How many carpenters are there?"), ["jobs"]);
        assert_eq!(names("How many hours do surgeons work?"), ["schedule"]);
        assert_eq!(names("What is a carpenter?"), Vec::<&str>::new());
    }

    #[test]
    fn how_many_alone_asks_for_jobs_only_where_nothing_else_is_counted() {
        assert_eq!(names("How many street lamps does a lamplighter tend?"), Vec::<&str>::new());
        assert_eq!(names("How many jobs are held?"), ["jobs"]);
        let carpenters: Vec<_> = match_topics(&words("How many carpenters?"), &[false, false, true])
            .iter()
            .map(|one| one.topic.name)
            .collect();
        assert_eq!(carpenters, ["jobs"]);
    }

    #[test]
    fn a_roles_own_words_name_no_topic() {
        let question = words("Where are training specialists?");
        let taken = [false, false, true, true];
        assert!(match_topics(&question, &taken).is_empty());
    }
}

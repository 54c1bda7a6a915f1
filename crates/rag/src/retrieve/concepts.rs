//! A question understood: the roles it names, the topics it asks about, and its other content words, each weighted by how
//! telling it is in this store. Looks up names and document frequencies; finds no chunks.

use rusqlite::Connection;

use super::Gate;
use super::candidates::document_frequency;
use crate::Result;
use crate::analyze::{Word, stem, words};
use crate::lexicon::{TopicMatch, match_topics};
use crate::role::{RoleMatch, name_spans};

/// Words that phrase a question without being what it is about. They weigh the least that a word can, so that a document need
/// not use them too.
const FILLERS: &[&str] = &[
    "kind",
    "sort",
    "type",
    "level",
    "amount",
    "receive",
    "expect",
    "people",
    "person",
    "someone",
    "anyone",
    "current",
    "find",
    "see",
    "look",
    "say",
    "mean",
    "think",
    "wonder",
    "interested",
    "work",
    "job",
    "role",
    "occupation",
    "career",
    "lot",
    "long",
    "big",
    "large",
];
/// Content words of a question that are looked at.
const MAX_WORDS: usize = 64;
/// Roles that a question can name; the words of further ones are words like others.
const MAX_ROLES: usize = 8;
/// A name that more documents than this share names none of them.
const MAX_ROLE_DOCUMENTS: usize = 4;
/// Strength of a name that is one of several in a title.
const PART_STRENGTH: f64 = 0.85;
/// A topic weighs this share of what a word weighs that stands nowhere in the store.
const TOPIC_MASS_SHARE: f64 = 0.3;
/// Chunks that hold a word are counted up to half of the store, and up to this number: a word in more of them weighs the
/// least that a word can in any case.
const COUNTED_AT_LEAST: i64 = 500;
/// No word weighs less than this share.
const LEAST_MASS_SHARE: f64 = 0.1;
/// A word that stands nowhere in the store weighs this share of its full inverse frequency: it may be a turn of phrase.
const UNKNOWN_MASS_SHARE: f64 = 0.85;

/// One thing that a question speaks of.
#[derive(Debug, Clone)]
pub(crate) struct Concept {
    /// The question's own stems.
    pub(crate) own: Vec<String>,
    /// Stems that documents use for it, of a topic; empty for a word.
    pub(crate) expansions: Vec<String>,
    /// How telling it is.
    pub(crate) mass: f64,
    /// Whether its words name a role.
    pub(crate) role: bool,
}

impl Concept {
    /// How well a text speaks of it, 0 to 1, by the weight `of` each stem there (0 where it is absent, below 1).
    pub(crate) fn match_by(&self, of: impl Fn(&str) -> f64) -> f64 {
        let own = self.own.iter().map(|stem| of(stem)).fold(0.0, f64::max);
        if self.expansions.is_empty() {
            return own;
        }
        let weights: Vec<f64> = self.expansions.iter().map(|stem| of(stem)).collect();
        let best = weights.iter().copied().fold(own, f64::max);
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        0.5 * best + 0.5 * mean
    }

    /// All stems that can match it.
    pub(crate) fn stems(&self) -> impl Iterator<Item = &str> {
        self.own.iter().chain(&self.expansions).map(String::as_str)
    }
}

/// A question understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) concepts: Vec<Concept>,
    pub(crate) roles: Vec<RoleMatch>,
    /// Whether it asks for a figure.
    pub(crate) wants_figure: bool,
    /// Chunks in the store.
    pub(crate) total: i64,
}

impl Query {
    /// Sum of the masses.
    pub(crate) fn mass(&self) -> f64 {
        self.concepts.iter().map(|concept| concept.mass).sum()
    }

    /// How strongly the question names the role of `document`: 0 when it does not.
    pub(crate) fn role_strength(&self, document: i64) -> f64 {
        let named = self.roles.iter().filter(|role| role.documents.contains(&document));
        named.map(|role| role.strength).fold(0.0, f64::max)
    }
}

/// Understands `question` against what the store holds.
pub(crate) fn understand(connection: &Connection, question: &str, gate: &mut Gate<'_>) -> Result<Query> {
    let question = limited(question);
    let total: i64 = connection.query_row("SELECT chunks FROM totals", [], |row| row.get(0))?;
    let full = inverse_frequency(0, total);
    let roles = match_roles(connection, &question, gate)?;
    let mut taken = vec![false; question.len()];
    for index in roles.iter().flat_map(|role| &role.words) {
        taken[*index] = true;
    }
    let topics = match_topics(&question, &taken);
    let names: Vec<&str> = topics.iter().map(|found| found.topic.name).collect();
    tracing::debug!(?roles, topics = ?names, "understood a question");
    let mut in_topic = vec![false; question.len()];
    for index in topics.iter().flat_map(|found| &found.words) {
        in_topic[*index] = true;
    }
    let mut concepts: Vec<Concept> = topics.iter().map(|found| topic_concept(found, &question, full)).collect();
    let mut seen: Vec<&str> = Vec::new();
    for (index, word) in question.iter().enumerate() {
        if word.stop || in_topic[index] || seen.contains(&word.stem.as_str()) {
            continue;
        }
        seen.push(&word.stem);
        let least = full * LEAST_MASS_SHARE;
        let filler = !taken[index] && FILLERS.iter().any(|filler| stem(filler) == word.stem);
        let mass = if filler { least } else { word_mass(connection, &word.stem, total)?.max(least) };
        concepts.push(Concept { own: vec![word.stem.clone()], expansions: Vec::new(), mass, role: taken[index] });
    }
    let mut query = Query { concepts, roles, wants_figure: wants_figure(&question), total };
    weigh_roles(&mut query, &question);
    Ok(query)
}

/// How telling a word is by how many chunks hold it.
fn word_mass(connection: &Connection, stem: &str, total: i64) -> Result<f64> {
    let frequency = document_frequency(connection, stem, (total / 2).max(COUNTED_AT_LEAST))?;
    let share = if frequency == 0 { UNKNOWN_MASS_SHARE } else { 1.0 };
    Ok(inverse_frequency(frequency, total) * share)
}

/// The question's words, up to the bound of content words.
fn limited(question: &str) -> Vec<Word> {
    let mut content = 0;
    words(question)
        .into_iter()
        .take_while(|word| {
            content += usize::from(!word.stop);
            content <= MAX_WORDS
        })
        .collect()
}

fn topic_concept(found: &TopicMatch, question: &[Word], full: f64) -> Concept {
    let own = found.words.iter().map(|index| &question[*index]).filter(|word| !word.stop).map(|word| word.stem.clone());
    Concept {
        own: own.collect(),
        expansions: found.topic.expansions.clone(),
        mass: full * TOPIC_MASS_SHARE,
        role: false,
    }
}

/// "How much", "how many", "how fast", "what percentage": a unit without a figure answers none of them.
fn wants_figure(question: &[Word]) -> bool {
    let follows = |first: &str, second: &[&str]| {
        question.windows(2).any(|pair| pair[0].normal == first && second.contains(&pair[1].normal.as_str()))
    };
    follows("how", &["much", "many", "fast", "long", "large", "big"])
        || question
            .iter()
            .any(|word| matches!(word.stem.as_str(), "percent" | "percentag" | "number" | "salari" | "wage" | "pay"))
}

/// The share of the question that a role's name makes up bounds how strongly it pulls: in "machine learning models" the
/// page about fashion models is not what is meant. Then all words of a name together weigh as much as its most telling
/// one, so that a long name does not drown what is asked about it.
fn weigh_roles(query: &mut Query, question: &[Word]) {
    let all = query.mass().max(f64::MIN_POSITIVE);
    let Query { concepts, roles, .. } = query;
    for role in roles {
        let names = |stem: &String| role.words.iter().any(|index| question[*index].stem == *stem);
        let mut named: Vec<&mut f64> = concepts
            .iter_mut()
            .filter(|concept| concept.role && concept.own.iter().any(names))
            .map(|concept| &mut concept.mass)
            .collect();
        let sum: f64 = named.iter().map(|mass| **mass).sum();
        let most = named.iter().map(|mass| **mass).fold(0.0, f64::max);
        role.strength *= (sum / all).sqrt().min(1.0);
        for mass in &mut named {
            **mass *= most / sum.max(f64::MIN_POSITIVE);
        }
    }
}

/// Roles that the question names: the longest names first, each word in one name only. Only documents that the gate lets
/// in count, so that those of another vector store change nothing.
fn match_roles(connection: &Connection, question: &[Word], gate: &mut Gate<'_>) -> Result<Vec<RoleMatch>> {
    let mut taken = vec![false; question.len()];
    let mut roles = Vec::new();
    for span in name_spans(question) {
        if roles.len() == MAX_ROLES {
            break;
        }
        if span.words.iter().any(|index| taken[*index]) {
            continue;
        }
        let Some((documents, strength)) = role_documents(connection, &span.phrase, gate)? else { continue };
        span.words.iter().for_each(|index| taken[*index] = true);
        roles.push(RoleMatch { documents, words: span.words, strength });
    }
    Ok(roles)
}

/// The documents that a name names, those whose whole title it is before those where it is a part; `None` where there are
/// none or too many.
fn role_documents(connection: &Connection, phrase: &str, gate: &mut Gate<'_>) -> Result<Option<(Vec<i64>, f64)>> {
    let mut statement = connection.prepare_cached("SELECT document, whole FROM role_names WHERE phrase = ?1")?;
    let mut rows = statement.query([phrase])?;
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (document, is_whole): (i64, bool) = (row.get(0)?, row.get(1)?);
        if gate.admits(document)? {
            if is_whole { &mut whole } else { &mut parts }.push(document);
        }
        if whole.len() > MAX_ROLE_DOCUMENTS {
            return Ok(None);
        }
    }
    let (documents, strength) = if whole.is_empty() { (parts, PART_STRENGTH) } else { (whole, 1.0) };
    Ok((1..=MAX_ROLE_DOCUMENTS).contains(&documents.len()).then_some((documents, strength)))
}

/// The inverse document frequency of BM25 (Robertson and Spärck Jones), never negative.
fn inverse_frequency(frequency: i64, total: i64) -> f64 {
    let (frequency, total) = (frequency as f64, total.max(frequency) as f64);
    (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln()
}

//! Chooses the verbatim sentences and rows of a quoted answer. Scores the units of the hits by what they say themselves and,
//! for less, by their heading and title. Writes no text and reads no store.

use std::collections::HashSet;
use std::ops::Range;

use crate::analyze::{Word, content_stems, words};
use crate::chunk::{Unit, UnitKind};
use crate::retrieve::{Concept, Found, Hit, Query};
use crate::store::CHUNK_BITS;

/// What a word counts that stands above a unit: in the head of its table, in its section's heading, in the title.
const IN_TABLE_HEAD: f64 = 0.6;
const IN_SECTION: f64 = 0.5;
const IN_TITLE: f64 = 0.4;
/// A role counts nearly in full when the document is about it.
const ROLE_IN_TITLE: f64 = 0.9;
/// Share of the hit's score in the unit's.
const HIT_SHARE: f64 = 0.2;
/// A row whose label is exactly what is asked for.
const LABEL_BONUS: f64 = 0.25;
/// Where a figure is asked for.
const FIGURE_BONUS: f64 = 0.05;
const NO_FIGURE_LOSS: f64 = 0.15;
/// A unit of more words than this is hard to read as an answer.
const LONG_WORDS: usize = 45;
const LONG_LOSS: f64 = 0.05;
/// Share of what is asked about a role that a unit must speak of to be an answer.
const LEAST_ASKED: f64 = 0.3;
/// Further units must come this near to the best one.
const NEAR_BEST: f64 = 0.8;
/// Units that share this much of their words say the same.
const SAME: f64 = 0.7;

/// A unit chosen for the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quote {
    /// Index of its hit.
    pub(super) hit: usize,
    /// Byte range of the source text.
    pub(super) span: Range<usize>,
    /// Whether it does not say by itself whom it is about.
    pub(super) needs_title: bool,
    score: f64,
    stems: HashSet<String>,
}

/// The best units, best first; none when no unit speaks of what is asked. Where the question names several roles, each of
/// them has its say before one has two.
pub(super) fn choose(found: &Found, most: usize) -> Vec<Quote> {
    let is_named = |hit: &Hit| found.query.role_strength(hit.chunk_id >> CHUNK_BITS) > 0.0;
    let any_named = found.hits.iter().any(is_named);
    let mut quotes: Vec<Quote> = Vec::new();
    for (index, hit) in found.hits.iter().enumerate() {
        if !any_named || is_named(hit) {
            quotes.extend(hit.units.iter().filter_map(|unit| judge(&found.query, index, hit, unit)));
        }
    }
    quotes.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.hit.cmp(&right.hit)));
    let Some(best) = quotes.first().map(|quote| quote.score) else { return Vec::new() };
    let mut chosen: Vec<Quote> = Vec::new();
    let document = |quote: &Quote| found.hits[quote.hit].chunk_id >> CHUNK_BITS;
    if found.query.roles.len() > 1 {
        for quote in &quotes {
            if chosen.len() < most && !chosen.iter().any(|other| document(other) == document(quote)) {
                chosen.push(quote.clone());
            }
        }
    }
    for quote in quotes {
        let again = chosen.iter().any(|other| overlap(&other.stems, &quote.stems) >= SAME);
        if chosen.len() < most && quote.score >= NEAR_BEST * best && !again {
            chosen.push(quote);
        }
    }
    chosen
}

/// Scores one unit; `None` when it is no statement or does not speak of what is asked.
fn judge(query: &Query, index: usize, hit: &Hit, unit: &Unit) -> Option<Quote> {
    let text = hit.slice(&unit.span)?;
    if unit.kind == UnitKind::TableHead || is_question(text) {
        return None;
    }
    let said = words(text);
    let stems: HashSet<String> = said.iter().filter(|word| !word.stop).map(|word| word.stem.clone()).collect();
    let above = Above::of(hit, unit);
    let weigh = |concept: &Concept| {
        concept.match_by(|stem| {
            if stems.contains(stem) {
                return 1.0;
            }
            above.weight(stem, concept.role)
        })
    };
    let (mut matched, mut asked, mut asked_matched) = (0.0, 0.0, 0.0);
    for concept in &query.concepts {
        let weight = concept.mass * weigh(concept);
        matched += weight;
        if !concept.role {
            asked += concept.mass;
            asked_matched += weight;
        }
    }
    if asked > 0.0 && asked_matched < LEAST_ASKED * asked {
        return None;
    }
    let mut score = (1.0 - HIT_SHARE) * matched / query.mass().max(f64::MIN_POSITIVE) + HIT_SHARE * hit.score;
    if unit.kind == UnitKind::Row {
        score += LABEL_BONUS * label_share(query, text);
    }
    if query.wants_figure {
        score += if said.iter().any(Word::is_figure) { FIGURE_BONUS } else { -NO_FIGURE_LOSS };
    }
    if said.len() > LONG_WORDS {
        score -= LONG_LOSS;
    }
    let title = content_stems(&hit.title);
    let needs_title = !title.iter().any(|stem| stems.contains(stem));
    Some(Quote { hit: index, span: unit.span.clone(), needs_title, score, stems })
}

/// A question in a document is the label of its answer, not a statement.
fn is_question(text: &str) -> bool {
    text.trim_end_matches(['*', '_', '"', '”']).ends_with('?')
}

/// Share of a row's label that the question speaks of, figures aside, squared: half a label is another fact.
fn label_share(query: &Query, row: &str) -> f64 {
    let label = row.split(['|', '\n']).next().unwrap_or("");
    let stems: Vec<String> =
        words(label).into_iter().filter(|word| !word.stop && !word.is_figure()).map(|word| word.stem).collect();
    if stems.is_empty() || label.len() == row.len() {
        return 0.0;
    }
    let asked: HashSet<&str> =
        query.concepts.iter().filter(|concept| !concept.role).flat_map(|concept| concept.stems()).collect();
    let share = stems.iter().filter(|stem| asked.contains(stem.as_str())).count() as f64 / stems.len() as f64;
    share * share
}

/// Stems of what stands above a unit.
struct Above {
    head: HashSet<String>,
    section: HashSet<String>,
    title: HashSet<String>,
}

impl Above {
    fn of(hit: &Hit, unit: &Unit) -> Self {
        let heads =
            hit.units.iter().filter(|head| head.kind == UnitKind::TableHead && head.span.end <= unit.span.start);
        let head = match unit.kind {
            UnitKind::Row => heads.last().and_then(|head| hit.slice(&head.span)).unwrap_or(""),
            _ => "",
        };
        let stems = |text: &str| content_stems(text).into_iter().collect();
        Self { head: stems(head), section: stems(&hit.section), title: stems(&hit.title) }
    }

    fn weight(&self, stem: &str, role: bool) -> f64 {
        if self.title.contains(stem) {
            return if role { ROLE_IN_TITLE } else { IN_TITLE };
        }
        if self.head.contains(stem) {
            return IN_TABLE_HEAD;
        }
        if self.section.contains(stem) { IN_SECTION } else { 0.0 }
    }
}

fn overlap(left: &HashSet<String>, right: &HashSet<String>) -> f64 {
    let shared = left.intersection(right).count() as f64;
    shared / (left.len() + right.len()) as f64 * 2.0
}

//! Chooses the verbatim sentences and rows of a quoted answer. Scores the units of the hits by what they say themselves and,
//! for less, by their heading and title. Writes no text and reads no store.

use std::collections::HashSet;
use std::ops::Range;

use super::Claim;
use crate::analyze::{Word, content_stems, words};
use crate::chunk::{Unit, UnitKind};
use crate::retrieve::{Found, Hit, Query};
use crate::store::{CHUNK_BITS, chunk_rows};

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
/// A row about something else, such as another role in a table of similar ones.
const OTHER_LABEL_LOSS: f64 = 0.15;
/// A unit under a heading that is exactly what is asked for.
const HEADING_BONUS: f64 = 0.1;
/// A label of fewer words is less sure to be it.
const TELLING_LABEL_WORDS: f64 = 2.0;
/// Where a figure is asked for.
const FIGURE_BONUS: f64 = 0.05;
const NO_FIGURE_LOSS: f64 = 0.15;
/// A unit of more words than this is hard to read as an answer.
const LONG_WORDS: usize = 45;
const LONG_LOSS: f64 = 0.05;
/// Words of a list that is quoted as a whole.
const MAX_LIST_WORDS: usize = 120;
/// What each chunk further into the document costs a unit when only the role is named, and the most that it can.
const LATER_LOSS: f64 = 0.02;
const MOST_LATER_LOSS: f64 = 0.3;
/// Prose without an end is a caption or a heading that was not marked as one.
const FRAGMENT_LOSS: f64 = 0.2;
/// Beginnings, in lower case, of sentences that speak of the page and tell of the role only where to look.
const POINTERS: &[&str] = &[
    "for more information",
    "learn more",
    "explore ",
    "this table",
    "the table below",
    "the link below",
    "the following are examples",
];
const POINTER_LOSS: f64 = 0.2;
/// Share of what is asked about a role that a unit must speak of to be an answer.
const LEAST_ASKED: f64 = 0.5;
/// The same where the document's role is named and a topic is spoken of: the other words are then only the asker's.
const LEAST_ASKED_OF_ROLE: f64 = 0.25;
/// Further units must come this near to the best one.
const NEAR_BEST: f64 = 0.87;
/// What a text claims must come this near to it.
const CLAIM_NEAR_BEST: f64 = 0.7;
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
    let quotes = ranked(found);
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
        let again = chosen.iter().any(|other| {
            let inside =
                other.hit == quote.hit && other.span.start < quote.span.end && quote.span.start < other.span.end;
            inside || overlap(&other.stems, &quote.stems) >= SAME
        });
        if chosen.len() < most && quote.score >= NEAR_BEST * best && !again {
            chosen.push(quote);
        }
    }
    chosen
}

/// Whether anything that a text claims comes near to the best that could be quoted instead: a model that copies from the passages may
/// have copied the wrong sentence, and what is asked is the only other evidence that there is.
pub(super) fn is_near_best(found: &Found, claims: &[Claim]) -> bool {
    let quotes = ranked(found);
    let Some(best) = quotes.first().map(|quote| quote.score) else { return false };
    // Losses can outweigh what is matched.
    let least = best - (1.0 - CLAIM_NEAR_BEST) * best.abs();
    let holds = |quote: &Quote, claim: &Claim| {
        let (outer, inner) = (&quote.span, &claim.source_span);
        quote.hit == claim.hit && outer.start <= inner.start && inner.end <= outer.end
    };
    claims.iter().any(|claim| quotes.iter().any(|quote| quote.score >= least && holds(quote, claim)))
}

/// All units that speak of what is asked, best first.
fn ranked(found: &Found) -> Vec<Quote> {
    let is_named = |hit: &Hit| found.query.role_strength(hit.chunk_id >> CHUNK_BITS) > 0.0;
    let any_named = found.hits.iter().any(is_named);
    let mut quotes: Vec<Quote> = Vec::new();
    for (index, hit) in found.hits.iter().enumerate() {
        if !any_named || is_named(hit) {
            let above = Above::of(hit);
            quotes.extend(quotable(hit).iter().filter_map(|unit| judge(&found.query, index, hit, &above, unit)));
        }
    }
    quotes.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.hit.cmp(&right.hit)));
    quotes
}

/// Units of a hit as they can be quoted, longer ones beside the single ones: a sentence that ends with a colon takes its list
/// or table along, a question or a label the sentence after it.
fn quotable(hit: &Hit) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut list: Option<(Unit, usize)> = None;
    let mut label: Option<usize> = None;
    for unit in &hit.units {
        let text = hit.slice(&unit.span).unwrap_or("");
        let words = text.split_whitespace().count();
        let is_sentence = unit.kind == UnitKind::Sentence;
        match &mut list {
            Some((open, open_words)) if !is_sentence && *open_words + words <= MAX_LIST_WORDS => {
                open.span.end = unit.span.end;
                *open_words += words;
            }
            _ => units.extend(list.take().map(|(list, _)| list)),
        }
        if is_sentence {
            if let Some(start) = label.take() {
                units.push(Unit { kind: UnitKind::Sentence, span: start..unit.span.end });
            }
            label = is_label(text).then_some(unit.span.start);
            list = text.ends_with(':').then(|| (unit.clone(), words));
        }
        units.push(unit.clone());
    }
    units.extend(list.map(|(list, _)| list));
    units
}

/// Scores one unit; `None` when it is no statement or does not speak of what is asked.
fn judge(query: &Query, index: usize, hit: &Hit, above: &Above, unit: &Unit) -> Option<Quote> {
    let text = hit.slice(&unit.span)?;
    let end = text.trim_end_matches(['*', '_', '"', '”', '’', ')', ']']).chars().next_back();
    // A label says nothing alone, and what ends with a colon introduces what is not here.
    let is_alone = unit.kind == UnitKind::Sentence && is_label(text);
    if unit.kind == UnitKind::TableHead || is_alone || matches!(end, Some('?' | ':')) {
        return None;
    }
    let said = words(text);
    let mut stems: HashSet<String> = said.iter().filter(|word| !word.stop).map(|word| word.stem.clone()).collect();
    let is_list = unit.kind == UnitKind::Sentence && introduces(text);
    if !is_list {
        // What bakers do is told by "Bakers do the following:" and its list, not by a road that they are following.
        stems.remove("follow");
    }
    let is_named = query.role_strength(hit.chunk_id >> CHUNK_BITS) > 0.0;
    let mut score = (1.0 - HIT_SHARE)
        * spoken_of(query, &stems, is_named, |stem, role| above.weight(stem, role, unit))?
        + HIT_SHARE * hit.score;
    if unit.kind == UnitKind::Row {
        let share = label_share(query, text);
        score += if share > 0.0 { LABEL_BONUS * share } else { -OTHER_LABEL_LOSS };
    }
    let heading = hit.section.rsplit(" › ").next().unwrap_or("");
    score += HEADING_BONUS * named_share(query, heading);
    if query.wants_figure {
        score += if said.iter().any(Word::is_figure) { FIGURE_BONUS } else { -NO_FIGURE_LOSS };
    }
    if unit.kind == UnitKind::Sentence && !is_list && !matches!(end, Some('.' | '!')) {
        score -= FRAGMENT_LOSS;
    }
    let lower = text.to_lowercase();
    if POINTERS.iter().any(|pointer| lower.starts_with(pointer)) {
        score -= POINTER_LOSS;
    }
    if said.len() > LONG_WORDS && !is_list {
        score -= LONG_LOSS;
    }
    if query.concepts.iter().all(|concept| concept.role) {
        // Nothing is asked but the role itself: documents begin with what it is.
        let ordinal = hit.chunk_id - chunk_rows(hit.chunk_id >> CHUNK_BITS).start;
        score -= (ordinal as f64 * LATER_LOSS).min(MOST_LATER_LOSS);
    }
    let needs_title = above.title.is_disjoint(&stems);
    Some(Quote { hit: index, span: unit.span.clone(), needs_title, score, stems })
}

/// Share of the question that a unit speaks of; `None` when that is too little of what is asked, or none of its topics.
fn spoken_of(query: &Query, stems: &HashSet<String>, is_named: bool, above: impl Fn(&str, bool) -> f64) -> Option<f64> {
    let (mut matched, mut asked, mut present) = (0.0, 0.0, 0.0);
    let (mut topics, mut topics_present) = (0, 0);
    for concept in &query.concepts {
        let of = |stem: &str| if stems.contains(stem) { 1.0 } else { above(stem, concept.role) };
        matched += concept.mass * concept.match_by(of);
        if !concept.role {
            let is_present = concept.stems().any(|stem| of(stem) > 0.0);
            let is_topic = !concept.expansions.is_empty();
            topics += usize::from(is_topic);
            topics_present += usize::from(is_topic && is_present);
            asked += concept.mass;
            present += if is_present { concept.mass } else { 0.0 };
        }
    }
    let least = if is_named && topics_present > 0 { LEAST_ASKED_OF_ROLE } else { LEAST_ASKED };
    let enough = present >= least * asked && (topics == 0 || topics_present > 0);
    enough.then(|| matched / query.mass().max(f64::MIN_POSITIVE))
}

/// Whether a sentence only labels the one after it: a question, or a heading within the line, as in `**Patience.** Bakers wait.`
fn is_label(text: &str) -> bool {
    let is_bold = text.strip_prefix("**").and_then(|rest| rest.strip_suffix("**"));
    text.ends_with('?') || is_bold.is_some_and(|inside| !inside.contains("**"))
}

/// Whether a line of the text ends with a colon: what stands below it is its list.
fn introduces(text: &str) -> bool {
    text.match_indices(':').any(|(at, colon)| {
        let rest = &text[at + colon.len()..];
        rest[..rest.len() - rest.trim_start().len()].contains('\n')
    })
}

/// [`named_share`] of a row's label; 0 for a row without one.
fn label_share(query: &Query, row: &str) -> f64 {
    match row.split_once(['|', '\n']).or_else(|| row.split_once(": ")) {
        Some((label, _)) => named_share(query, label),
        None => 0.0,
    }
}

/// Share of a label or heading that the question asks for, figures aside, squared: half a label is another fact. A short
/// one counts less.
fn named_share(query: &Query, label: &str) -> f64 {
    let stems: Vec<String> =
        words(label).into_iter().filter(|word| !word.stop && !word.is_figure()).map(|word| word.stem).collect();
    if stems.is_empty() {
        return 0.0;
    }
    let asked: HashSet<&str> =
        query.concepts.iter().filter(|concept| !concept.role).flat_map(|concept| concept.stems()).collect();
    let named = stems.iter().filter(|stem| asked.contains(stem.as_str())).count() as f64;
    (named / stems.len() as f64).powi(2) * (named / TELLING_LABEL_WORDS).min(1.0)
}

/// Stems of what stands above the units of a hit.
struct Above {
    /// Heads of tables with where they end, in order.
    heads: Vec<(usize, HashSet<String>)>,
    section: HashSet<String>,
    title: HashSet<String>,
}

impl Above {
    fn of(hit: &Hit) -> Self {
        let stems = |text: &str| content_stems(text).into_iter().collect();
        let heads = hit.units.iter().filter(|unit| unit.kind == UnitKind::TableHead);
        Self {
            heads: heads.filter_map(|head| Some((head.span.end, stems(hit.slice(&head.span)?)))).collect(),
            section: stems(&hit.section),
            title: stems(&hit.title),
        }
    }

    /// What a stem above `unit` counts for it.
    fn weight(&self, stem: &str, role: bool, unit: &Unit) -> f64 {
        if self.title.contains(stem) {
            return if role { ROLE_IN_TITLE } else { IN_TITLE };
        }
        let head = self.heads.iter().rev().find(|(end, _)| *end <= unit.span.start);
        if unit.kind == UnitKind::Row && head.is_some_and(|(_, stems)| stems.contains(stem)) {
            return IN_TABLE_HEAD;
        }
        if self.section.contains(stem) { IN_SECTION } else { 0.0 }
    }
}

fn overlap(left: &HashSet<String>, right: &HashSet<String>) -> f64 {
    let shared = left.intersection(right).count() as f64;
    shared / (left.len() + right.len()) as f64 * 2.0
}

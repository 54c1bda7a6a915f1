//! Scores candidates from 0 to 1: the share of the question's mass that a chunk speaks of, in its title, section and body.
//! Documents whose role is named are raised, the others lowered by as much. Reads index rows; decides nothing else.

use std::collections::HashMap;

use rusqlite::Connection;

use super::Query;
use crate::Result;
use crate::store::CHUNK_BITS;

/// How often a word counts for each place it stands in.
const TITLE: f64 = 4.0;
const SECTION: f64 = 2.0;
const BODY: f64 = 1.0;
/// Saturation and length normalization of BM25, and the length that counts as average.
const K1: f64 = 1.2;
const B: f64 = 0.3;
const AVERAGE_WORDS: f64 = 100.0;
/// Share of a word's weight that it earns by being there at all, however long the chunk.
const PRESENCE: f64 = 0.4;
/// How much of the way to 1 a fully named role raises a document, and how much of their score the others lose.
const ROLE_LIFT: f64 = 0.5;
const ROLE_LOSS: f64 = 0.5;

/// Rows with their scores, best first; equal scores by rowid, so that the same search gives the same list.
pub(super) fn score(connection: &Connection, query: &Query, rows: &[i64]) -> Result<Vec<(i64, f64)>> {
    let mut statement = connection.prepare_cached("SELECT title, section, body FROM chunk_index WHERE rowid = ?1")?;
    let places = places(query);
    let strongest = query.roles.iter().map(|role| role.strength).fold(0.0, f64::max);
    let mut scored = Vec::with_capacity(rows.len());
    for row in rows {
        let text = statement.query_row([row], |columns| {
            let fields: (String, String, String) = (columns.get(0)?, columns.get(1)?, columns.get(2)?);
            Ok(text_score(query, &places, [&fields.0, &fields.1, &fields.2]))
        })?;
        let role = query.role_strength(row >> CHUNK_BITS);
        let score = if role > 0.0 {
            1.0 - (1.0 - text) * (1.0 - ROLE_LIFT * role)
        } else {
            text * (1.0 - ROLE_LOSS * strongest)
        };
        scored.push((*row, score));
    }
    scored.sort_by(|(left_row, left), (right_row, right)| right.total_cmp(left).then(left_row.cmp(right_row)));
    Ok(scored)
}

/// A number for each stem of the question, so that a text is read once for all of them.
fn places(query: &Query) -> HashMap<&str, usize> {
    let mut places = HashMap::new();
    for stem in query.concepts.iter().flat_map(|concept| concept.stems()) {
        let next = places.len();
        places.entry(stem).or_insert(next);
    }
    places
}

/// Weighted share of the question that the fields (stems separated by spaces) speak of.
fn text_score(query: &Query, places: &HashMap<&str, usize>, [title, section, body]: [&str; 3]) -> f64 {
    let length = 1 + body.bytes().filter(|byte| *byte == b' ').count();
    let norm = K1 * (1.0 - B + B * length as f64 / AVERAGE_WORDS);
    let mut frequencies = vec![0.0; places.len()];
    for (field, weight) in [(title, TITLE), (section, SECTION), (body, BODY)] {
        for place in field.split(' ').filter_map(|word| places.get(word)) {
            frequencies[*place] += weight;
        }
    }
    let weight = |stem: &str| {
        let frequency = places.get(stem).map_or(0.0, |place| frequencies[*place]);
        if frequency == 0.0 { 0.0 } else { PRESENCE + (1.0 - PRESENCE) * frequency / (frequency + norm) }
    };
    let matched: f64 = query.concepts.iter().map(|concept| concept.mass * concept.match_by(weight)).sum();
    matched / query.mass().max(f64::MIN_POSITIVE)
}

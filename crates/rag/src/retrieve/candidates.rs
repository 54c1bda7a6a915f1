//! Which chunks are worth scoring: the best of the index by BM25 for the question's telling words, and those of the
//! documents whose role the question names. Common words are left out of the disjunction, which costs by what it matches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use rusqlite::{Connection, params};

use super::{Gate, Query};
use crate::Result;
use crate::store::{CHUNK_BITS, chunk_rows};

/// Chunks taken from the whole index.
const MAX_FROM_INDEX: usize = 64;
/// Chunks taken from each document whose role is named.
const MAX_FROM_ROLE: usize = 48;
/// Chunks taken for common words alone.
const MAX_UNRANKED: usize = 128;
/// A word in more than this share of the chunks is common.
const COMMON_SHARE: i64 = 16;
/// In a small store no word is common.
const COMMON_AT_LEAST: i64 = 500;
/// Rowids of all documents.
const EVERY_ROW: Range<i64> = 0..i64::MAX;
/// Weights of title, section and body in the first ranking.
const RANK: &str = "bm25(chunk_index, 4.0, 2.0, 1.0)";

/// Rowids of the candidates, in no particular order, each once.
pub(super) fn candidates(connection: &Connection, query: &Query, gate: &mut Gate<'_>) -> Result<Vec<i64>> {
    if query.concepts.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    let mut all_stems: Vec<&str> = query.concepts.iter().flat_map(|concept| concept.stems()).collect();
    all_stems.sort_unstable();
    all_stems.dedup();
    let matching = any_of(&all_stems);
    for document in query.roles.iter().flat_map(|role| &role.documents) {
        rows.extend(of_document(connection, *document, &matching, gate)?);
    }
    let (telling, common) = by_frequency(connection, query)?;
    if !telling.is_empty() {
        rows.extend(best(connection, &any_of(&telling), &EVERY_ROW, MAX_FROM_INDEX, gate)?);
    } else if !common.is_empty() && rows.is_empty() {
        // Nothing but common words. Ranking every chunk that holds them would cost more than it tells: headings that do are
        // taken first, then chunks that hold all of them, in the order of the store; the score sorts these few.
        let in_headings = format!("{{title section}} : ({})", any_of(&common));
        rows = first(connection, &in_headings, &EVERY_ROW, MAX_UNRANKED, gate)?;
        rows.extend(first(connection, &all_of(&common), &EVERY_ROW, MAX_UNRANKED, gate)?);
        if rows.is_empty() {
            rows = first(connection, &any_of(&common[..1]), &EVERY_ROW, MAX_UNRANKED, gate)?;
        }
    }
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}

/// Rows of one document that match. Ranking reads about every document of the store, so it is left to the score unless the
/// document has more rows than are scored.
fn of_document(connection: &Connection, document: i64, matching: &str, gate: &mut Gate<'_>) -> Result<Vec<i64>> {
    let within = chunk_rows(document);
    let rows = first(connection, matching, &within, MAX_FROM_ROLE + 1, gate)?;
    if rows.len() <= MAX_FROM_ROLE { Ok(rows) } else { best(connection, matching, &within, MAX_FROM_ROLE, gate) }
}

/// The question's stems that stand in the store: the telling ones, and the common ones. A topic's expansions search only
/// where the question has no other word.
fn by_frequency(connection: &Connection, query: &Query) -> Result<(Vec<String>, Vec<String>)> {
    let limit = (query.total / COMMON_SHARE).max(COMMON_AT_LEAST);
    let own = query.concepts.iter().flat_map(|concept| &concept.own);
    let (mut telling, mut common) = split(connection, own, limit)?;
    if telling.is_empty() && common.is_empty() {
        let expansions = query.concepts.iter().flat_map(|concept| &concept.expansions);
        (telling, common) = split(connection, expansions, limit)?;
    }
    Ok((telling, common))
}

fn split<'a>(
    connection: &Connection,
    stems: impl Iterator<Item = &'a String>,
    limit: i64,
) -> Result<(Vec<String>, Vec<String>)> {
    let mut counted = Vec::new();
    for stem in stems {
        let frequency = document_frequency(connection, stem, limit + 1)?;
        if frequency > 0 {
            counted.push((frequency, stem.clone()));
        }
    }
    counted.sort_unstable();
    counted.dedup();
    let at = counted.partition_point(|(frequency, _)| *frequency <= limit);
    let common = counted.split_off(at);
    let stems = |counted: Vec<(i64, String)>| counted.into_iter().map(|(_, stem)| stem).collect();
    Ok((stems(counted), stems(common)))
}

/// Chunks that hold a stem, counted up to `most`: counting costs by what is counted.
pub(super) fn document_frequency(connection: &Connection, stem: &str, most: i64) -> Result<i64> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM chunk_index WHERE chunk_index MATCH ?1 LIMIT ?2)";
    Ok(connection.prepare_cached(sql)?.query_row(params![any_of(&[stem]), most], |row| row.get(0))?)
}

/// The `count` best rows of admitted documents within a range. The gate is asked only for rows that would enter, so filtering
/// is exact and costs by what it lets through.
fn best(
    connection: &Connection,
    matching: &str,
    within: &Range<i64>,
    count: usize,
    gate: &mut Gate<'_>,
) -> Result<Vec<i64>> {
    let sql =
        format!("SELECT rowid, {RANK} FROM chunk_index WHERE chunk_index MATCH ?1 AND rowid >= ?2 AND rowid < ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![matching, within.start, within.end])?;
    let mut heap: BinaryHeap<(Ranked, Reverse<i64>)> = BinaryHeap::with_capacity(count + 1);
    while let Some(row) = rows.next()? {
        let (id, rank): (i64, f64) = (row.get(0)?, row.get(1)?);
        let entry = (Ranked(rank), Reverse(id));
        if heap.len() == count && heap.peek().is_some_and(|worst| entry >= *worst) {
            continue;
        }
        if !gate.admits(id >> CHUNK_BITS)? {
            continue;
        }
        heap.push(entry);
        if heap.len() > count {
            heap.pop();
        }
    }
    Ok(heap.into_iter().map(|(_, Reverse(id))| id).collect())
}

/// The first `count` rows of admitted documents within a range that match, unranked.
fn first(
    connection: &Connection,
    matching: &str,
    within: &Range<i64>,
    count: usize,
    gate: &mut Gate<'_>,
) -> Result<Vec<i64>> {
    let sql = "SELECT rowid FROM chunk_index WHERE chunk_index MATCH ?1 AND rowid >= ?2 AND rowid < ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![matching, within.start, within.end])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if gate.admits(id >> CHUNK_BITS)? {
            found.push(id);
        }
        if found.len() == count {
            break;
        }
    }
    Ok(found)
}

/// SQLite's BM25: the smaller, the better. Totally ordered, so that the heap is.
#[derive(Debug, Clone, Copy)]
struct Ranked(f64);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Every stem is quoted: it is a word to the index, never an operator.
fn quoted<S: AsRef<str>>(stems: &[S], separator: &str) -> String {
    let quoted: Vec<String> = stems.iter().map(|stem| format!("\"{}\"", stem.as_ref().replace('"', ""))).collect();
    quoted.join(separator)
}

fn any_of<S: AsRef<str>>(stems: &[S]) -> String {
    quoted(stems, " OR ")
}

fn all_of<S: AsRef<str>>(stems: &[S]) -> String {
    quoted(stems, " AND ")
}

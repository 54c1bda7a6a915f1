//! Search: a question becomes concepts, concepts find candidate chunks in the index, candidates are scored 0 to 1. Filters
//! decide which documents may enter before any is ranked. Reads the store; writes nothing and makes no answer.

mod candidates;
mod concepts;
mod score;

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, params};

use crate::chunk::Unit;
use crate::store::{CHUNK_BITS, Store, decode_units, vector_store_seq};
use crate::{Attributes, Filter, RagError, Result};

pub(crate) use concepts::Query;

/// Bytes of a query that are read; the rest is a request's fault.
const MAX_QUERY_BYTES: usize = 8 << 10;

/// What is wanted of a search.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// Hits at most: 1 to 50.
    pub max_num_results: usize,
    /// Only files whose attributes pass.
    pub filters: Option<Filter>,
    /// Only hits with at least this score: 0 to 1.
    pub score_threshold: f64,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { max_num_results: 10, filters: None, score_threshold: 0.0 }
    }
}

impl SearchOptions {
    fn check(&self) -> Result<()> {
        if !(1..=50).contains(&self.max_num_results) {
            return Err(RagError::invalid(
                "max_num_results",
                format!("{} is not between 1 and 50", self.max_num_results),
            ));
        }
        if !(0.0..=1.0).contains(&self.score_threshold) {
            return Err(RagError::invalid(
                "score_threshold",
                format!("{} is not between 0 and 1", self.score_threshold),
            ));
        }
        self.filters.as_ref().map_or(Ok(()), Filter::validate)
    }
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Id of its file.
    pub file_id: String,
    /// Name of its file.
    pub filename: String,
    /// Title of its document.
    pub title: String,
    /// Headings above it, joined by ` › `.
    pub section: String,
    /// Identifies the chunk within the store; another version of the document has other ones.
    pub chunk_id: i64,
    /// Its text: the slice `span` of the source text.
    pub text: String,
    /// Byte range of the stored source text.
    pub span: Range<usize>,
    /// 0 to 1: how much of what the question asks the chunk speaks of, weighted by how telling each word is.
    pub score: f64,
    /// Attributes of the file in the vector store where it was found.
    pub attributes: Attributes,
    /// What can be quoted of it, as byte ranges of the source text.
    pub units: Vec<Unit>,
}

/// What a search found, with the question as it was understood.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) query: Query,
    pub(crate) hits: Vec<Hit>,
}

impl Store {
    /// Chunks of the named vector stores that speak of `query`, best first. A query without a content word finds nothing.
    ///
    /// # Errors
    /// [`RagError::NotFound`] for a vector store; [`RagError::Invalid`] for `vector_store_ids` (1 to 16), `query` (at most
    /// 8 KiB), `max_num_results`, `score_threshold` or `filters`.
    pub fn search(&self, store_ids: &[&str], query: &str, options: &SearchOptions) -> Result<Vec<Hit>> {
        self.find(store_ids, query, options).map(|found| found.hits)
    }

    /// [`Store::search`], with the question as it was understood.
    pub(crate) fn find(&self, store_ids: &[&str], query: &str, options: &SearchOptions) -> Result<Found> {
        options.check()?;
        if query.len() > MAX_QUERY_BYTES {
            let reason = format!("has {} bytes; at most {MAX_QUERY_BYTES} are allowed", query.len());
            return Err(RagError::invalid("query", reason));
        }
        if store_ids.is_empty() || store_ids.len() > 16 {
            return Err(RagError::invalid("vector_store_ids", "must name 1 to 16 vector stores"));
        }
        self.read(|connection| {
            let stores = store_ids.iter().map(|id| vector_store_seq(connection, id)).collect::<Result<Vec<i64>>>()?;
            let mut gate = Gate { connection, stores, filter: options.filters.as_ref(), decided: BTreeMap::new() };
            let query = concepts::understand(connection, query, &mut gate)?;
            let rows = candidates::candidates(connection, &query, &mut gate)?;
            let mut scored = score::score(connection, &query, &rows)?;
            scored.retain(|(_, score)| *score >= options.score_threshold && *score > 0.0);
            scored.truncate(options.max_num_results);
            let hits = scored.into_iter().map(|(row, score)| read_hit(connection, &mut gate, row, score));
            let hits = hits.collect::<Result<Vec<Hit>>>()?;
            Ok(Found { query, hits })
        })
    }
}

/// Decides once per document whether it may answer: one of the stores holds it, and its attributes there pass the filter.
pub(crate) struct Gate<'a> {
    connection: &'a Connection,
    stores: Vec<i64>,
    filter: Option<&'a Filter>,
    /// Attributes of the documents let in, `None` for the others.
    decided: BTreeMap<i64, Option<Attributes>>,
}

impl<'a> Gate<'a> {
    /// The gate of the named vector stores that are still there.
    pub(crate) fn of_present(
        connection: &'a Connection,
        store_ids: &[String],
        filter: Option<&'a Filter>,
    ) -> Result<Self> {
        let mut stores = Vec::with_capacity(store_ids.len());
        for id in store_ids {
            match vector_store_seq(connection, id) {
                Ok(seq) => stores.push(seq),
                Err(RagError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { connection, stores, filter, decided: BTreeMap::new() })
    }

    /// Whether the document may answer.
    pub(crate) fn admits(&mut self, document: i64) -> Result<bool> {
        Ok(self.attributes(document)?.is_some())
    }

    fn attributes(&mut self, document: i64) -> Result<Option<Attributes>> {
        if let Some(decided) = self.decided.get(&document) {
            return Ok(decided.clone());
        }
        let mut statement =
            self.connection.prepare_cached("SELECT attributes FROM attachments WHERE document = ?1 AND store = ?2")?;
        let mut decided = None;
        for store in &self.stores {
            let stored: Option<String> = statement.query_row([document, *store], |row| row.get(0)).optional()?;
            let Some(stored) = stored else { continue };
            let attributes: Attributes = serde_json::from_str(&stored).map_err(|error| RagError::Damaged {
                what: format!("attributes of document {document}"),
                reason: error.to_string(),
            })?;
            if self.filter.is_none_or(|filter| filter.matches(&attributes)) {
                decided = Some(attributes);
                break;
            }
        }
        self.decided.insert(document, decided.clone());
        Ok(decided)
    }
}

fn read_hit(connection: &Connection, gate: &mut Gate<'_>, row: i64, score: f64) -> Result<Hit> {
    let document = row >> CHUNK_BITS;
    let attributes = gate.attributes(document)?.unwrap_or_default();
    let mut statement = connection.prepare_cached(
        "SELECT files.id, filename, title, section, chunks.text, start, end, units
         FROM chunks JOIN documents ON documents.seq = ?2 JOIN files ON files.seq = documents.file WHERE row = ?1",
    )?;
    let (mut hit, units) = statement.query_row(params![row, document], |columns| {
        let hit = Hit {
            file_id: columns.get(0)?,
            filename: columns.get(1)?,
            title: columns.get(2)?,
            section: columns.get(3)?,
            chunk_id: row,
            text: columns.get(4)?,
            span: columns.get(5)?..columns.get(6)?,
            score,
            attributes,
            units: Vec::new(),
        };
        Ok((hit, columns.get::<_, String>(7)?))
    })?;
    hit.units = decode_units(&units).ok_or_else(|| RagError::Damaged {
        what: format!("units of chunk {row}"),
        reason: "not triples of kind, start and length".into(),
    })?;
    Ok(hit)
}

impl Hit {
    /// The bytes of the source text at `span`, as far as the hit holds them.
    pub(crate) fn slice(&self, span: &Range<usize>) -> Option<&str> {
        let start = span.start.checked_sub(self.span.start)?;
        let end = span.end.checked_sub(self.span.start)?;
        self.text.get(start..end)
    }
}

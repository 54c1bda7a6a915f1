//! Documents in the store: the parsed text of a file with its chunks, index rows and role names, written and deleted
//! together. Parsing and chunking happen before the transaction begins.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use std::ops::Range;

use super::Store;
use super::types::SourceDocument;
use crate::analyze::index_text;
use crate::chunk::{Chunk, Unit, UnitKind, chunk_document};
use crate::parse::{Document, ParseLimits, parse_document};
use crate::role::{RoleName, role_names};
use crate::{RagError, Result};

/// Bits of a chunk's rowid that hold its ordinal; the document's rowid is above them.
pub(crate) const CHUNK_BITS: u32 = 16;

/// Rowids of the chunks of a document.
pub(crate) fn chunk_rows(document: i64) -> Range<i64> {
    (document << CHUNK_BITS)..((document + 1) << CHUNK_BITS)
}

/// A document ready to be written.
pub(super) struct Prepared {
    pub(super) document: Document,
    chunks: Vec<Chunk>,
    names: Vec<RoleName>,
}

/// Parses and cuts a file.
pub(super) fn prepare(file: &str, bytes: &[u8], limits: &ParseLimits) -> Result<Prepared> {
    let document = parse_document(file, bytes, limits)?;
    let chunks = chunk_document(file, &document)?;
    let names = role_names(&document.title);
    Ok(Prepared { document, chunks, names })
}

/// Writes a document for `file` in place of the one it had, and points the file's attachments at it.
pub(super) fn replace(transaction: &Transaction<'_>, file: i64, prepared: &Prepared) -> Result<i64> {
    delete_of_file(transaction, file)?;
    let Document { title, source, date, text, .. } = &prepared.document;
    transaction
        .prepare_cached("INSERT INTO documents (file, title, source, date, text) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![file, title, source, date, text])?;
    let document = transaction.last_insert_rowid();
    write_chunks(transaction, document, prepared)?;
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO role_names (phrase, document, whole) VALUES (?1, ?2, ?3)")?;
    for name in &prepared.names {
        insert.execute(params![name.phrase, document, name.whole])?;
    }
    transaction.execute(
        "UPDATE attachments SET document = ?2, error_code = NULL, error_message = NULL WHERE file = ?1",
        [file, document],
    )?;
    Ok(document)
}

fn write_chunks(transaction: &Transaction<'_>, document: i64, prepared: &Prepared) -> Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO chunks (row, section, start, end, text, units) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut index =
        transaction.prepare_cached("INSERT INTO chunk_index (rowid, title, section, body) VALUES (?1, ?2, ?3, ?4)")?;
    let title = index_text(&prepared.document.title);
    for (row, chunk) in chunk_rows(document).zip(&prepared.chunks) {
        let body = &prepared.document.text[chunk.span.clone()];
        insert.execute(params![
            row,
            chunk.section,
            chunk.span.start,
            chunk.span.end,
            body,
            encode_units(&chunk.units)?
        ])?;
        index.execute(params![row, title, index_text(&chunk.section), index_text(body)])?;
    }
    transaction.execute("UPDATE totals SET chunks = chunks + ?1", [prepared.chunks.len()])?;
    Ok(())
}

/// Deletes the document of a file with everything made of it. Attachments stay, without a document.
pub(super) fn delete_of_file(transaction: &Transaction<'_>, file: i64) -> Result<()> {
    let document: Option<i64> =
        transaction.query_row("SELECT seq FROM documents WHERE file = ?1", [file], |row| row.get(0)).optional()?;
    let Some(document) = document else { return Ok(()) };
    let rows = chunk_rows(document);
    transaction.execute("DELETE FROM chunk_index WHERE rowid >= ?1 AND rowid < ?2", [rows.start, rows.end])?;
    let deleted = transaction.execute("DELETE FROM chunks WHERE row >= ?1 AND row < ?2", [rows.start, rows.end])?;
    transaction.execute("UPDATE totals SET chunks = chunks - ?1", [deleted])?;
    transaction.execute("UPDATE attachments SET document = NULL WHERE document = ?1", [document])?;
    transaction.execute("DELETE FROM documents WHERE seq = ?1", [document])?;
    Ok(())
}

/// Deletes the document of a file that no vector store holds any more.
pub(super) fn delete_if_detached(transaction: &Transaction<'_>, file: i64) -> Result<()> {
    let held: bool =
        transaction.query_row("SELECT EXISTS (SELECT 1 FROM attachments WHERE file = ?1)", [file], |row| row.get(0))?;
    if held { Ok(()) } else { delete_of_file(transaction, file) }
}

/// Units as `kind start length` triples, starts counted from the end of the unit before. Units that overlap cannot be
/// written so: they are a fault of ours, and better refused here than found by every search later.
fn encode_units(units: &[Unit]) -> Result<String> {
    let mut previous = 0_usize;
    let mut encoded = String::new();
    for unit in units {
        let kind = match unit.kind {
            UnitKind::Sentence => 's',
            UnitKind::Item => 'i',
            UnitKind::Row => 'r',
            UnitKind::TableHead => 'h',
        };
        let start = unit.span.start.checked_sub(previous).ok_or_else(|| RagError::Damaged {
            what: "units of a chunk".into(),
            reason: format!("one begins at byte {}, and the one before it ends at {previous}", unit.span.start),
        })?;
        encoded.push_str(&format!("{kind} {start} {} ", unit.span.len()));
        previous = unit.span.end;
    }
    Ok(encoded)
}

/// Reads what [`encode_units`] wrote.
pub(crate) fn decode_units(encoded: &str) -> Option<Vec<Unit>> {
    let mut units = Vec::new();
    let mut previous = 0_usize;
    let mut fields = encoded.split_ascii_whitespace();
    while let Some(kind) = fields.next() {
        let kind = match kind {
            "s" => UnitKind::Sentence,
            "i" => UnitKind::Item,
            "r" => UnitKind::Row,
            "h" => UnitKind::TableHead,
            _ => return None,
        };
        let start = previous.checked_add(fields.next()?.parse().ok()?)?;
        let end = start.checked_add(fields.next()?.parse().ok()?)?;
        units.push(Unit { kind, span: start..end });
        previous = end;
    }
    Some(units)
}

impl Store {
    /// The stored document of a file: the source text that citations point into.
    ///
    /// # Errors
    /// [`RagError::NotFound`] when the file does not exist or no vector store holds it.
    pub fn source_document(&self, file_id: &str) -> Result<SourceDocument> {
        self.read(|connection| {
            read_source(connection, file_id)?
                .ok_or_else(|| RagError::NotFound { kind: "document of file", id: file_id.to_owned() })
        })
    }
}

/// The stored document of a file; `None` without one.
pub(crate) fn read_source(connection: &Connection, file_id: &str) -> Result<Option<SourceDocument>> {
    let mut statement = connection.prepare_cached(
        "SELECT files.id, filename, version, title, source, date, text
         FROM documents JOIN files ON files.seq = documents.file WHERE files.id = ?1",
    )?;
    let document = statement.query_row([file_id], |row| {
        Ok(SourceDocument {
            file_id: row.get(0)?,
            filename: row.get(1)?,
            version: row.get(2)?,
            title: row.get(3)?,
            source: row.get(4)?,
            date: row.get(5)?,
            text: row.get(6)?,
        })
    });
    Ok(document.optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_back_as_they_were_written() {
        let units = vec![
            Unit { kind: UnitKind::TableHead, span: 10..20 },
            Unit { kind: UnitKind::Row, span: 25..30 },
            Unit { kind: UnitKind::Sentence, span: 30..99 },
        ];
        assert_eq!(decode_units(&encode_units(&units).expect("they ascend")), Some(units.clone()));
        let descending: Vec<Unit> = units.into_iter().rev().collect();
        assert!(encode_units(&descending).is_err_and(|error| error.to_string().contains("begins at byte 25")));
        assert_eq!(decode_units("x 1 2"), None);
        assert_eq!(decode_units("s 1"), None);
    }
}

//! Files in vector stores, with their attributes: attaching parses and indexes, detaching the last one forgets.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::documents::{self, Prepared};
use super::page::{Listing, list};
use super::types::{FileStatus, LastError, ListOptions, NewFile, Page, VectorStoreFile};
use super::vector_stores::json;
use super::{Store, files, now, vector_stores};
use crate::attributes::check_attributes;
use crate::{Attributes, RagError, Result};

const COLUMNS: &str = "files.id, vector_stores.id, attachments.created_at, coalesce(octet_length(documents.text), 0),
    error_code, error_message, attributes, attachments.document";
const TABLES: &str = "attachments JOIN files ON files.seq = attachments.file
    JOIN vector_stores ON vector_stores.seq = attachments.store LEFT JOIN documents ON documents.seq = attachments.document";

/// What ingesting one file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// It is new in the vector store.
    Added,
    /// Its content had changed: a new version replaced the old one.
    Changed,
    /// Its content was there already.
    Unchanged,
}

impl Store {
    /// Puts a file into a vector store: parses it, cuts it and indexes it, unless another store has it already. A document
    /// that cannot be read is attached as failed, with the reason. Attaching again replaces the attributes.
    ///
    /// # Errors
    /// [`RagError::NotFound`] for the store or the file, [`RagError::Invalid`] for `attributes`.
    pub fn attach(&self, store_id: &str, file_id: &str, attributes: &Attributes) -> Result<VectorStoreFile> {
        check_attributes("attributes", attributes)?;
        let (filename, bytes, indexed) = self.read(|connection| {
            vector_stores::seq_of(connection, store_id)?;
            let file = files::seq_of(connection, file_id)?;
            let indexed = "SELECT filename, content, EXISTS (SELECT 1 FROM documents WHERE file = files.seq)
                FROM files WHERE seq = ?1";
            Ok(connection.query_row(indexed, [file], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, bool>(2)?))
            })?)
        })?;
        let prepared = if indexed { None } else { Some(self.prepare(&filename, &bytes)?) };
        self.write(|transaction| {
            let store = vector_stores::seq_of(transaction, store_id)?;
            let file = files::seq_of(transaction, file_id)?;
            attach_row(transaction, store, file, attributes)?;
            // Between the read and now another thread may have indexed or forgotten it.
            match (&prepared, has_document(transaction, file)?) {
                (None, false) => {
                    let prepared = self.prepare(&filename, &bytes)?;
                    write_document(transaction, file, &prepared)?;
                }
                (Some(prepared), false) => write_document(transaction, file, prepared)?,
                (_, true) => {}
            }
            by_ids(transaction, store_id, file_id)
        })
    }

    /// Files of a vector store, newest first unless asked otherwise; `status` narrows them.
    ///
    /// # Errors
    /// [`RagError::NotFound`] for the store or a cursor, [`RagError::Invalid`] for `limit`.
    pub fn list_attached(
        &self,
        store_id: &str,
        status: Option<FileStatus>,
        options: &ListOptions,
    ) -> Result<Page<VectorStoreFile>> {
        self.read(|connection| {
            let store = vector_stores::seq_of(connection, store_id)?;
            let completed = status.map(|status| status == FileStatus::Completed);
            let listing = Listing {
                columns: COLUMNS,
                from: TABLES,
                condition: "attachments.store = ?1 AND (?2 IS NULL OR (attachments.document IS NOT NULL) = ?2)",
                values: &[&store, &completed],
                seq: "attachments.seq",
                id: "files.id",
                kind: "vector store file",
            };
            list(connection, &listing, options, read_attachment)
        })
    }

    /// One file of a vector store.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn get_attached(&self, store_id: &str, file_id: &str) -> Result<VectorStoreFile> {
        self.read(|connection| by_ids(connection, store_id, file_id))
    }

    /// Gives a file of a vector store new attributes.
    ///
    /// # Errors
    /// [`RagError::NotFound`], [`RagError::Invalid`] for `attributes`.
    pub fn update_attached(&self, store_id: &str, file_id: &str, attributes: &Attributes) -> Result<VectorStoreFile> {
        check_attributes("attributes", attributes)?;
        self.write(|transaction| {
            let (store, file) = attached(transaction, store_id, file_id)?;
            attach_row(transaction, store, file, attributes)?;
            by_ids(transaction, store_id, file_id)
        })
    }

    /// Takes a file out of a vector store. The file stays; when no store holds it any more, its chunks and index rows go.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn detach(&self, store_id: &str, file_id: &str) -> Result<()> {
        self.delete(|transaction| {
            let (store, file) = attached(transaction, store_id, file_id)?;
            transaction.execute("DELETE FROM attachments WHERE store = ?1 AND file = ?2", [store, file])?;
            transaction
                .execute("UPDATE vector_stores SET last_active_at = ?2 WHERE seq = ?1", params![store, now()])?;
            documents::delete_if_detached(transaction, file)
        })
    }

    /// Brings the file at `origin` into a store in one transaction: adds it, replaces a changed one under a new version, or
    /// leaves an unchanged one alone. The document's role, source and date are added to `attributes` that lack them.
    ///
    /// # Errors
    /// [`RagError::NotFound`] for the vector store, and a document's own faults: nothing is stored then, and an older
    /// version goes on answering.
    pub fn ingest_file(
        &self,
        store_id: &str,
        origin: &str,
        new: &NewFile<'_>,
        attributes: &Attributes,
    ) -> Result<Ingested> {
        let hash = files::hash(new.bytes);
        let find = "SELECT files.seq, hash, attachments.document IS NOT NULL FROM files
            LEFT JOIN attachments ON attachments.file = files.seq AND attachments.store = ?2 WHERE origin = ?1";
        let known = |connection: &Connection| -> Result<Option<(i64, bool, bool)>> {
            let store = vector_stores::seq_of(connection, store_id)?;
            let row = connection.prepare_cached(find)?.query_row(params![origin, store], |row| {
                Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)? == hash, row.get(2)?))
            });
            Ok(row.optional()?)
        };
        if let Some((_, true, true)) = self.read(known)? {
            return Ok(Ingested::Unchanged);
        }
        let prepared = documents::prepare(new.filename, new.bytes, &self.limits)?;
        let attributes = with_document_fields(attributes, &prepared);
        self.write(|transaction| {
            let store = vector_stores::seq_of(transaction, store_id)?;
            let (file, same, outcome) = match known(transaction)? {
                Some((_, true, true)) => return Ok(Ingested::Unchanged),
                Some((file, true, false)) => (file, true, Ingested::Added),
                Some((file, false, _)) => (file, false, Ingested::Changed),
                None => (files::insert(transaction, new, Some(origin))?, true, Ingested::Added),
            };
            if !same {
                files::replace(transaction, file, new)?;
            }
            attach_row(transaction, store, file, &attributes)?;
            if !same || !has_document(transaction, file)? {
                documents::replace(transaction, file, &prepared)?;
            }
            Ok(outcome)
        })
    }

    /// A document's own faults are a value here: they become the attachment's last error.
    fn prepare(&self, filename: &str, bytes: &[u8]) -> Result<std::result::Result<Prepared, RagError>> {
        match documents::prepare(filename, bytes, &self.limits) {
            Err(error) if !error.is_document_fault() => Err(error),
            outcome => Ok(outcome),
        }
    }
}

/// Adds what the document says about itself where the caller said nothing: role, source, date.
fn with_document_fields(attributes: &Attributes, prepared: &Prepared) -> Attributes {
    let document = &prepared.document;
    let mut all = attributes.clone();
    let fields =
        [("role", Some(&document.title)), ("source", document.source.as_ref()), ("date", document.date.as_ref())];
    for (key, value) in fields {
        if let Some(value) = value.filter(|value| value.chars().count() <= 512)
            && all.len() < 16
        {
            all.entry(key.to_owned()).or_insert_with(|| value.as_str().into());
        }
    }
    all
}

fn write_document(
    transaction: &Transaction<'_>,
    file: i64,
    prepared: &std::result::Result<Prepared, RagError>,
) -> Result<()> {
    match prepared {
        Ok(prepared) => documents::replace(transaction, file, prepared).map(|_| ()),
        Err(fault) => {
            transaction.execute(
                "UPDATE attachments SET document = NULL, error_code = ?2, error_message = ?3 WHERE file = ?1",
                params![file, fault.file_error_code(), fault.to_string()],
            )?;
            Ok(())
        }
    }
}

fn has_document(transaction: &Transaction<'_>, file: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM documents WHERE file = ?1)";
    Ok(transaction.query_row(sql, [file], |row| row.get(0))?)
}

fn attach_row(transaction: &Transaction<'_>, store: i64, file: i64, attributes: &Attributes) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO attachments (store, file, document, created_at, attributes)
         VALUES (?1, ?2, (SELECT seq FROM documents WHERE file = ?2), ?3, ?4)
         ON CONFLICT (store, file) DO UPDATE SET attributes = excluded.attributes",
        )?
        .execute(params![store, file, now(), json(attributes)?])?;
    transaction.execute("UPDATE vector_stores SET last_active_at = ?2 WHERE seq = ?1", params![store, now()])?;
    Ok(())
}

/// Rows of the store and of the file, which it must hold.
fn attached(connection: &Connection, store_id: &str, file_id: &str) -> Result<(i64, i64)> {
    let store = vector_stores::seq_of(connection, store_id)?;
    let sql = "SELECT files.seq FROM attachments JOIN files ON files.seq = file WHERE store = ?1 AND files.id = ?2";
    let file = connection.prepare_cached(sql)?.query_row(params![store, file_id], |row| row.get(0)).optional()?;
    let file = file.ok_or_else(|| RagError::NotFound { kind: "vector store file", id: file_id.to_owned() })?;
    Ok((store, file))
}

fn by_ids(connection: &Connection, store_id: &str, file_id: &str) -> Result<VectorStoreFile> {
    let (store, file) = attached(connection, store_id, file_id)?;
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE attachments.store = ?1 AND attachments.file = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row([store, file], read_attachment)?)
}

fn read_attachment(row: &Row<'_>) -> rusqlite::Result<VectorStoreFile> {
    let code: Option<String> = row.get(4)?;
    let message: Option<String> = row.get(5)?;
    let attributes: String = row.get(6)?;
    let attributes = serde_json::from_str(&attributes)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(6, rusqlite::types::Type::Text, Box::new(error)))?;
    let indexed: Option<i64> = row.get(7)?;
    Ok(VectorStoreFile {
        id: row.get(0)?,
        vector_store_id: row.get(1)?,
        created_at: row.get(2)?,
        usage_bytes: row.get(3)?,
        status: if indexed.is_some() { FileStatus::Completed } else { FileStatus::Failed },
        last_error: code.zip(message).map(|(code, message)| LastError { code, message }),
        attributes,
    })
}

//! Files: bytes under an id. What is made of them when they join a vector store is in `documents` and `attachments`.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use sha2::{Digest, Sha256};

use super::page::{Listing, list};
use super::types::{File, ListOptions, MAX_FILE_BYTES, NewFile, Page};
use super::{Store, documents, fresh_id, now};
use crate::{RagError, Result};

const COLUMNS: &str = "id, bytes, created_at, filename, purpose";

/// Hash of a file's content.
pub(super) fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

impl Store {
    /// Stores a file. It answers nothing until it is attached to a vector store.
    ///
    /// # Errors
    /// [`RagError::Invalid`] for `filename` or `purpose`, [`RagError::TooLarge`].
    pub fn create_file(&self, file: &NewFile<'_>) -> Result<File> {
        check(file)?;
        self.write(|transaction| {
            let seq = insert(transaction, file, None)?;
            by_seq(transaction, seq)
        })
    }

    /// Files, newest first unless asked otherwise; `purpose` narrows them.
    ///
    /// # Errors
    /// [`RagError::Invalid`] for `limit`, [`RagError::NotFound`] for an unknown cursor.
    pub fn list_files(&self, purpose: Option<&str>, options: &ListOptions) -> Result<Page<File>> {
        let listing = Listing {
            columns: COLUMNS,
            from: "files",
            condition: "?1 IS NULL OR purpose = ?1",
            values: &[&purpose],
            seq: "seq",
            id: "id",
            kind: "file",
        };
        self.read(|connection| list(connection, &listing, options, read_file))
    }

    /// One file.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn get_file(&self, id: &str) -> Result<File> {
        self.read(|connection| by_seq(connection, seq_of(connection, id)?))
    }

    /// A file's bytes, as they came.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn file_content(&self, id: &str) -> Result<Vec<u8>> {
        self.read(|connection| {
            let seq = seq_of(connection, id)?;
            Ok(connection.query_row("SELECT content FROM files WHERE seq = ?1", [seq], |row| row.get(0))?)
        })
    }

    /// Deletes a file, its document, its chunks and its place in every vector store, in one transaction.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn delete_file(&self, id: &str) -> Result<()> {
        self.delete(|transaction| {
            let seq = seq_of(transaction, id)?;
            documents::delete_of_file(transaction, seq)?;
            transaction.execute("DELETE FROM files WHERE seq = ?1", [seq])?;
            Ok(())
        })
    }
}

fn check(file: &NewFile<'_>) -> Result<()> {
    let length = file.filename.chars().count();
    if length == 0 || length > 512 || file.filename.chars().any(char::is_control) {
        return Err(RagError::invalid("filename", "must have 1 to 512 characters and no control characters"));
    }
    if file.purpose.is_empty() || file.purpose.len() > 64 {
        return Err(RagError::invalid("purpose", "must have 1 to 64 characters"));
    }
    if file.bytes.len() > MAX_FILE_BYTES {
        return Err(RagError::TooLarge {
            file: file.filename.to_owned(),
            bytes: file.bytes.len() as u64,
            limit: MAX_FILE_BYTES as u64,
        });
    }
    Ok(())
}

/// Adds a row; `origin` is the path of an ingested file.
pub(super) fn insert(transaction: &Transaction<'_>, file: &NewFile<'_>, origin: Option<&str>) -> Result<i64> {
    check(file)?;
    transaction
        .prepare_cached(
            "INSERT INTO files (id, filename, purpose, created_at, bytes, hash, origin, content)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            fresh_id("file-"),
            file.filename,
            file.purpose,
            now(),
            file.bytes.len() as u64,
            hash(file.bytes),
            origin,
            file.bytes
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// Gives an ingested file its new content, under the next version.
pub(super) fn replace(transaction: &Transaction<'_>, seq: i64, file: &NewFile<'_>) -> Result<()> {
    check(file)?;
    transaction.execute(
        "UPDATE files SET filename = ?2, bytes = ?3, hash = ?4, content = ?5, version = version + 1 WHERE seq = ?1",
        params![seq, file.filename, file.bytes.len() as u64, hash(file.bytes), file.bytes],
    )?;
    Ok(())
}

/// Row of the file with this id.
pub(super) fn seq_of(connection: &Connection, id: &str) -> Result<i64> {
    let seq = connection.prepare_cached("SELECT seq FROM files WHERE id = ?1")?.query_row([id], |row| row.get(0));
    seq.optional()?.ok_or_else(|| RagError::NotFound { kind: "file", id: id.to_owned() })
}

fn by_seq(connection: &Connection, seq: i64) -> Result<File> {
    Ok(connection.query_row(&format!("SELECT {COLUMNS} FROM files WHERE seq = ?1"), [seq], read_file)?)
}

fn read_file(row: &Row<'_>) -> rusqlite::Result<File> {
    Ok(File {
        id: row.get(0)?,
        bytes: row.get(1)?,
        created_at: row.get(2)?,
        filename: row.get(3)?,
        purpose: row.get(4)?,
    })
}

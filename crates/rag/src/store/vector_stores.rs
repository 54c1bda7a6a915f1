//! Vector stores: named sets of files. Which files, is in `attachments`.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::page::{Listing, list};
use super::types::{FileCounts, FileStatus, ListOptions, Page, VectorStore, VectorStoreUpdate};
use super::{Store, documents, fresh_id, now};
use crate::attributes::check_metadata;
use crate::{Metadata, RagError, Result};

const COLUMNS: &str = "id, name, created_at, last_active_at, metadata,
    (SELECT count(*) FROM attachments WHERE store = vector_stores.seq AND document IS NOT NULL),
    (SELECT count(*) FROM attachments WHERE store = vector_stores.seq AND document IS NULL),
    (SELECT coalesce(sum(octet_length(text)), 0) FROM attachments JOIN documents ON documents.seq = attachments.document
     WHERE store = vector_stores.seq)";

impl Store {
    /// Makes an empty vector store.
    ///
    /// # Errors
    /// [`RagError::Invalid`] for `name` (at most 256 characters) or `metadata`.
    pub fn create_vector_store(&self, name: &str, metadata: &Metadata) -> Result<VectorStore> {
        check_name(name)?;
        check_metadata("metadata", metadata)?;
        self.write(|transaction| insert(transaction, name, metadata))
    }

    /// Vector stores, newest first unless asked otherwise.
    ///
    /// # Errors
    /// [`RagError::Invalid`] for `limit`, [`RagError::NotFound`] for an unknown cursor.
    pub fn list_vector_stores(&self, options: &ListOptions) -> Result<Page<VectorStore>> {
        let listing = Listing {
            columns: COLUMNS,
            from: "vector_stores",
            condition: "TRUE",
            values: &[],
            seq: "seq",
            id: "id",
            kind: "vector store",
        };
        self.read(|connection| list(connection, &listing, options, read_vector_store))
    }

    /// One vector store.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn get_vector_store(&self, id: &str) -> Result<VectorStore> {
        self.read(|connection| by_seq(connection, seq_of(connection, id)?))
    }

    /// Changes name and metadata.
    ///
    /// # Errors
    /// [`RagError::NotFound`]; [`RagError::Invalid`] for `name` or `metadata`.
    pub fn update_vector_store(&self, id: &str, update: &VectorStoreUpdate) -> Result<VectorStore> {
        if let Some(name) = &update.name {
            check_name(name)?;
        }
        let metadata = update.metadata.as_ref().map(|metadata| {
            check_metadata("metadata", metadata)?;
            json(metadata)
        });
        let metadata = metadata.transpose()?;
        self.write(|transaction| {
            let seq = seq_of(transaction, id)?;
            transaction.execute(
                "UPDATE vector_stores SET name = coalesce(?2, name), metadata = coalesce(?3, metadata), last_active_at = ?4
                 WHERE seq = ?1",
                params![seq, update.name, metadata, now()],
            )?;
            by_seq(transaction, seq)
        })
    }

    /// Deletes a vector store. Its files stay, as files; what no other store holds answers nothing any more.
    ///
    /// # Errors
    /// [`RagError::NotFound`].
    pub fn delete_vector_store(&self, id: &str) -> Result<()> {
        self.delete(|transaction| {
            let seq = seq_of(transaction, id)?;
            let files: Vec<i64> = transaction
                .prepare("SELECT file FROM attachments WHERE store = ?1")?
                .query_map([seq], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            transaction.execute("DELETE FROM vector_stores WHERE seq = ?1", [seq])?;
            files.into_iter().try_for_each(|file| documents::delete_if_detached(transaction, file))
        })
    }
}

/// Makes a vector store of a checked name.
pub(super) fn insert(connection: &Connection, name: &str, metadata: &Metadata) -> Result<VectorStore> {
    connection.execute(
        "INSERT INTO vector_stores (id, name, created_at, last_active_at, metadata) VALUES (?1, ?2, ?3, ?3, ?4)",
        params![fresh_id("vs_"), name, now(), json(metadata)?],
    )?;
    by_seq(connection, connection.last_insert_rowid())
}

pub(super) fn check_name(name: &str) -> Result<()> {
    match name.chars().count() {
        0..=256 => Ok(()),
        length => Err(RagError::invalid("name", format!("has {length} characters; at most 256 are allowed"))),
    }
}

/// Metadata or attributes as they are stored.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| RagError::invalid("metadata", error.to_string()))
}

/// Row of the vector store with this id.
pub(crate) fn seq_of(connection: &Connection, id: &str) -> Result<i64> {
    let seq =
        connection.prepare_cached("SELECT seq FROM vector_stores WHERE id = ?1")?.query_row([id], |row| row.get(0));
    seq.optional()?.ok_or_else(|| RagError::NotFound { kind: "vector store", id: id.to_owned() })
}

fn by_seq(connection: &Connection, seq: i64) -> Result<VectorStore> {
    let sql = format!("SELECT {COLUMNS} FROM vector_stores WHERE seq = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([seq], read_vector_store)?)
}

fn read_vector_store(row: &Row<'_>) -> rusqlite::Result<VectorStore> {
    let (completed, failed): (u64, u64) = (row.get(5)?, row.get(6)?);
    let metadata: String = row.get(4)?;
    let metadata = serde_json::from_str(&metadata)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(VectorStore {
        id: row.get(0)?,
        name: row.get(1)?,
        created_at: row.get(2)?,
        last_active_at: row.get(3)?,
        file_counts: FileCounts { completed, failed, total: completed + failed, ..FileCounts::default() },
        usage_bytes: row.get(7)?,
        status: FileStatus::Completed,
        metadata,
    })
}

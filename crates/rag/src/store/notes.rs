//! Notes: what an application remembers about a store, by a key of its own. They are no documents: nothing lists, searches
//! or cites them.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, vector_stores};
use crate::{Metadata, Result, VectorStore};

impl Store {
    /// What was noted under `key`, if anything.
    ///
    /// # Errors
    /// [`RagError::Database`](crate::RagError::Database).
    pub fn note(&self, key: &str) -> Result<Option<String>> {
        self.read(|connection| read(connection, key))
    }

    /// Notes `value` under `key`, in place of what was there.
    ///
    /// # Errors
    /// [`RagError::Database`](crate::RagError::Database).
    pub fn set_note(&self, key: &str, value: &str) -> Result<()> {
        self.write(|transaction| write(transaction, key, value))
    }

    /// Makes an empty vector store and notes its id under `key`, in one transaction; `None` where something is noted there
    /// or any file or vector store exists. Of several processes that begin together, one makes it.
    ///
    /// # Errors
    /// [`RagError::Invalid`](crate::RagError::Invalid) for `name`, [`RagError::Database`](crate::RagError::Database).
    pub fn create_first_vector_store(&self, key: &str, name: &str) -> Result<Option<VectorStore>> {
        vector_stores::check_name(name)?;
        self.write(|transaction| {
            let used = "SELECT EXISTS (SELECT 1 FROM files) OR EXISTS (SELECT 1 FROM vector_stores)";
            if read(transaction, key)?.is_some() || transaction.query_row(used, [], |row| row.get(0))? {
                return Ok(None);
            }
            let made = vector_stores::insert(transaction, name, &Metadata::new())?;
            write(transaction, key, &made.id)?;
            Ok(Some(made))
        })
    }
}

fn read(connection: &Connection, key: &str) -> Result<Option<String>> {
    let value = connection.prepare_cached("SELECT value FROM notes WHERE key = ?1")?.query_row([key], |row| row.get(0));
    Ok(value.optional()?)
}

fn write(connection: &Connection, key: &str, value: &str) -> Result<()> {
    connection.execute("INSERT OR REPLACE INTO notes (key, value) VALUES (?1, ?2)", params![key, value])?;
    Ok(())
}

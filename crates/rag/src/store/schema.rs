//! The tables, their version, and the checks when a store is opened. No rows are read or written here.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::LOCK_WAIT;
use crate::{RagError, Result};

/// Raised with every change of the tables or of what the index holds.
const SCHEMA_VERSION: i64 = 2;

/// `application_id` of our files: "scnc" in ASCII.
const APPLICATION_ID: i64 = 0x7363_6e63;

// A chunk's rowid is its document's rowid shifted left by 16 bits plus its ordinal, in `chunks` and in `chunk_index`: so
// an index hit names its document without a join, and a document's rows are one range.
// A file keeps its version when its document goes: no two contents of one file have the same.
// Another process may make the tables between our look and our lock, hence IF NOT EXISTS.
//
// `chunk_index` holds stems, not text: what is searched was stemmed by `analyze`, and "." is part of a figure.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    hash BLOB NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    origin TEXT UNIQUE,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS vector_stores (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    metadata TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS documents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    file INTEGER NOT NULL UNIQUE REFERENCES files (seq) ON DELETE CASCADE,
    title TEXT NOT NULL,
    source TEXT,
    date TEXT,
    text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS attachments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    store INTEGER NOT NULL REFERENCES vector_stores (seq) ON DELETE CASCADE,
    file INTEGER NOT NULL REFERENCES files (seq) ON DELETE CASCADE,
    document INTEGER,
    created_at INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    UNIQUE (store, file)
);
CREATE INDEX IF NOT EXISTS attachments_of_file ON attachments (file);
CREATE INDEX IF NOT EXISTS attachments_of_document ON attachments (document, store);
CREATE TABLE IF NOT EXISTS chunks (
    row INTEGER PRIMARY KEY,
    section TEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    text TEXT NOT NULL,
    units TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS role_names (
    phrase TEXT NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (seq) ON DELETE CASCADE,
    whole INTEGER NOT NULL,
    PRIMARY KEY (phrase, document)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS role_names_of_document ON role_names (document);
CREATE TABLE IF NOT EXISTS totals (only INTEGER PRIMARY KEY CHECK (only = 1), chunks INTEGER NOT NULL);
INSERT OR IGNORE INTO totals VALUES (1, 0);
CREATE VIRTUAL TABLE IF NOT EXISTS chunk_index USING fts5 (
    title, section, body, tokenize = \"unicode61 remove_diacritics 0 tokenchars '.'\"
);
INSERT INTO chunk_index (chunk_index, rank) VALUES ('secure-delete', 1);
";

// Younger than version 1, and made in files without it when they are opened: a build that does not know it reads such a file
// as before, so the version stays.
const NOTES: &str = "CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/// Sets the connection up and makes the tables in an empty file.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<()> {
    let explain = |error| explain_open(path, error);
    connection.busy_timeout(LOCK_WAIT)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(explain)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(RagError::NotAStore { path: path.to_owned() });
    }
    if tables > 0 && version != SCHEMA_VERSION {
        return Err(RagError::SchemaVersion { path: path.to_owned(), found: version, expected: SCHEMA_VERSION });
    }
    // Deleted rows are overwritten, so that what was deleted cannot be read out of the file either;
    // `Store::delete` cuts the log.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
         PRAGMA cache_size = -16384;",
    )?;
    if tables == 0 {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?;
    }
    connection.execute_batch(NOTES)?;
    Ok(())
}

/// Says what a file is that SQLite cannot read.
pub(super) fn explain_open(path: &Path, error: rusqlite::Error) -> RagError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => RagError::NotAStore { path: path.to_owned() },
        _ => RagError::Database(error),
    }
}

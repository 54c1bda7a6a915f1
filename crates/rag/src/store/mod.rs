//! The document store: one SQLite file in WAL mode, one writer, a bounded set of readers. Here are opening and connections;
//! the objects are in the files beside. SQL stays inside this folder and `retrieve`.

mod attachments;
mod documents;
mod files;
mod notes;
mod page;
mod schema;
mod types;
mod vector_stores;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::parse::ParseLimits;
use crate::{RagError, Result};

pub use attachments::Ingested;
pub(crate) use documents::{CHUNK_BITS, chunk_rows, decode_units, read_source};
pub use types::{
    File, FileCounts, FileStatus, LastError, ListOptions, MAX_FILE_BYTES, NewFile, Order, Page, SourceDocument,
    VectorStore, VectorStoreFile, VectorStoreUpdate,
};
pub(crate) use vector_stores::seq_of as vector_store_seq;

/// Readers at most; more threads wait for one.
const MAX_READERS: usize = 8;
/// How long a thread waits for a reader.
const READER_WAIT: Duration = Duration::from_secs(10);
/// How long SQLite waits for another process's lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Files, vector stores, documents and their index in one SQLite file. `Send` and `Sync`: share it in an `Arc`.
///
/// Reads run beside each other and beside the writer, each in its own snapshot; writes run one at a time.
#[derive(Debug)]
pub struct Store {
    writer: Mutex<Connection>,
    /// `None` for a store in memory, which lives in its one connection.
    readers: Option<Readers>,
    limits: ParseLimits,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    state: Mutex<ReaderState>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct ReaderState {
    idle: Vec<Connection>,
    open: usize,
}

impl Store {
    /// Opens the store at `path`, or makes it.
    ///
    /// # Errors
    /// [`RagError::NotAStore`] and [`RagError::SchemaVersion`] for files that are not this version's,
    /// [`RagError::Missing`] when the folder does not exist, else [`RagError::Database`].
    pub fn open(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
            && !parent.is_dir()
        {
            return Err(RagError::Missing { path: parent.to_owned() });
        }
        let writer = Connection::open(path).map_err(|error| schema::explain_open(path, error))?;
        schema::prepare(&writer, path)?;
        let readers = Readers { path: path.to_owned(), state: Mutex::default(), returned: Condvar::new() };
        Ok(Self { writer: Mutex::new(writer), readers: Some(readers), limits: ParseLimits::default() })
    }

    /// A store that lives as long as the value: for tests and for trying things out.
    ///
    /// # Errors
    /// [`RagError::Database`].
    pub fn in_memory() -> Result<Self> {
        let writer = Connection::open_in_memory()?;
        schema::prepare(&writer, Path::new(":memory:"))?;
        Ok(Self { writer: Mutex::new(writer), readers: None, limits: ParseLimits::default() })
    }

    /// Limits of the documents that are parsed from now on.
    #[must_use]
    pub fn with_limits(mut self, limits: ParseLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The limits that documents are parsed under.
    pub fn limits(&self) -> &ParseLimits {
        &self.limits
    }

    /// Runs `work` in one transaction of the writer; an error rolls it back.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut writer = lock(&self.writer);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// [`Store::write`] for deletions. What was deleted stood in the write-ahead log too, which is emptied into the file and
    /// cut; while a reader holds an older snapshot it cannot be, and a later deletion or the last close does it.
    fn delete<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let result = self.write(work)?;
        let writer = lock(&self.writer);
        // A reader is not waited for: the deletion itself is done.
        writer.busy_timeout(Duration::ZERO)?;
        let checkpoint = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        writer.busy_timeout(LOCK_WAIT)?;
        tracing::debug!(?checkpoint, "the log was cut after a deletion, if it answers 0");
        Ok(result)
    }

    /// Runs `work` on one snapshot.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let Some(readers) = &self.readers else {
            return in_snapshot(&lock(&self.writer), work);
        };
        readers.with_reader(|reader| in_snapshot(reader, work))
    }
}

fn in_snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let snapshot = connection.unchecked_transaction()?;
    let result = work(&snapshot);
    snapshot.finish()?;
    result
}

/// A panic in another thread rolled its transaction back, so the connection is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Readers {
    /// Lends a reader to `work`. It comes back also when `work` panics.
    fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let reader = self.checkout()?;
        let result = catch_unwind(AssertUnwindSafe(|| work(&reader)));
        lock(&self.state).idle.push(reader);
        self.returned.notify_one();
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn checkout(&self) -> Result<Connection> {
        let full = |state: &mut ReaderState| state.idle.is_empty() && state.open >= MAX_READERS;
        let (mut state, wait) = self
            .returned
            .wait_timeout_while(lock(&self.state), READER_WAIT, full)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = state.idle.pop() {
            return Ok(reader);
        }
        if wait.timed_out() {
            return Err(RagError::Busy { waited_ms: READER_WAIT.as_millis() as u64 });
        }
        state.open += 1;
        drop(state);
        self.connect().inspect_err(|_| {
            lock(&self.state).open -= 1;
            self.returned.notify_one();
        })
    }

    fn connect(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.path, flags)?;
        reader.busy_timeout(LOCK_WAIT)?;
        reader.pragma_update(None, "cache_size", -16_384)?;
        reader.pragma_update(None, "mmap_size", 256 << 20)?;
        Ok(reader)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A fresh id such as `file-018f…`; ids of one process ascend.
fn fresh_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::now_v7().simple())
}

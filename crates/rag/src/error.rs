//! The one error type of the crate. Each variant names the file or field at fault and, where it helps, what to do.

use std::path::PathBuf;

/// Why an operation on role documents failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RagError {
    /// The file or folder does not exist.
    #[error("{} does not exist", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A folder was asked for and something else is there.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// What was named.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or listed.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The document's bytes are not UTF-8.
    #[error("{file} is not UTF-8: byte {offset} starts no character; convert the file to UTF-8")]
    NotUtf8 {
        /// The document's name.
        file: String,
        /// Offset of the first byte at fault.
        offset: usize,
    },
    /// The document begins with the byte order mark of UTF-16.
    #[error("{file} is UTF-16; convert the file to UTF-8, for instance with `iconv -f UTF-16 -t UTF-8`")]
    Utf16 {
        /// The document's name.
        file: String,
    },
    /// The document holds a NUL byte, which no text does.
    #[error("{file} is a binary file: byte {offset} is NUL")]
    Binary {
        /// The document's name.
        file: String,
        /// Offset of the first NUL.
        offset: usize,
    },
    /// The document has no bytes, or no text once menus and markup are taken away.
    #[error("{file} has no text")]
    NoText {
        /// The document's name.
        file: String,
    },
    /// More bytes than a document may have.
    #[error("{file} has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// The document's name.
        file: String,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Markup nested deeper than any page is.
    #[error("{file} nests its elements deeper than {limit}")]
    TooDeep {
        /// The document's name.
        file: String,
        /// What is allowed.
        limit: usize,
    },
    /// Markup that means far more elements or text than it has bytes.
    #[error(
        "{file} grows far beyond its {bytes} bytes when its markup is followed; close the tags that it leaves open"
    )]
    Overgrown {
        /// The document's name.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// More chunks than one document may have.
    #[error("{file} falls into more than {limit} chunks; split it into several files")]
    TooManyChunks {
        /// The document's name.
        file: String,
        /// What is allowed.
        limit: usize,
    },
    /// No parser reads this kind of file.
    #[error("{file}: unsupported file type; Markdown (.md), text (.txt) and HTML (.html, .htm) can be read")]
    UnsupportedFormat {
        /// The document's name.
        file: String,
    },
    /// No such object.
    #[error("no {kind} with id '{id}'")]
    NotFound {
        /// `file`, `vector store` or `vector store file`.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// A request's field has a value outside its range.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as the request spells it.
        field: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// The store was written by another version.
    #[error(
        "{} holds schema version {found}, this build reads version {expected}; ingest again into a new file",
        path.display()
    )]
    SchemaVersion {
        /// The store's file.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What is read here.
        expected: i64,
    },
    /// The SQLite file belongs to another program.
    #[error("{} is a database of another program, not a document store", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Every reader was in use for the whole wait.
    #[error("the document store is busy: no reader came free within {waited_ms} ms; try again")]
    Busy {
        /// How long was waited.
        waited_ms: u64,
    },
    /// SQLite's own failure.
    #[error("document store: {0}")]
    Database(#[from] rusqlite::Error),
    /// A stored value cannot be read back.
    #[error("document store: {what} is damaged: {reason}")]
    Damaged {
        /// The table and row.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl RagError {
    /// An [`RagError::Invalid`] from its parts.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// An [`RagError::Io`], or [`RagError::Missing`] where that is what the system says.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }

    /// Whether the document itself is at fault, so that it is recorded as a failed file and the rest goes on.
    pub fn is_document_fault(&self) -> bool {
        matches!(
            self,
            Self::NotUtf8 { .. }
                | Self::Utf16 { .. }
                | Self::Binary { .. }
                | Self::NoText { .. }
                | Self::TooLarge { .. }
                | Self::TooDeep { .. }
                | Self::Overgrown { .. }
                | Self::TooManyChunks { .. }
                | Self::UnsupportedFormat { .. }
        )
    }

    /// The code of a failed vector store file, in OpenAI's words.
    pub fn file_error_code(&self) -> &'static str {
        match self {
            Self::UnsupportedFormat { .. } => "unsupported_file",
            error if error.is_document_fault() => "invalid_file",
            _ => "server_error",
        }
    }
}

//! Role documents: parse, chunk, store, retrieve, answer with checked citations.
//!
//! Invariants, all of them tested:
//! - A chunk's text is a slice of the stored source text, byte for byte; so is every quote of an answer.
//! - A citation is compared with the stored source after the answer was made; one that differs is never returned.
//! - A document, its chunks, its index rows and its role names change in one transaction: nothing deleted can answer.
//! - Filters are exact: they decide before ranking, so a filtered search loses no result to an unfiltered one.
//!
//! How telling a word is, is counted over the whole SQLite file and not for each vector store: documents of another store
//! move scores a little, and are never seen. Who must not share even that keeps two files.
//!
//! Synchronous, and free of tokio, candle, HTTP and the engine. A chat model comes in through [`Generator`] only.

mod analyze;
mod answer;
mod attributes;
mod chunk;
mod error;
mod ingest;
mod lexicon;
mod parse;
mod retrieve;
mod role;
mod sentence;
mod store;

pub use answer::{
    Answer, AnswerOptions, AnswerPrompt, Citation, FallbackReason, Generator, GeneratorError, NOT_TOLD, Passage,
    REFUSAL, Route, answer,
};
pub use attributes::{AttributeValue, Attributes, Filter, Metadata};
pub use chunk::{Chunk, MAX_CHUNK_BYTES, MAX_CHUNK_WORDS, Unit, UnitKind, chunk_document};
pub use error::RagError;
pub use ingest::{FileOutcome, IngestOptions, IngestReport, Progress, SkippedFile};
pub use parse::{Block, BlockKind, Document, ParseLimits, Section, parse_document};
pub use retrieve::{Hit, SearchOptions};
pub use store::{
    File, FileCounts, FileStatus, Ingested, LastError, ListOptions, MAX_FILE_BYTES, NewFile, Order, Page,
    SourceDocument, Store, VectorStore, VectorStoreFile, VectorStoreUpdate,
};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, RagError>;

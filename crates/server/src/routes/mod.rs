//! One file per subject: a handler reads a body, validates it, calls engine or store, and writes the wire shape.

pub(crate) mod answers;
pub(crate) mod batches;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod documents;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod logprobs;
pub(crate) mod models;
pub(crate) mod responses;
pub(crate) mod responses_stream;
pub(crate) mod search;
pub(crate) mod store_files;
pub(crate) mod stores;

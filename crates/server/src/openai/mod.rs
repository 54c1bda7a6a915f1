//! OpenAI's wire shapes that this server sends, one file per subject. Only data: no parsing, no engine, no store.

pub mod chat;
pub mod completions;
pub mod files;
pub mod models;
pub mod responses;
pub mod usage;
pub mod vector_stores;

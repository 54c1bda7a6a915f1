//! Identifiers and times of the objects that this server makes. Those of stored files and vector stores come from rag.

use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// A new identifier such as `chatcmpl-0194…`; version 7, so that they sort by time in logs.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::now_v7().simple())
}

/// Seconds since 1970, as OpenAI's `created` fields have it.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

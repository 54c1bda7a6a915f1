//! Bodies of the vector store routes: names, metadata, attributes, search.

use super::Fields;
use crate::error::ApiError;
use sconce_rag::{AttributeValue, Attributes, Filter, Metadata};
use serde::Deserialize;
use serde_json::Value;

/// The most pairs of metadata or attributes.
pub const MAX_PAIRS: usize = 16;
/// The longest key of metadata or attributes, in characters.
pub const MAX_KEY_CHARACTERS: usize = 64;
/// The longest value of metadata or attributes, in characters.
pub const MAX_VALUE_CHARACTERS: usize = 512;
/// The longest name of a store, in bytes.
const MAX_NAME_BYTES: usize = 1024;
/// The longest identifier that is looked up, in bytes.
const MAX_ID_BYTES: usize = 256;
/// The longest query, in bytes.
const MAX_QUERY_BYTES: usize = 8 << 10;
/// The most queries of one search.
const MAX_QUERIES: usize = 16;
/// The most files of one batch.
const MAX_BATCH: usize = 500;
/// The most results of one search.
pub const MAX_RESULTS: u32 = 50;
/// The results of a search that does not say how many.
pub const DEFAULT_RESULTS: u32 = 10;

/// What creates or updates a vector store.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidStore {
    /// The name, when given.
    pub name: Option<String>,
    /// Metadata, when given; an empty map clears it.
    pub metadata: Option<Metadata>,
    /// Files to attach at once; only when a store is created.
    pub file_ids: Vec<String>,
}

impl ValidStore {
    /// Reads the body.
    pub fn parse(fields: &Fields<'_>) -> Result<Self, ApiError> {
        refuse_chunking(fields)?;
        if fields.get("expires_after").is_some() {
            return Err(ApiError::unsupported(
                "expires_after",
                "Vector stores do not expire; leave expires_after out.",
            ));
        }
        Ok(Self {
            name: fields.string("name", MAX_NAME_BYTES)?.map(str::to_owned),
            metadata: metadata(fields)?,
            file_ids: fields.strings("file_ids", MAX_BATCH, MAX_ID_BYTES)?.unwrap_or_default(),
        })
    }
}

/// A file to attach.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidAttachment {
    /// The file.
    pub file_id: String,
    /// What filters compare.
    pub attributes: Attributes,
}

impl ValidAttachment {
    /// Reads the body, or an item of a batch.
    pub fn parse(fields: &Fields<'_>) -> Result<Self, ApiError> {
        refuse_chunking(fields)?;
        let file_id = fields.required_string("file_id", MAX_ID_BYTES)?.to_owned();
        Ok(Self { file_id, attributes: attributes(fields)?.unwrap_or_default() })
    }

    /// Reads the body of a batch: `file_ids` with attributes in common, or `files` with their own.
    pub fn parse_batch(fields: &Fields<'_>) -> Result<Vec<Self>, ApiError> {
        refuse_chunking(fields)?;
        let ids = fields.strings("file_ids", MAX_BATCH, MAX_ID_BYTES)?;
        let files = fields.array("files", MAX_BATCH)?;
        match (ids, files) {
            (Some(ids), None) => {
                let attributes = attributes(fields)?.unwrap_or_default();
                Ok(ids.into_iter().map(|file_id| Self { file_id, attributes: attributes.clone() }).collect())
            }
            (None, Some(files)) => {
                let one =
                    |(index, file): (usize, &Value)| Self::parse(&Fields::object_at(file, &format!("files.{index}"))?);
                files.iter().enumerate().map(one).collect()
            }
            _ => Err(ApiError::invalid("file_ids", "Send file_ids or files, one of them.")),
        }
    }
}

/// `metadata`: strings by key.
pub fn metadata(fields: &Fields<'_>) -> Result<Option<Metadata>, ApiError> {
    let pairs = pairs(fields, "metadata", "a string", |value| value.as_str().map(str::to_owned))?;
    Ok(pairs.map(|pairs| pairs.into_iter().collect()))
}

/// `attributes`: strings, numbers and booleans by key.
pub fn attributes(fields: &Fields<'_>) -> Result<Option<Attributes>, ApiError> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(AttributeValue::Text(text.clone())),
        Value::Number(number) => number.as_f64().map(AttributeValue::Number),
        Value::Bool(truth) => Some(AttributeValue::Bool(*truth)),
        _ => None,
    };
    let pairs = pairs(fields, "attributes", "a string, a number or a boolean", scalar)?;
    Ok(pairs.map(|pairs| pairs.into_iter().collect()))
}

fn pairs<T>(
    fields: &Fields<'_>,
    name: &str,
    expected: &str,
    convert: impl Fn(&Value) -> Option<T>,
) -> Result<Option<Vec<(String, T)>>, ApiError> {
    let Some(object) = fields.object(name)? else { return Ok(None) };
    let path = fields.path(name);
    if object.raw().len() > MAX_PAIRS {
        let message = format!("{path} has {} pairs; at most {MAX_PAIRS} are accepted.", object.raw().len());
        return Err(ApiError::invalid(path, message));
    }
    let mut pairs = Vec::with_capacity(object.raw().len());
    for (key, value) in object.entries() {
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(ApiError::invalid(path, format!("A key must have 1 to {MAX_KEY_CHARACTERS} characters.")));
        }
        let long = value.as_str().is_some_and(|text| text.chars().count() > MAX_VALUE_CHARACTERS);
        let Some(converted) = convert(value).filter(|_| !long) else {
            let message =
                format!("{path}.{key} must be {expected}; a string has at most {MAX_VALUE_CHARACTERS} characters.");
            return Err(ApiError::invalid(format!("{path}.{key}"), message));
        };
        pairs.push((key.clone(), converted));
    }
    Ok(Some(pairs))
}

fn refuse_chunking(fields: &Fields<'_>) -> Result<(), ApiError> {
    let Some(strategy) = fields.object("chunking_strategy")? else { return Ok(()) };
    match strategy.required_string("type", 64)? {
        "auto" => Ok(()),
        _ => {
            let message = "Documents are cut by section; only the chunking strategy 'auto' is supported.";
            Err(ApiError::unsupported("chunking_strategy", message))
        }
    }
}

/// A search in vector stores, as the search route and the file_search tool spell it.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidSearch {
    /// Results at most, `1..=MAX_RESULTS`, when given.
    pub max_num_results: Option<u32>,
    /// Which files are searched, by their attributes.
    pub filters: Option<Filter>,
    /// Hits below this score are left out, 0 to 1.
    pub score_threshold: Option<f64>,
}

impl ValidSearch {
    /// Reads the fields that the route and the tool have in common.
    pub fn parse(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let filters = fields.get("filters").map(|filters| filter(filters, &fields.path("filters"))).transpose()?;
        let score_threshold = match fields.object("ranking_options")? {
            Some(ranking) => {
                ranker(&ranking)?;
                ranking.number("score_threshold", 0.0..=1.0)?
            }
            None => None,
        };
        let max_num_results = fields.unsigned("max_num_results", 1..=MAX_RESULTS)?;
        Ok(Self { max_num_results, filters, score_threshold })
    }
}

fn filter(value: &Value, path: &str) -> Result<Filter, ApiError> {
    let invalid = |reason: String| ApiError::invalid(path, format!("{path} is not a filter: {reason}."));
    let filter = Filter::deserialize(value).map_err(|error| invalid(error.to_string()))?;
    filter.validate().map_err(|error| invalid(error.to_string()))?;
    Ok(filter)
}

fn ranker(ranking: &Fields<'_>) -> Result<(), ApiError> {
    match ranking.string("ranker", 64)? {
        // Each of them means the one ranking that there is.
        None | Some("auto" | "none" | "default-2024-11-15" | "default_2024_08_21") => Ok(()),
        Some(_) => Err(ApiError::unsupported(ranking.path("ranker"), "ranker must be auto or none.")),
    }
}

/// The queries of `/search`: a string or an array of strings.
pub fn queries(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let queries = match fields.required("query")? {
        Value::Array(_) => fields.strings("query", MAX_QUERIES, MAX_QUERY_BYTES)?.unwrap_or_default(),
        _ => vec![fields.required_string("query", MAX_QUERY_BYTES)?.to_owned()],
    };
    if queries.is_empty() || queries.iter().any(|query| query.trim().is_empty()) {
        return Err(ApiError::invalid("query", "query must not be empty."));
    }
    Ok(queries)
}

/// The identifiers of stores that a tool names.
pub fn store_ids(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let ids = fields.strings("vector_store_ids", 16, MAX_ID_BYTES)?;
    match ids {
        Some(ids) if !ids.is_empty() => Ok(ids),
        _ => {
            let path = fields.path("vector_store_ids");
            Err(ApiError::invalid(path, "vector_store_ids must name at least one vector store."))
        }
    }
}

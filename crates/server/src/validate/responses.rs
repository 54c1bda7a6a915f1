//! The body of `POST /v1/responses`: an input, and perhaps the file_search tool. Other tools are refused by name.

use super::Fields;
use super::chat::text_of;
use super::documents::{ValidSearch, store_ids};
use crate::error::ApiError;
use serde_json::{Map, Value, json};

/// The most items of an input list.
const MAX_ITEMS: usize = 1024;
/// The longest question about documents, in bytes.
pub const MAX_QUESTION_BYTES: usize = 8 << 10;
/// The longest instructions, in bytes.
const MAX_INSTRUCTION_BYTES: usize = 256 << 10;

/// A responses request in range. What depends on a model is read only when one answers.
#[derive(Debug, Clone)]
pub struct ValidResponse {
    /// Instructions, when given; they lead the messages as the system's.
    pub instructions: Option<String>,
    /// The conversation, oldest first; the last message is the user's.
    pub messages: Vec<Value>,
    /// The text of the last message: the question.
    pub question: String,
    /// The documents to answer from, when the tool is named.
    pub file_search: Option<FileSearch>,
    /// Whether the answer lists what the search found.
    pub include_results: bool,
    /// The tools as they were sent.
    pub tools: Vec<Value>,
    /// Which of them may be used, as it was sent.
    pub tool_choice: Value,
    /// The client's own notes.
    pub metadata: Map<String, Value>,
    /// Answer as server-sent events.
    pub stream: bool,
}

/// The file_search tool.
#[derive(Debug, Clone)]
pub struct FileSearch {
    /// Where to search.
    pub store_ids: Vec<String>,
    /// How.
    pub search: ValidSearch,
}

impl ValidResponse {
    /// Reads the body.
    pub fn parse(fields: &Fields<'_>) -> Result<Self, ApiError> {
        refuse_unsupported(fields)?;
        let instructions = fields.string("instructions", MAX_INSTRUCTION_BYTES)?.map(str::to_owned);
        let mut messages = input(fields)?;
        let question = question(&messages)?;
        if let Some(instructions) = &instructions {
            messages.insert(0, json!({"role": "system", "content": instructions}));
        }
        let include = fields.strings("include", 32, 128)?.unwrap_or_default();
        let tool_choice = tool_choice(fields)?;
        // "none" keeps the tools in the request and out of the answer.
        let (tools, file_search) = tools(fields)?;
        let file_search = file_search.filter(|_| tool_choice != "none");
        if file_search.is_some() && question.len() > MAX_QUESTION_BYTES {
            let message =
                format!("The question has {} bytes; at most {MAX_QUESTION_BYTES} can be searched.", question.len());
            return Err(ApiError::invalid("input", message));
        }
        Ok(Self {
            instructions,
            messages,
            question,
            file_search,
            include_results: include.iter().any(|name| name == "file_search_call.results"),
            tools,
            tool_choice,
            metadata: fields.object("metadata")?.map(|map| map.raw().clone()).unwrap_or_default(),
            stream: fields.boolean("stream")?.unwrap_or(false),
        })
    }
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ApiError> {
    for name in ["previous_response_id", "conversation", "prompt"] {
        if fields.get(name).is_some() {
            let message = format!("{name} is not supported: responses are not stored. Send the whole input.");
            return Err(ApiError::unsupported(name, message));
        }
    }
    if fields.boolean("background")? == Some(true) {
        return Err(ApiError::unsupported("background", "background responses are not supported; use stream."));
    }
    if let Some(text) = fields.object("text")?
        && let Some(format) = text.object("format")?
        && format.required_string("type", 64)? != "text"
    {
        return Err(ApiError::unsupported("text.format", "Only the format 'text' is supported."));
    }
    Ok(())
}

/// A string, or a list of messages.
fn input(fields: &Fields<'_>) -> Result<Vec<Value>, ApiError> {
    match fields.required("input")? {
        Value::String(text) => Ok(vec![json!({"role": "user", "content": text})]),
        Value::Array(_) => {
            let items = fields.array("input", MAX_ITEMS)?.unwrap_or_default();
            let mut messages = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                messages.extend(input_item(item, &format!("input.{index}"))?);
            }
            Ok(messages)
        }
        _ => Err(ApiError::invalid("input", "input must be a string or a list of messages.")),
    }
}

/// A message; `None` for what an earlier answer brought along and no prompt needs.
fn input_item(item: &Value, path: &str) -> Result<Option<Value>, ApiError> {
    let fields = Fields::object_at(item, path)?;
    match fields.string("type", 64)? {
        None | Some("message") => {}
        Some("file_search_call" | "reasoning") => return Ok(None),
        Some(other) => {
            let message = format!("Input items of the type '{}' are not supported.", crate::error::shortened(other));
            return Err(ApiError::unsupported(fields.path("type"), message));
        }
    }
    let role = match fields.required_string("role", 64)? {
        "developer" => "system",
        role @ ("system" | "user" | "assistant") => role,
        _ => return Err(ApiError::invalid(fields.path("role"), "role must be system, developer, user or assistant.")),
    };
    let content = text_of(fields.required("content")?, &fields.path("content"))?;
    Ok(Some(json!({"role": role, "content": content})))
}

/// The text of the last message, which must be the user's.
fn question(messages: &[Value]) -> Result<String, ApiError> {
    let last = messages.last().filter(|message| message.get("role").and_then(Value::as_str) == Some("user"));
    let text = last.and_then(|message| message.get("content")).and_then(Value::as_str).unwrap_or_default();
    if text.trim().is_empty() {
        return Err(ApiError::invalid("input", "input must end with a user's message that is not empty."));
    }
    Ok(text.to_owned())
}

/// With file_search named every answer searches, so that `auto`, `required` and the tool's own name mean the same.
fn tool_choice(fields: &Fields<'_>) -> Result<Value, ApiError> {
    let Some(choice) = fields.get("tool_choice") else { return Ok(json!("auto")) };
    let name = choice.as_str().or_else(|| choice.get("type").and_then(Value::as_str));
    let is_known = match choice {
        Value::String(_) => matches!(name, Some("auto" | "none" | "required")),
        _ => name == Some("file_search"),
    };
    if is_known {
        return Ok(choice.clone());
    }
    let message = "tool_choice must be auto, none, required or {\"type\": \"file_search\"}.";
    Err(ApiError::unsupported("tool_choice", message))
}

fn tools(fields: &Fields<'_>) -> Result<(Vec<Value>, Option<FileSearch>), ApiError> {
    let tools = fields.array("tools", 16)?.unwrap_or_default();
    let mut file_search = None;
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools.{index}");
        let tool = Fields::object_at(tool, &path)?;
        let kind = tool.required_string("type", 64)?;
        if kind != "file_search" {
            let message =
                format!("Tools of the type '{}' are not supported; file_search is.", crate::error::shortened(kind));
            return Err(ApiError::unsupported(tool.path("type"), message));
        }
        if file_search.is_some() {
            return Err(ApiError::invalid(path, "Name the file_search tool once, with all of its vector stores."));
        }
        file_search = Some(FileSearch { store_ids: store_ids(&tool)?, search: ValidSearch::parse(&tool)? });
    }
    Ok((tools.to_vec(), file_search))
}

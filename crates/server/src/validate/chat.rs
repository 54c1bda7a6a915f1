//! The body of `POST /v1/chat/completions`. What would silently change the result is refused by name.

use super::generation::{MAX_TOP_LOGPROBS, ValidGeneration};
use super::{Fields, ModelLimits};
use crate::error::ApiError;
use serde_json::{Map, Value, json};

/// The most messages of a conversation.
pub const MAX_MESSAGES: usize = 4096;

/// A chat request in range.
#[derive(Debug, Clone)]
pub struct ValidChat {
    /// Messages for the template: `role`, `content` as text, and what belongs to earlier tool calls.
    pub messages: Vec<Value>,
    /// Whether the template opens the assistant's turn.
    pub add_generation_prompt: bool,
    /// Further variables for the template.
    pub template_variables: Map<String, Value>,
    /// Sampling and bounds.
    pub generation: ValidGeneration,
    /// Whether the answer carries log probabilities.
    pub logprobs: bool,
}

impl ValidChat {
    /// Reads the body.
    pub fn parse(fields: &Fields<'_>, limits: ModelLimits) -> Result<Self, ApiError> {
        refuse_unsupported(fields)?;
        let items = fields.array("messages", MAX_MESSAGES)?;
        if items.is_none() {
            fields.required("messages")?;
        }
        let messages = messages(items.unwrap_or_default(), "messages")?;
        let mut generation = ValidGeneration::parse(fields, limits)?;
        let logprobs = fields.boolean("logprobs")?.unwrap_or(false);
        let top_logprobs = fields.unsigned("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
        if top_logprobs.is_some_and(|count| count > 0) && !logprobs {
            return Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs set to true."));
        }
        if logprobs {
            generation.sampling.logprobs = u8::try_from(top_logprobs.unwrap_or(0)).ok();
        }
        Ok(Self {
            messages,
            add_generation_prompt: fields.boolean("add_generation_prompt")?.unwrap_or(true),
            template_variables: fields
                .object("chat_template_kwargs")?
                .map(|object| object.raw().clone())
                .unwrap_or_default(),
            generation,
            logprobs,
        })
    }
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ApiError> {
    let tool_choice = fields.get("tool_choice").and_then(Value::as_str);
    for name in ["tools", "functions"] {
        let some = fields.array(name, 1024)?.is_some_and(|items| !items.is_empty());
        if some && tool_choice != Some("none") {
            let message =
                format!("{name} are not supported yet: the model's calls would not be parsed. Leave them out.");
            return Err(ApiError::unsupported(name, message));
        }
    }
    if let Some(format) = fields.object("response_format")? {
        let kind = format.required_string("type", 64)?;
        if kind != "text" {
            let message = format!("response_format '{kind}' is not supported; only 'text' is.");
            return Err(ApiError::unsupported("response_format", message));
        }
    }
    if let Some(modalities) = fields.strings("modalities", 8, 64)?
        && modalities.iter().any(|modality| modality != "text")
    {
        return Err(ApiError::unsupported("modalities", "Only the modality 'text' is supported."));
    }
    for name in ["audio", "web_search_options"] {
        if fields.get(name).is_some() {
            return Err(ApiError::unsupported(name, format!("{name} is not supported.")));
        }
    }
    Ok(())
}

/// Messages as the template reads them; `path` names the array.
pub fn messages(items: &[Value], path: &str) -> Result<Vec<Value>, ApiError> {
    if items.is_empty() {
        return Err(ApiError::invalid(path, format!("{path} must hold at least one message.")));
    }
    items.iter().enumerate().map(|(index, item)| message(item, &format!("{path}.{index}"))).collect()
}

fn message(item: &Value, path: &str) -> Result<Value, ApiError> {
    let fields = Fields::object_at(item, path)?;
    let role = match fields.required_string("role", 64)? {
        // Templates know the older name of the same role.
        "developer" => "system",
        role @ ("system" | "user" | "assistant" | "tool") => role,
        other => {
            let other = crate::error::shortened(other);
            let message = format!("{path}.role is '{other}'; it must be system, developer, user, assistant or tool.");
            return Err(ApiError::invalid(fields.path("role"), message));
        }
    };
    let calls = fields.array("tool_calls", 128)?;
    let content = match fields.get("content") {
        None if role == "assistant" && calls.is_some() => String::new(),
        None => return Err(ApiError::invalid(fields.path("content"), format!("{path}.content is required."))),
        Some(content) => text_of(content, &fields.path("content"))?,
    };
    let mut message = Map::new();
    message.insert("role".into(), json!(role));
    message.insert("content".into(), json!(content));
    for name in ["name", "tool_call_id"] {
        if let Some(text) = fields.string(name, 256)? {
            message.insert(name.into(), json!(text));
        }
    }
    if let Some(calls) = calls {
        message.insert("tool_calls".into(), json!(calls));
    }
    Ok(Value::Object(message))
}

/// The text of a message: a string, or text parts, which are joined by line breaks. Other parts are refused.
pub fn text_of(content: &Value, path: &str) -> Result<String, ApiError> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => return Err(ApiError::invalid(path, format!("{path} must be a string or an array of parts."))),
    };
    let mut texts = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let fields = Fields::object_at(part, &format!("{path}.{index}"))?;
        match fields.required_string("type", 64)? {
            "text" | "input_text" | "output_text" => {
                let text = fields.required("text")?.as_str();
                texts.push(text.ok_or_else(|| ApiError::invalid(fields.path("text"), "text must be a string."))?);
            }
            other => {
                let message =
                    format!("Parts of the type '{}' are not supported; send text.", crate::error::shortened(other));
                return Err(ApiError::unsupported(fields.path("type"), message));
            }
        }
    }
    Ok(texts.join("\n"))
}

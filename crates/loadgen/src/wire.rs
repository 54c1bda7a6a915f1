//! The JSON of the OpenAI API, as far as a load generator reads and writes it. Unknown fields are ignored.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Endpoint;

const MAX_MESSAGE_CHARS: usize = 300;

/// One chunk of a streamed completion, of either route.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    /// Thought before an answer is output too; servers use either name.
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
}

/// Token counts as the server reports them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Usage {
    #[serde(default)]
    pub(crate) prompt_tokens: Option<u32>,
    #[serde(default)]
    pub(crate) completion_tokens: Option<u32>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptTokensDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct PromptTokensDetails {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl Usage {
    pub(crate) fn cached_tokens(&self) -> Option<u32> {
        self.prompt_tokens_details.and_then(|details| details.cached_tokens)
    }
}

impl Chunk {
    /// Whether it carries output. The role at the start and an empty text at the end are none.
    pub(crate) fn has_output(&self) -> bool {
        let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        self.choices.iter().flatten().any(|choice| {
            filled(&choice.text)
                || choice.delta.as_ref().is_some_and(|delta| filled(&delta.content) || filled(&delta.reasoning_content))
        })
    }

    pub(crate) fn finish_reason(&self) -> Option<&str> {
        self.choices.iter().flatten().find_map(|choice| choice.finish_reason.as_deref())
    }

    /// The message of an error that came in place of output.
    pub(crate) fn error_message(&self) -> Option<String> {
        self.error.as_ref().map(message_of)
    }
}

/// The body of a streamed request. Fields of `extra` replace ours; a null there removes one.
pub(crate) fn request_body(
    endpoint: Endpoint,
    model: &str,
    prompt: &str,
    max_tokens: u32,
    extra: &Map<String, Value>,
) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    match endpoint {
        Endpoint::Completions => body.insert("prompt".to_owned(), json!(prompt)),
        Endpoint::Chat => body.insert("messages".to_owned(), json!([{ "role": "user", "content": prompt }])),
    };
    body.insert("max_tokens".to_owned(), json!(max_tokens));
    body.insert("temperature".to_owned(), json!(0));
    body.insert("ignore_eos".to_owned(), json!(true));
    body.insert("stream".to_owned(), json!(true));
    body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
    for (field, value) in extra {
        if value.is_null() {
            body.shift_remove(field);
        } else {
            body.insert(field.clone(), value.clone());
        }
    }
    Value::Object(body)
}

/// What an error body says: OpenAI's `error.message`, else `message` or `detail`, else the text itself.
pub(crate) fn error_text(body: &str) -> String {
    serde_json::from_str::<Value>(body).map_or_else(|_| printable(body), |value| message_of(&value))
}

fn message_of(value: &Value) -> String {
    let inner = value.get("error").unwrap_or(value);
    let said = ["message", "detail"].iter().find_map(|field| inner.get(field)).unwrap_or(inner);
    said.as_str().map_or_else(|| printable(&said.to_string()), printable)
}

/// What a server says, made fit for a line on a terminal: no control characters, a bounded length.
pub(crate) fn printable(text: &str) -> String {
    let text = text.trim();
    let mut line: String = text.chars().take(MAX_MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_MESSAGE_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Chunk {
        serde_json::from_str(text).expect("a chunk")
    }

    #[test]
    fn only_text_is_output() {
        assert!(chunk(r#"{"choices":[{"text":" a","index":0,"finish_reason":null}],"usage":null}"#).has_output());
        assert!(chunk(r#"{"choices":[{"delta":{"content":"a"}}]}"#).has_output());
        assert!(chunk(r#"{"choices":[{"delta":{"reasoning":"a"}}]}"#).has_output());
        assert!(!chunk(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#).has_output());
        assert!(!chunk(r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#).has_output());
        assert!(!chunk(r#"{"choices":[{"text":"","finish_reason":"length"}]}"#).has_output());
        assert!(!chunk(r#"{"choices":[]}"#).has_output());
        assert!(!chunk("{}").has_output());
    }

    #[test]
    fn usage_carries_cached_tokens_where_the_server_counts_them() {
        let text = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,
            "prompt_tokens_details":{"cached_tokens":8}}}"#;
        let usage = chunk(text).usage.expect("usage");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens()), (Some(9), Some(3), Some(8)));
        let bare = chunk(r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}"#).usage.expect("usage");
        assert_eq!((bare.completion_tokens, bare.cached_tokens()), (None, None));
    }

    #[test]
    fn an_error_is_read_in_the_shapes_that_servers_use() {
        assert_eq!(error_text(r#"{"error":{"message":"too many","type":"x"}}"#), "too many");
        assert_eq!(error_text(r#"{"detail":"not found"}"#), "not found");
        assert_eq!(error_text(r#"{"error":"plain"}"#), "plain");
        assert_eq!(error_text("<html>\u{1b}[2J\n</html>"), "<html> [2J </html>");
        assert_eq!(error_text(&"x".repeat(1_000)).chars().count(), MAX_MESSAGE_CHARS + 1);
        assert_eq!(chunk(r#"{"error":{"message":"gone"}}"#).error_message().as_deref(), Some("gone"));
    }

    #[test]
    fn extra_fields_replace_and_remove() {
        let mut extra = Map::new();
        extra.insert("ignore_eos".to_owned(), Value::Null);
        extra.insert("temperature".to_owned(), json!(0.5));
        let body = request_body(Endpoint::Chat, "m", "hello", 4, &extra);
        let expected = json!({
            "model": "m", "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 4, "temperature": 0.5,
            "stream": true, "stream_options": { "include_usage": true },
        });
        assert_eq!(body, expected);
    }
}

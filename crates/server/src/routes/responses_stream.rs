//! `POST /v1/responses` as events, in the order in which OpenAI sends them. Each carries its number in the stream.

use super::answers::ChunkFormat;
use super::responses::{Ask, cited, ended};
use crate::error::ApiError;
use crate::ids::new_id;
use crate::openai::responses::{OutputItem, OutputText, ResponseError, ResponseObject};
use crate::openai::usage::Usage;
use crate::sse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream, StreamExt};
use sconce_engine::TokenLogprob;
use serde_json::{Value, json};

/// Numbers the events of a stream.
struct Sequence(u64);

impl Sequence {
    /// The event `name` with these fields, its type and its number.
    fn event(&mut self, name: &str, fields: Value) -> Event {
        let mut body = json!({"type": name, "sequence_number": self.0});
        self.0 += 1;
        if let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) {
            body.extend(fields);
        }
        sse::named(name, &body)
    }

    fn begun(&mut self, response: &ResponseObject) -> Vec<Event> {
        ["response.created", "response.in_progress"].map(|name| self.event(name, json!({"response": response}))).into()
    }

    fn failed(&mut self, response: ResponseObject, error: &ApiError) -> Event {
        let error = ResponseError { code: "server_error", message: error.message.clone() };
        let response = ResponseObject { status: "failed", error: Some(error), ..response };
        self.event("response.failed", json!({"response": response}))
    }

    /// A message opens: the item, then its one part.
    fn message_opens(&mut self, place: &Place) -> Vec<Event> {
        let item = OutputItem::Message {
            id: place.item.clone(),
            status: "in_progress",
            role: "assistant",
            content: Vec::new(),
        };
        let added = self.event("response.output_item.added", json!({"output_index": place.output, "item": item}));
        let part = json!({"part": empty_text()});
        vec![added, self.event("response.content_part.added", place.with(part))]
    }

    /// A message closes: its text, its part, the item.
    fn message_closes(&mut self, place: &Place, text: &OutputText, item: &OutputItem) -> Vec<Event> {
        let done = json!({"text": text.text, "logprobs": []});
        vec![
            self.event("response.output_text.done", place.with(done)),
            self.event("response.content_part.done", place.with(json!({"part": text}))),
            self.event("response.output_item.done", json!({"output_index": place.output, "item": item})),
        ]
    }

    fn delta(&mut self, place: &Place, text: &str) -> Event {
        self.event("response.output_text.delta", place.with(json!({"delta": text, "logprobs": []})))
    }

    fn ended(&mut self, response: &ResponseObject) -> Event {
        let name = if response.status == "incomplete" { "response.incomplete" } else { "response.completed" };
        self.event(name, json!({"response": response}))
    }
}

/// Where a text stands within the output.
struct Place {
    item: String,
    output: usize,
}

impl Place {
    fn with(&self, mut fields: Value) -> Value {
        if let Value::Object(fields) = &mut fields {
            fields.insert("item_id".into(), json!(self.item));
            fields.insert("output_index".into(), json!(self.output));
            fields.insert("content_index".into(), json!(0));
        }
        fields
    }
}

fn empty_text() -> OutputText {
    OutputText { kind: "output_text", text: String::new(), annotations: Vec::new(), logprobs: Vec::new() }
}

/// The model's own answer as it is generated.
pub(super) struct PlainFormat {
    sequence: Sequence,
    /// Taken when the stream ends.
    response: Option<ResponseObject>,
    place: Place,
    text: String,
    finish_reason: &'static str,
}

impl PlainFormat {
    pub(super) fn new(response: ResponseObject) -> Self {
        let place = Place { item: new_id("msg_"), output: 0 };
        Self { sequence: Sequence(0), response: Some(response), place, text: String::new(), finish_reason: "stop" }
    }
}

impl ChunkFormat for PlainFormat {
    fn opening(&mut self, _index: u32) -> Vec<Event> {
        let mut events = self.response.as_ref().map(|response| self.sequence.begun(response)).unwrap_or_default();
        events.extend(self.sequence.message_opens(&self.place));
        events
    }

    fn delta(&mut self, _index: u32, text: String, _tokens: &[TokenLogprob]) -> Option<Event> {
        self.text.push_str(&text);
        (!text.is_empty()).then(|| self.sequence.delta(&self.place, &text))
    }

    fn finish(&mut self, _index: u32, reason: &'static str) -> Option<Event> {
        self.finish_reason = reason;
        None
    }

    fn closing(&mut self, usage: Usage) -> Vec<Event> {
        let Some(response) = self.response.take() else { return Vec::new() };
        let text = OutputText { text: std::mem::take(&mut self.text), ..empty_text() };
        let response = ended(response, self.place.item.clone(), text.clone(), self.finish_reason, usage);
        let mut events = match response.output.first() {
            Some(item) => self.sequence.message_closes(&self.place, &text, item),
            None => Vec::new(),
        };
        events.push(self.sequence.ended(&response));
        events
    }

    fn failed(&mut self, error: &ApiError) -> Event {
        match self.response.take() {
            Some(response) => self.sequence.failed(response, error),
            None => sse::error(error),
        }
    }
}

/// An answer from documents: the search shows at once, the text when it is checked. Text that may still fail its check is
/// never sent.
pub(super) fn from_documents(
    response: ResponseObject,
    ask: Ask,
    include_results: bool,
) -> impl Stream<Item = Event> + Send + 'static {
    let mut sequence = Sequence(0);
    let call_id = new_id("fs_");
    let mut events = sequence.begun(&response);
    let queries = vec![ask.question.clone()];
    let call = OutputItem::FileSearchCall { id: call_id.clone(), status: "in_progress", queries, results: None };
    events.push(sequence.event("response.output_item.added", json!({"output_index": 0, "item": call})));
    for name in ["response.file_search_call.in_progress", "response.file_search_call.searching"] {
        events.push(sequence.event(name, json!({"item_id": call_id, "output_index": 0})));
    }
    let rest = async move {
        let question = ask.question.clone();
        match ask.answer().await {
            Ok((answer, usage)) => {
                let response = cited(response, call_id.clone(), question, answer, usage, include_results);
                stream::iter(answered(sequence, &call_id, &response))
            }
            Err(error) => stream::iter(vec![sequence.failed(response, &error)]),
        }
    };
    stream::iter(events).chain(stream::once(rest).flatten())
}

/// The events behind a search, once its answer is known.
fn answered(mut sequence: Sequence, call_id: &str, response: &ResponseObject) -> Vec<Event> {
    let mut events =
        vec![sequence.event("response.file_search_call.completed", json!({"item_id": call_id, "output_index": 0}))];
    for (index, item) in response.output.iter().enumerate() {
        match item {
            OutputItem::FileSearchCall { .. } => {
                let fields = json!({"output_index": index, "item": item});
                events.push(sequence.event("response.output_item.done", fields));
            }
            OutputItem::Message { id, content, .. } => {
                let place = Place { item: id.clone(), output: index };
                events.extend(sequence.message_opens(&place));
                for text in content {
                    events.push(sequence.delta(&place, &text.text));
                    for (number, annotation) in text.annotations.iter().enumerate() {
                        let fields = json!({"annotation_index": number, "annotation": annotation});
                        events.push(sequence.event("response.output_text.annotation.added", place.with(fields)));
                    }
                    events.extend(sequence.message_closes(&place, text, item));
                }
            }
        }
    }
    events.push(sequence.ended(response));
    events
}

//! Log probabilities in the two wire shapes. Only formatting.

use crate::openai::chat::{ChatLogprobs, ChatTokenLogprob, ChatTopLogprob};
use crate::openai::completions::CompletionLogprobs;
use sconce_engine::{TokenLogprob, Tokenizer};
use serde_json::{Map, json};

/// What stands for a probability of zero: JSON has no infinity, and OpenAI sends this number.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

/// A token's text and bytes. Control tokens add nothing to the text; they show under their name.
fn shown(tokenizer: &Tokenizer, id: u32) -> (String, Vec<u8>) {
    match tokenizer.token_bytes(id) {
        Some(bytes) if !bytes.is_empty() => (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec()),
        _ => (tokenizer.token_text(id).unwrap_or_default().to_owned(), Vec::new()),
    }
}

/// Chat's shape.
pub(crate) fn chat(tokenizer: &Tokenizer, tokens: &[TokenLogprob]) -> ChatLogprobs {
    let entry = |token: &TokenLogprob| {
        let (text, bytes) = shown(tokenizer, token.id);
        let alternative = |&(id, logprob): &(u32, f32)| {
            let (token, bytes) = shown(tokenizer, id);
            ChatTopLogprob { token, logprob: finite(logprob), bytes }
        };
        ChatTokenLogprob {
            token: text,
            logprob: finite(token.logprob.unwrap_or(IMPOSSIBLE)),
            bytes,
            top_logprobs: token.top.iter().map(alternative).collect(),
        }
    };
    ChatLogprobs { content: tokens.iter().map(entry).collect(), refusal: None }
}

/// The shape of completions. `offset` counts the characters of the tokens so far, and is moved on.
pub(crate) fn completion(tokenizer: &Tokenizer, tokens: &[TokenLogprob], offset: &mut usize) -> CompletionLogprobs {
    let mut logprobs = CompletionLogprobs::default();
    for token in tokens {
        let (text, _) = shown(tokenizer, token.id);
        logprobs.text_offset.push(*offset);
        *offset += text.chars().count();
        logprobs.tokens.push(text);
        logprobs.token_logprobs.push(finite(token.logprob.unwrap_or(IMPOSSIBLE)));
        let mut top = Map::new();
        for &(id, logprob) in &token.top {
            // Two tokens may show the same text; the likelier one, which comes first, stays.
            top.entry(shown(tokenizer, id).0).or_insert_with(|| json!(finite(logprob)));
        }
        logprobs.top_logprobs.push(top);
    }
    logprobs
}

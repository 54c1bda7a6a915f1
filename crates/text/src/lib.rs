//! Text to tokens and back: tokenizers, detokenizer, stop strings, chat templates.
//! Knows no GGUF, no tensor and no request: everything comes in as plain data and goes out as plain data.
//!
//! Invariants: encoding is close to linear in the text; whatever a detokenizer emits is whole UTF-8 characters and is
//! never taken back; a template cannot run or write without a bound.

mod byte_alphabet;
mod byte_pair;
mod detokenizer;
mod hugging_face;
mod merge;
mod pre_tokenizer;
mod sentencepiece;
mod stop;
mod template;
mod tokenizer;
mod vocabulary;

pub use detokenizer::{Detokenizer, Piece};
pub use hugging_face::HuggingFaceTokenizer;
pub use template::{ChatTemplate, Conversation, TemplateError};
pub use tokenizer::{Special, Tokenizer};
pub use vocabulary::{SpacePrefix, Strip, TokenizerError, VocabularyModel, VocabularySpec};

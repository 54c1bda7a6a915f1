//! Text to tokens and back: tokenizers, detokenizer, stop strings, chat templates.

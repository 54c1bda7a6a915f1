//! Tokens to text as they are generated: whole characters only, stop strings across token borders.
//! Nothing here knows a request or a channel.

use std::sync::Arc;

use crate::stop::StopStrings;
use crate::tokenizer::Tokenizer;

/// What one token lets out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// Text that is certain now; often empty.
    pub text: String,
    /// Index of the stop string that ended the text. Set from then on.
    pub stopped: Option<usize>,
}

/// The text of one answer in the making. What it emits continues the prompt, so the first token keeps its space.
///
/// ```text
/// tokens -> [ unfinished: bytes of half a character ] -> [ held: might begin a stop string ] -> emitted
/// ```
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    stops: StopStrings,
    include_stop: bool,
    /// At most three bytes: the beginning of a character.
    unfinished: Vec<u8>,
    held: String,
    stopped: Option<usize>,
}

impl Detokenizer {
    /// Starts an answer that ends before the first of `stop` (empty strings stop nothing), or after it when
    /// `include_stop` is set.
    pub fn new(tokenizer: Arc<Tokenizer>, stop: Vec<String>, include_stop: bool) -> Self {
        Self {
            tokenizer,
            stops: StopStrings::new(stop),
            include_stop,
            unfinished: Vec::new(),
            held: String::new(),
            stopped: None,
        }
    }

    /// Takes the next token. After a stop, tokens add nothing. An id that does not exist adds nothing.
    pub fn push(&mut self, token: u32) -> Piece {
        if self.stopped.is_none() {
            self.unfinished.extend_from_slice(self.tokenizer.token_bytes(token).unwrap_or_default());
            take_characters(&mut self.unfinished, &mut self.held);
            return self.release(false);
        }
        Piece { text: String::new(), stopped: self.stopped }
    }

    /// Ends the answer and lets out what was held. Half a character becomes U+FFFD. Afterwards there is nothing left.
    pub fn finish(&mut self) -> String {
        if self.stopped.is_some() {
            return String::new();
        }
        if !self.unfinished.is_empty() {
            self.unfinished.clear();
            self.held.push(char::REPLACEMENT_CHARACTER);
        }
        self.release(true).text
    }

    /// Index of the stop string that ended the text, which may happen as late as in [`Self::finish`].
    pub fn stopped(&self) -> Option<usize> {
        self.stopped
    }

    fn release(&mut self, everything: bool) -> Piece {
        if let Some(found) = self.stops.find(&self.held) {
            self.held.truncate(if self.include_stop { found.end } else { found.start });
            self.stopped = Some(found.index);
            self.unfinished.clear();
            return Piece { text: std::mem::take(&mut self.held), stopped: self.stopped };
        }
        let kept = if everything { 0 } else { self.stops.held(&self.held) };
        let rest = self.held.split_off(self.held.len() - kept);
        Piece { text: std::mem::replace(&mut self.held, rest), stopped: None }
    }
}

/// Moves the characters that are complete from `bytes` to `text`; bytes that cannot become one are U+FFFD, as many as
/// `String::from_utf8_lossy` makes of them. At most three bytes stay.
fn take_characters(bytes: &mut Vec<u8>, text: &mut String) {
    loop {
        match std::str::from_utf8(bytes) {
            Ok(valid) => {
                text.push_str(valid);
                bytes.clear();
                return;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(std::str::from_utf8(&bytes[..valid]).unwrap_or_default());
                let Some(invalid) = error.error_len() else {
                    bytes.drain(..valid);
                    return;
                };
                text.push(char::REPLACEMENT_CHARACTER);
                bytes.drain(..valid + invalid);
            }
        }
    }
}

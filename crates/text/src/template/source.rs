//! What a template's source may be before the engine compiles it: so long, and so many tokens to a tag. And the marks in it
//! that mean nothing here.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::{TemplateError, syntax_error};

/// Bytes of a source; the longest that we know of have 20 KB.
const BYTES_LIMIT: usize = 64 << 10;
/// Tokens between the marks of a tag; the longest of published templates have some two hundred. The engine recurses once per
/// link of a chain (`- - - x`), and takes time with the square of its length.
const TAG_TOKENS_LIMIT: usize = 1000;

/// Refuses what would take the engine too much time or stack to compile.
///
/// # Errors
/// [`TemplateError::SourceTooLong`], [`TemplateError::TagTooLong`], or [`TemplateError::Syntax`] for what is no token.
pub(super) fn check(source: &str, syntax: SyntaxConfig) -> Result<(), TemplateError> {
    if source.len() > BYTES_LIMIT {
        return Err(TemplateError::SourceTooLong { bytes: source.len(), limit: BYTES_LIMIT });
    }
    let mut tokens = 0;
    // The engine's own tokens: a scanner of ours could be led to see other tags than the engine does.
    for token in tokenize(source, false, syntax) {
        let (token, span) = token.map_err(|error| syntax_error(&error))?;
        tokens += 1;
        if matches!(token, Token::VariableStart | Token::BlockStart | Token::TemplateData(_)) {
            tokens = 0;
        }
        if tokens > TAG_TOKENS_LIMIT {
            return Err(TemplateError::TagTooLong { line: span.start_line as usize, limit: TAG_TOKENS_LIMIT });
        }
    }
    Ok(())
}

/// transformers marks the assistant's words with `{% generation %}` for training; here the marks mean nothing.
pub(super) fn without_generation_marks(source: &str) -> String {
    let mut rest = source;
    let mut result = String::with_capacity(source.len());
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        result.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let word = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match word {
            "generation" => result.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => result.push_str(&tag.replace("endgeneration", "endif")),
            _ => result.push_str(tag),
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

//! Cuts a document into chunks: by section, bounded in words and bytes, each a slice of the source text, with the units (sentences,
//! items, rows) that an answer can quote. No storage and no ranking.

use std::ops::Range;

use crate::parse::{BlockKind, Document, Section};
use crate::sentence::{sentences, trim};
use crate::{RagError, Result};

/// Words of a chunk at most.
pub const MAX_CHUNK_WORDS: usize = 220;

/// Bytes of a chunk at most, for text that has long words or none: writing without spaces, encoded data.
pub const MAX_CHUNK_BYTES: usize = 4 << 10;

/// A chunk of at least this many words ends at the next block that would not fit, rather than inside it.
const COMFORTABLE_WORDS: usize = 110;

/// A row or item longer than this is cut into sentences: answers to questions stand in rows too.
const MAX_UNIT_WORDS: usize = 60;

/// Chunks that one document may have; the store numbers them in 16 bits.
pub(crate) const MAX_CHUNKS: usize = 20_000;

/// A stretch of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Headings above it, joined by ` › `; empty before the first.
    pub section: String,
    /// Byte range of the document's text; the chunk's text is that slice.
    pub span: Range<usize>,
    /// In order, without overlap, inside `span`.
    pub units: Vec<Unit>,
}

/// The smallest piece that can be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: UnitKind,
    /// Byte range of the document's text.
    pub span: Range<usize>,
}

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// A sentence.
    Sentence,
    /// An item of a list.
    Item,
    /// A row of a table, or a label with its value.
    Row,
    /// The head of a table, which is no statement by itself.
    TableHead,
}

/// Cuts a document; `file` names it in the error.
///
/// # Errors
/// [`RagError::TooManyChunks`] above 20,000 chunks.
pub fn chunk_document(file: &str, document: &Document) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for section in &document.sections {
        cut_section(&document.text, section, &mut chunks);
        if chunks.len() > MAX_CHUNKS {
            return Err(RagError::TooManyChunks { file: file.to_owned(), limit: MAX_CHUNKS });
        }
    }
    Ok(chunks)
}

fn cut_section(text: &str, section: &Section, chunks: &mut Vec<Chunk>) {
    let name = section.path.join(" › ");
    let mut open: Vec<Unit> = Vec::new();
    let mut open_words = 0;
    let mut close = |units: &mut Vec<Unit>| {
        if let (Some(first), Some(last)) = (units.first(), units.last()) {
            let span = first.span.start..last.span.end;
            chunks.push(Chunk { section: name.clone(), span, units: std::mem::take(units) });
        }
    };
    for block in &section.blocks {
        let units = units_of_block(text, block.kind, block.span.clone());
        let block_words: usize = units.iter().map(|unit| count_words(text, &unit.span)).sum();
        let crowded = open_words >= COMFORTABLE_WORDS && open_words + block_words > MAX_CHUNK_WORDS;
        if block.after_gap || crowded {
            close(&mut open);
            open_words = 0;
        }
        for unit in units {
            let words = count_words(text, &unit.span);
            let start = open.first().map_or(unit.span.start, |first| first.span.start);
            if open_words + words > MAX_CHUNK_WORDS || unit.span.end - start > MAX_CHUNK_BYTES {
                close(&mut open);
                open_words = 0;
            }
            open_words += words;
            open.push(unit);
        }
    }
    close(&mut open);
}

fn units_of_block(text: &str, kind: BlockKind, span: Range<usize>) -> Vec<Unit> {
    let kind = match kind {
        BlockKind::Paragraph => UnitKind::Sentence,
        BlockKind::Item => UnitKind::Item,
        BlockKind::Row => UnitKind::Row,
        BlockKind::TableHead => UnitKind::TableHead,
    };
    let is_short = span.len() <= MAX_CHUNK_BYTES && count_words(text, &span) <= MAX_UNIT_WORDS;
    if kind != UnitKind::Sentence && is_short {
        return vec![Unit { kind, span }];
    }
    let kind = if kind == UnitKind::TableHead { kind } else { UnitKind::Sentence };
    sentences(&text[span.clone()])
        .into_iter()
        .flat_map(|sentence| cut_long(text, span.start + sentence.start..span.start + sentence.end))
        .map(|span| Unit { kind, span })
        .collect()
}

/// A sentence that would not fit into one chunk falls into runs of words that do. A word that would not is cut between two
/// characters.
fn cut_long(text: &str, span: Range<usize>) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut words, mut word) = (span.start, 0, None);
    let mut cut = |from: usize, at: usize| {
        pieces.push(trim(text, from..at));
        at
    };
    for (offset, character) in text[span.clone()].char_indices() {
        let at = span.start + offset;
        let begins = !character.is_whitespace() && word.is_none();
        if begins && words == MAX_CHUNK_WORDS {
            (start, words) = (cut(start, at), 0);
        }
        while at + character.len_utf8() - start > MAX_CHUNK_BYTES {
            start = cut(start, word.filter(|word| *word > start).unwrap_or(at));
            words = usize::from(word.is_some());
        }
        words += usize::from(begins);
        word = if character.is_whitespace() { None } else { word.or(Some(at)) };
    }
    cut(start, span.end);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn count_words(text: &str, span: &Range<usize>) -> usize {
    text[span.clone()].split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParseLimits, parse_document};

    fn chunks_of(markdown: &str) -> (Document, Vec<Chunk>) {
        let document = parse_document("a.md", markdown.as_bytes(), &ParseLimits::default()).expect("parses");
        let chunks = chunk_document("a.md", &document).expect("chunks");
        (document, chunks)
    }

    #[test]
    fn a_section_gives_its_own_chunks() {
        let (document, chunks) = chunks_of("# T\n\n## A\n\nOne. Two.\n\n## B\n\n- three\n- four\n");
        let found: Vec<_> = chunks
            .iter()
            .map(|chunk| (chunk.section.as_str(), &document.text[chunk.span.clone()], chunk.units.len()))
            .collect();
        assert_eq!(found, [("A", "One. Two.", 2), ("B", "three\n- four", 2)]);
    }

    #[test]
    fn no_chunk_has_more_words_than_the_bound() {
        let (document, chunks) =
            chunks_of(&format!("# T\n\n{}\n\n{}", "word ".repeat(1_000), "A short one. ".repeat(300)));
        assert!(chunks.len() > 5);
        for chunk in &chunks {
            assert!(document.text[chunk.span.clone()].split_whitespace().count() <= MAX_CHUNK_WORDS);
        }
    }

    #[test]
    fn no_chunk_has_more_bytes_than_the_bound_and_no_letter_is_lost() {
        // Words without end, words of many bytes, a row of both, and writing without spaces.
        for body in ["é".repeat(9_000), format!("{} ", "long".repeat(80)).repeat(60), "面包师每天做面包".repeat(500)]
        {
            for markdown in [format!("# T\n\nAn apple. {body}\n"), format!("# T\n\n* {body}\n* next\n")] {
                let (document, chunks) = chunks_of(&markdown);
                let pieces: Vec<&str> = chunks.iter().map(|chunk| &document.text[chunk.span.clone()]).collect();
                assert!(pieces.iter().all(|piece| piece.len() <= MAX_CHUNK_BYTES));
                let letters = |text: &str| text.chars().filter(|character| character.is_alphabetic()).count();
                assert_eq!(pieces.iter().map(|piece| letters(piece)).sum::<usize>(), letters(&markdown) - 1);
            }
        }
    }

    #[test]
    fn two_units_far_apart_are_two_chunks() {
        let (_, chunks) = chunks_of(&format!("# T\n\nBefore.{}After.\n", "\n".repeat(10_000)));
        assert_eq!(chunks.len(), 2);
    }

    #[test]
    fn a_chunk_does_not_reach_across_what_was_left_out() {
        let (document, chunks) = chunks_of("# T\n\n## A\n\nBefore.\n\nPlease enable javascript to play.\n\nAfter.\n");
        let found: Vec<_> = chunks.iter().map(|chunk| &document.text[chunk.span.clone()]).collect();
        assert_eq!(found, ["Before.", "After."]);
    }
}

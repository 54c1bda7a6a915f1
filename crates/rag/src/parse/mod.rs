//! Files become documents: a source text, and sections of blocks that are byte ranges of it. One parser per format; the
//! limits on bytes and depth are checked here. Knows no store and no ranking.

mod furniture;
mod html;
mod html_facts;
mod html_tree;
mod markdown;
mod text;

use std::ops::Range;
use std::sync::Arc;

use crate::chunk::MAX_CHUNKS;
use crate::{RagError, Result};

/// Characters of a source address or of a date; a longer one is none.
const MAX_FIELD_CHARACTERS: usize = 500;

/// What a document may measure at most.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// Bytes of the file.
    pub max_bytes: usize,
    /// Elements of an HTML page inside each other.
    pub max_depth: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { max_bytes: 8 << 20, max_depth: 256 }
    }
}

/// A parsed document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its title: the first top heading, or what the format says, or else the file's name without its ending.
    pub title: String,
    /// Where it was published, if it says so.
    pub source: Option<String>,
    /// The date it gives itself, as it writes it.
    pub date: Option<String>,
    /// The canonical source text, which every span points into: the file itself for Markdown and text (without a byte
    /// order mark), the extracted text for HTML.
    pub text: String,
    /// Sections in reading order.
    pub sections: Vec<Section>,
}

/// The blocks below one heading, up to the next heading of any level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Headings from the outermost to its own, shared with the sections beside it; empty before the first heading.
    pub path: Vec<Arc<str>>,
    /// At least one, in reading order; spans ascend and do not overlap.
    pub blocks: Vec<Block>,
}

/// A paragraph, list item or table row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Byte range of [`Document::text`].
    pub span: Range<usize>,
    /// Whether something between it and the block before was left out, so that no chunk may span both.
    pub after_gap: bool,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Prose: it is cut into sentences.
    Paragraph,
    /// One item of a list: a unit, however many sentences it has.
    Item,
    /// One row of a table, a term with its definition, or a label with its value: a unit.
    Row,
    /// The head of a table: indexed, never quoted alone.
    TableHead,
}

/// Parses `bytes` by the ending of `file`.
///
/// # Errors
/// [`RagError::UnsupportedFormat`], [`RagError::TooLarge`], [`RagError::Binary`], [`RagError::NotUtf8`],
/// [`RagError::Utf16`], [`RagError::TooDeep`], [`RagError::Overgrown`], [`RagError::TooManyChunks`] for more sections than
/// chunks are allowed, and [`RagError::NoText`] where nothing is left to index.
pub fn parse_document(file: &str, bytes: &[u8], limits: &ParseLimits) -> Result<Document> {
    let format = Format::of(file).ok_or_else(|| RagError::UnsupportedFormat { file: file.to_owned() })?;
    let text = decode(file, bytes, limits)?;
    let stem = file_stem(file);
    let document = match format {
        Format::Markdown => markdown::parse(text, &stem),
        Format::Text => text::parse(text, &stem),
        Format::Html => html::parse(text, &stem, limits.max_depth).map_err(|fault| match fault {
            html_tree::Fault::TooDeep => RagError::TooDeep { file: file.to_owned(), limit: limits.max_depth },
            html_tree::Fault::Overgrown => RagError::Overgrown { file: file.to_owned(), bytes: text.len() },
        })?,
    };
    if document.sections.is_empty() {
        return Err(RagError::NoText { file: file.to_owned() });
    }
    if document.sections.len() > MAX_CHUNKS {
        return Err(RagError::TooManyChunks { file: file.to_owned(), limit: MAX_CHUNKS });
    }
    Ok(document)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Markdown,
    Text,
    Html,
}

impl Format {
    fn of(file: &str) -> Option<Self> {
        let (_, extension) = file.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "md" | "markdown" => Some(Self::Markdown),
            "txt" | "text" => Some(Self::Text),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

/// Whether a parser exists for a file of this name.
pub(crate) fn is_supported(file: &str) -> bool {
    Format::of(file).is_some()
}

fn decode<'a>(file: &str, bytes: &'a [u8], limits: &ParseLimits) -> Result<&'a str> {
    if bytes.len() > limits.max_bytes {
        return Err(RagError::TooLarge {
            file: file.to_owned(),
            bytes: bytes.len() as u64,
            limit: limits.max_bytes as u64,
        });
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(RagError::Utf16 { file: file.to_owned() });
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(RagError::Binary { file: file.to_owned(), offset });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| RagError::NotUtf8 { file: file.to_owned(), offset: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(RagError::NoText { file: file.to_owned() });
    }
    Ok(text)
}

/// `senior-baker` for `roles/senior-baker.md`, with spaces for its dashes.
fn file_stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.replace(['-', '_'], " ")
}

/// Collects headings and blocks into sections, and leaves site furniture out.
struct Outline<'a> {
    text: &'a str,
    title: Option<String>,
    source: Option<String>,
    date: Option<String>,
    sections: Vec<Section>,
    path: Vec<(u8, Arc<str>)>,
    /// Whether the last section is the one below `path`: a section begins with its first block.
    begun: bool,
    gap: bool,
    /// Where the last block ends.
    end: usize,
}

impl<'a> Outline<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            title: None,
            source: None,
            date: None,
            sections: Vec::new(),
            path: Vec::new(),
            begun: false,
            gap: false,
            end: 0,
        }
    }

    /// A heading of `level` 1 to 6. The first one of level 1 is the title and stands in no path.
    fn heading(&mut self, level: u8, text: &str) {
        let text = furniture::heading(text);
        if text.is_empty() {
            return;
        }
        self.gap = false;
        self.begun = false;
        if level == 1 && self.title.is_none() {
            self.title = Some(text);
            self.path.clear();
        } else {
            self.path.retain(|(above, _)| *above < level);
            self.path.push((level, text.into()));
        }
    }

    /// A block at `span` of the text, which must not begin before the last one ends. Furniture becomes a gap; blocks without
    /// a letter or digit, and those of a document that has too many sections already, are passed over.
    fn block(&mut self, kind: BlockKind, span: Range<usize>) {
        let span = crate::sentence::trim(self.text, span);
        let slice = &self.text[span.clone()];
        if span.start < self.end {
            tracing::debug!(?span, end = self.end, "a block inside the one before it is not taken twice");
            return;
        }
        if !slice.chars().any(char::is_alphanumeric) {
            return;
        }
        if furniture::is_furniture(slice) {
            self.gap = true;
            return;
        }
        if self.path.is_empty() && kind == BlockKind::Paragraph && self.metadata(slice) {
            self.gap = true;
            return;
        }
        if self.sections.len() > MAX_CHUNKS {
            return;
        }
        self.end = span.end;
        let block = Block { kind, span, after_gap: std::mem::take(&mut self.gap) };
        match self.sections.last_mut().filter(|_| self.begun) {
            Some(section) => section.blocks.push(block),
            None => {
                let path = self.path.iter().map(|(_, heading)| Arc::clone(heading)).collect();
                self.sections.push(Section { path, blocks: vec![block] });
                self.begun = true;
            }
        }
    }

    /// Takes a paragraph of `Source: …` and `Date: …` lines; false when it is anything else.
    fn metadata(&mut self, slice: &str) -> bool {
        let mut fields = Vec::new();
        for line in slice.lines() {
            match furniture::metadata_line(line) {
                Some(field) => fields.push(field),
                None => return false,
            }
        }
        for (name, value) in fields {
            self.field(name, value);
        }
        true
    }

    /// Something that the document says of itself, unless it said so before. A title is bounded like every heading; an
    /// address that is cut leads nowhere, so one that is too long is left out.
    fn field(&mut self, name: furniture::Field, value: &str) {
        let fits = value.chars().nth(MAX_FIELD_CHARACTERS).is_none();
        let (slot, value) = match name {
            furniture::Field::Title => (&mut self.title, furniture::heading(value)),
            furniture::Field::Source if fits => (&mut self.source, value.to_owned()),
            furniture::Field::Date if fits => (&mut self.date, value.to_owned()),
            furniture::Field::Source | furniture::Field::Date => return,
        };
        if slot.is_none() && !value.is_empty() {
            *slot = Some(value);
        }
    }

    fn finish(self, file_stem: &str) -> Document {
        Document {
            title: self.title.unwrap_or_else(|| file_stem.to_owned()),
            source: self.source,
            date: self.date,
            text: self.text.to_owned(),
            sections: self.sections,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document> {
        parse_document("a.md", text.as_bytes(), &ParseLimits::default())
    }

    #[test]
    fn headings_over_nothing_cost_nothing_and_share_what_stands_above_them() {
        let above: String = (1..6).map(|level| format!("{} {}\n", "#".repeat(level), "above ".repeat(30))).collect();
        let document = parse(&format!("# T\n{above}{}Text.\n", "###### Below\n".repeat(50_000))).expect("one section");
        assert_eq!((document.sections.len(), document.sections[0].path.len()), (1, 6));
        let document = parse("# T\n## A\n### B\n\nOne.\n\n### C\n\nTwo.\n").expect("two sections");
        let [first, second] = &document.sections[..] else { panic!("{:?}", document.sections) };
        assert!(Arc::ptr_eq(&first.path[0], &second.path[0]));
    }

    #[test]
    fn more_sections_than_chunks_are_allowed_are_refused_before_they_are_kept() {
        let text = "# T\n## A\n\nOne.\n".to_owned() + &"## A\n\nOne.\n".repeat(MAX_CHUNKS);
        assert!(matches!(parse(&text), Err(RagError::TooManyChunks { limit: MAX_CHUNKS, .. })));
        let mut outline = Outline::new(&text);
        for (at, _) in text.match_indices("One.") {
            outline.heading(2, "A");
            outline.block(BlockKind::Paragraph, at..at + 4);
            outline.block(BlockKind::Paragraph, at..at + 2);
        }
        assert_eq!(outline.sections.len(), MAX_CHUNKS + 1);
        assert!(outline.sections.iter().all(|section| section.blocks.len() == 1));
    }
}

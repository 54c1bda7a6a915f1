//! Files become documents: a source text, and sections of blocks that are byte ranges of it. One parser per format; the
//! limits on bytes and depth are checked here. Knows no store and no ranking.

mod furniture;
mod html;
mod html_facts;
mod html_tree;
mod markdown;
mod text;

use std::ops::Range;

use crate::{RagError, Result};

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
    /// Headings from the outermost to its own; empty before the first heading.
    pub path: Vec<String>,
    /// In reading order; spans ascend and do not overlap.
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
/// [`RagError::Utf16`], [`RagError::TooDeep`], [`RagError::Overgrown`], and [`RagError::NoText`] where nothing is left to index.
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
    if document.sections.iter().all(|section| section.blocks.is_empty()) {
        return Err(RagError::NoText { file: file.to_owned() });
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
    path: Vec<(u8, String)>,
    gap: bool,
}

impl<'a> Outline<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            title: None,
            source: None,
            date: None,
            sections: vec![Section { path: Vec::new(), blocks: Vec::new() }],
            path: Vec::new(),
            gap: false,
        }
    }

    /// A heading of `level` 1 to 6. The first one of level 1 is the title and stands in no path.
    fn heading(&mut self, level: u8, text: &str) {
        let text = furniture::heading(text);
        if text.is_empty() {
            return;
        }
        self.gap = false;
        if level == 1 && self.title.is_none() {
            self.title = Some(text);
            self.path.clear();
        } else {
            self.path.retain(|(above, _)| *above < level);
            self.path.push((level, text));
        }
        let path = self.path.iter().map(|(_, heading)| heading.clone()).collect();
        self.sections.push(Section { path, blocks: Vec::new() });
    }

    /// A block at `span` of the text; furniture and blocks without a letter or digit become a gap.
    fn block(&mut self, kind: BlockKind, span: Range<usize>) {
        let span = crate::sentence::trim(self.text, span);
        let slice = &self.text[span.clone()];
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
        if let Some(section) = self.sections.last_mut() {
            section.blocks.push(Block { kind, span, after_gap: self.gap });
            self.gap = false;
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

    fn field(&mut self, name: furniture::Field, value: &str) {
        let slot = match name {
            furniture::Field::Title => &mut self.title,
            furniture::Field::Source => &mut self.source,
            furniture::Field::Date => &mut self.date,
        };
        if slot.is_none() && !value.is_empty() {
            *slot = Some(value.to_owned());
        }
    }

    fn finish(mut self, file_stem: &str) -> Document {
        self.sections.retain(|section| !section.blocks.is_empty());
        Document {
            title: self.title.unwrap_or_else(|| file_stem.to_owned()),
            source: self.source,
            date: self.date,
            text: self.text.to_owned(),
            sections: self.sections,
        }
    }
}

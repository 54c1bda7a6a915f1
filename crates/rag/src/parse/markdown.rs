//! Markdown with tables and definition lists, by pulldown-cmark's byte offsets. The file is the source text.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{BlockKind, Document, Outline, furniture};

pub(super) fn parse(text: &str, file_stem: &str) -> Document {
    let options = Options::ENABLE_TABLES | Options::ENABLE_DEFINITION_LIST | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut walker = Walker {
        outline: Outline::new(text),
        inline: None,
        whole: None,
        heading: None,
        front_matter: false,
        item_depth: 0,
        definition: None,
        columns: 0,
    };
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        walker.event(&event, range);
    }
    walker.flush();
    walker.outline.finish(file_stem)
}

struct Walker<'a> {
    outline: Outline<'a>,
    /// Range of the inline content since the last block boundary.
    inline: Option<Range<usize>>,
    /// Set inside a block that is taken whole (row, definition, code, raw HTML), with how many of its kind are open there:
    /// its inline content is not collected, and what is nested in it is part of it.
    whole: Option<(TagEnd, usize)>,
    heading: Option<(u8, String)>,
    front_matter: bool,
    item_depth: usize,
    /// Start of the term whose definition is being read.
    definition: Option<usize>,
    /// Columns of the table being read.
    columns: usize,
}

impl Walker<'_> {
    fn event(&mut self, event: &Event<'_>, range: Range<usize>) {
        if let Some((end, open)) = &mut self.whole {
            match event {
                Event::Start(tag) if tag.to_end() == *end => *open += 1,
                Event::End(tag) if tag == end => *open -= 1,
                _ => {}
            }
            if *open == 0 {
                self.whole = None;
            }
            return;
        }
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(*tag),
            Event::Text(text) | Event::Code(text) => {
                if self.front_matter {
                    for line in text.lines() {
                        if let Some((field, value)) = furniture::metadata_line(line) {
                            self.outline.field(field, value);
                        }
                    }
                } else if let Some((_, heading)) = &mut self.heading {
                    heading.push_str(text);
                } else {
                    self.extend(range);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, heading)) = &mut self.heading {
                    heading.push(' ');
                }
            }
            Event::Rule => self.flush(),
            // Markup within a heading is not part of its text.
            _ if self.heading.is_some() => {}
            _ => self.extend(range),
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        if is_inline(tag) {
            if self.heading.is_none() {
                self.extend(range);
            }
            return;
        }
        self.flush();
        match tag {
            Tag::Heading { level, .. } => self.heading = Some((level_number(*level), String::new())),
            Tag::MetadataBlock(_) => self.front_matter = true,
            Tag::Item => self.item_depth += 1,
            Tag::TableHead => self.take_row(BlockKind::TableHead, range, TagEnd::TableHead),
            Tag::TableRow => self.take_row(BlockKind::Row, range, TagEnd::TableRow),
            Tag::DefinitionListTitle => {
                self.definition = Some(range.start);
                self.whole = Some((TagEnd::DefinitionListTitle, 1));
            }
            Tag::DefinitionListDefinition => {
                let start = self.definition.take().unwrap_or(range.start);
                self.outline.block(BlockKind::Row, start..range.end);
                self.whole = Some((TagEnd::DefinitionListDefinition, 1));
            }
            Tag::CodeBlock(_) => {
                self.outline.block(BlockKind::Paragraph, range);
                self.whole = Some((TagEnd::CodeBlock, 1));
            }
            Tag::HtmlBlock => {
                self.outline.gap = true;
                self.whole = Some((TagEnd::HtmlBlock, 1));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                if let Some((level, text)) = self.heading.take() {
                    self.outline.heading(level, &text);
                }
            }
            TagEnd::MetadataBlock(_) => self.front_matter = false,
            TagEnd::Item => {
                self.flush();
                self.item_depth = self.item_depth.saturating_sub(1);
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link | TagEnd::Image => {}
            _ => self.flush(),
        }
    }

    /// A table row, without the pipes at its ends. A row with most of its cells empty, in a table of three columns or more,
    /// is a second head or a note across the table.
    fn take_row(&mut self, kind: BlockKind, range: Range<usize>, end: TagEnd) {
        let slice = &self.outline.text[range.clone()];
        let is_edge = |character: char| character == '|' || character.is_whitespace();
        let start = range.start + (slice.len() - slice.trim_start_matches(is_edge).len());
        let length = slice.trim_matches(is_edge).len();
        if kind == BlockKind::TableHead {
            self.columns = slice.trim().trim_matches('|').split('|').count();
        }
        let filled = slice.split('|').filter(|cell| !cell.trim().is_empty()).count();
        let is_head = kind == BlockKind::TableHead || (self.columns >= 3 && filled * 2 < self.columns);
        let kind = if is_head { BlockKind::TableHead } else { kind };
        self.outline.block(kind, start..start + length);
        self.whole = Some((end, 1));
    }

    fn extend(&mut self, range: Range<usize>) {
        self.inline = Some(match self.inline.take() {
            Some(open) => open.start.min(range.start)..open.end.max(range.end),
            None => range,
        });
    }

    fn flush(&mut self) {
        if let Some(range) = self.inline.take() {
            let kind = if self.item_depth > 0 { BlockKind::Item } else { BlockKind::Paragraph };
            self.outline.block(kind, range);
        }
    }
}

fn is_inline(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Emphasis
            | Tag::Strong
            | Tag::Strikethrough
            | Tag::Link { .. }
            | Tag::Image { .. }
            | Tag::Superscript
            | Tag::Subscript
    )
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Bakers\n\nSource: https://example.org/bakers\nDate: 2025-08-28\n\n## Summary\n\nPlease enable \
        javascript to play this video.\n\n| Quick Facts: Bakers | |\n| --- | --- |\n| 2024 Median Pay | $36,650 per year |\n\n\
        ### Pay About this section\n\nThe median wage was **$36,650**.\n\n* Bake *bread*\n* Clean up\n\nBakers\n:   $36,650\n\n<- Summary\n";

    fn blocks(document: &Document) -> Vec<(String, BlockKind, &str)> {
        document
            .sections
            .iter()
            .flat_map(|section| {
                section
                    .blocks
                    .iter()
                    .map(move |block| (section.path.join(" › "), block.kind, &document.text[block.span.clone()]))
            })
            .collect()
    }

    #[test]
    fn a_page_gives_its_title_source_date_and_blocks_without_furniture() {
        let document = parse(PAGE, "file");
        assert_eq!(document.title, "Bakers");
        assert_eq!(document.source.as_deref(), Some("https://example.org/bakers"));
        assert_eq!(document.date.as_deref(), Some("2025-08-28"));
        let pay = "Summary › Pay".to_owned();
        assert_eq!(
            blocks(&document),
            [
                ("Summary".to_owned(), BlockKind::TableHead, "Quick Facts: Bakers"),
                ("Summary".to_owned(), BlockKind::Row, "2024 Median Pay | $36,650 per year"),
                (pay.clone(), BlockKind::Paragraph, "The median wage was **$36,650**."),
                (pay.clone(), BlockKind::Item, "Bake *bread*"),
                (pay.clone(), BlockKind::Item, "Clean up"),
                (pay, BlockKind::Row, "Bakers\n:   $36,650"),
            ]
        );
    }

    #[test]
    fn a_definition_list_inside_a_definition_is_part_of_its_row() {
        let document = parse(
            "# Baker\n\nBenefits\n:   Paid leave\n\n    Holiday\n    :   25 days\n\n    Sick pay\n    :   10 days\n\nAfter.\n",
            "file",
        );
        let found: Vec<_> = blocks(&document).into_iter().map(|(_, kind, text)| (kind, text)).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].0 == BlockKind::Row && found[0].1.ends_with(":   10 days"), "{found:?}");
        assert_eq!(found[1], (BlockKind::Paragraph, "After."));
    }

    #[test]
    fn markup_within_a_heading_is_no_block() {
        let document = parse("# Baker\n\n## Pay <b class=\"x\">scale</b> <!-- 2024 -->\n\n$36,650.\n", "file");
        assert_eq!(blocks(&document), [("Pay scale".to_owned(), BlockKind::Paragraph, "$36,650.")]);
    }

    #[test]
    fn an_empty_table_head_leaves_no_gap() {
        let document = parse("Bakers work for:\n\n|  |  |\n| --- | --- |\n| Bakeries | 32% |\n", "file");
        let gaps: Vec<_> = document.sections[0].blocks.iter().map(|block| block.after_gap).collect();
        assert_eq!(gaps, [false, false]);
    }

    #[test]
    fn front_matter_names_the_title() {
        let document = parse("---\ntitle: Night Baker\ndate: 2024-01-01\n---\n\nWorks at night.\n", "file");
        assert_eq!((document.title.as_str(), document.date.as_deref()), ("Night Baker", Some("2024-01-01")));
    }

    #[test]
    fn without_a_heading_the_file_names_the_document() {
        assert_eq!(parse("Some text.", "night baker").title, "night baker");
    }
}

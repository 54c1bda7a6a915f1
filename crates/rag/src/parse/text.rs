//! Plain text in the shape of job descriptions: short heading lines between blank lines, bullets, labels with their values
//! beside them or on the next line, questions with their answers. The file is the source text.

use std::collections::HashSet;
use std::ops::Range;

use super::furniture::metadata_line;
use super::{BlockKind, Document, Outline};
use crate::analyze::content_stems;

/// A heading is one line of at most this many bytes and words.
const MAX_HEADING_BYTES: usize = 80;
const MAX_HEADING_WORDS: usize = 10;

/// The label of `Salary: $50,000` has at most this many bytes and words.
const MAX_LABEL_BYTES: usize = 40;
const MAX_LABEL_WORDS: usize = 5;

/// Label and value pairs come at least this many at a time; two short lines alone are prose.
const MIN_PAIRS: usize = 2;

pub(super) fn parse(text: &str, file_stem: &str) -> Document {
    let paragraphs = paragraphs(text);
    let mut outline = Outline::new(text);
    let body = title_block(text, &paragraphs, &mut outline);
    for (index, lines) in paragraphs.iter().enumerate().skip(body) {
        match heading_level(text, lines) {
            // What stands at once above another heading of its kind, or above nothing, heads nothing: it is text.
            Some(level) if heads_something(text, level, paragraphs.get(index + 1)) => {
                outline.heading(level, &text[lines[0].clone()]);
            }
            _ => paragraph(text, lines, &mut outline),
        }
    }
    if outline.sections.is_empty() {
        // Nothing but a title: it is the file's text.
        for lines in &paragraphs {
            if let Some((first, last)) = lines.first().zip(lines.last()) {
                outline.block(BlockKind::Paragraph, first.start..last.end);
            }
        }
    }
    outline.finish(file_stem)
}

/// Ranges of the lines of each paragraph, trimmed.
fn paragraphs(text: &str) -> Vec<Vec<Range<usize>>> {
    let mut paragraphs = vec![Vec::new()];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let range = crate::sentence::trim(text, offset..offset + line.len());
        offset += line.len();
        if !range.is_empty() {
            if let Some(last) = paragraphs.last_mut() {
                last.push(range);
            }
        } else if paragraphs.last().is_some_and(|last| !last.is_empty()) {
            paragraphs.push(Vec::new());
        }
    }
    paragraphs.retain(|lines| !lines.is_empty());
    paragraphs
}

/// Reads the heading lines before the first prose: site name, category, title, date. The title is the one whose words the
/// first prose uses most, the first of equals; it returns the index of the paragraph after it.
fn title_block(text: &str, paragraphs: &[Vec<Range<usize>>], outline: &mut Outline<'_>) -> usize {
    let is_head = |lines: &Vec<Range<usize>>| heading_level(text, lines).is_some() || are_labelled(text, lines);
    let count = paragraphs.iter().take_while(|lines| is_head(lines)).count();
    let prose: HashSet<String> = paragraphs
        .get(count)
        .map(|lines| lines.iter().flat_map(|line| content_stems(&text[line.clone()])).collect())
        .unwrap_or_default();
    let mut best: Option<(usize, usize)> = None;
    for (index, lines) in paragraphs[..count].iter().enumerate() {
        for (field, value) in lines.iter().filter_map(|line| metadata_line(&text[line.clone()])) {
            outline.field(field, value);
        }
        if heading_level(text, lines).is_some() {
            let stems = content_stems(&text[lines[0].clone()]);
            let shared = stems.iter().filter(|stem| prose.contains(*stem)).count();
            if best.is_none_or(|(_, most)| shared > most) {
                best = Some((index, shared));
            }
        }
    }
    let Some((title, _)) = best else { return 0 };
    for lines in paragraphs[..title].iter().filter(|lines| heading_level(text, lines).is_none()) {
        paragraph(text, lines, outline);
    }
    outline.heading(1, &text[paragraphs[title][0].clone()]);
    title + 1
}

fn paragraph(text: &str, lines: &[Range<usize>], outline: &mut Outline<'_>) {
    let Some((first, last)) = lines.first().zip(lines.last()) else { return };
    if lines.iter().any(|line| bullet(&text[line.clone()]).is_some()) {
        list(text, lines, outline);
    } else if are_labelled(text, lines) {
        for line in lines {
            // Before the first heading the document tells its source and date so.
            let is_metadata = outline.path.is_empty() && metadata_line(&text[line.clone()]).is_some();
            outline.block(if is_metadata { BlockKind::Paragraph } else { BlockKind::Row }, line.clone());
        }
    } else if is_pairs(text, lines) {
        for pair in lines.chunks(2) {
            if let (Some(label), Some(value)) = (pair.first(), pair.last()) {
                outline.block(BlockKind::Row, label.start..value.end);
            }
        }
    } else {
        outline.block(BlockKind::Paragraph, first.start..last.end);
    }
}

/// A paragraph with bullets: lines before the first are prose, lines without one continue the item above.
fn list(text: &str, lines: &[Range<usize>], outline: &mut Outline<'_>) {
    let mut open: Option<(BlockKind, Range<usize>)> = None;
    for line in lines {
        match (bullet(&text[line.clone()]), &mut open) {
            (Some(marker), _) => {
                if let Some((kind, span)) = open.take() {
                    outline.block(kind, span);
                }
                open = Some((BlockKind::Item, line.start + marker..line.end));
            }
            (None, Some((_, span))) => span.end = line.end,
            (None, None) => open = Some((BlockKind::Paragraph, line.clone())),
        }
    }
    if let Some((kind, span)) = open {
        outline.block(kind, span);
    }
}

/// Bytes of the bullet or number at the start of a list item, with the space after it.
fn bullet(line: &str) -> Option<usize> {
    let marker = line.chars().next()?;
    let rest = if matches!(marker, '•' | '-' | '*' | '–' | '‣' | '◦' | '·') {
        &line[marker.len_utf8()..]
    } else {
        line.trim_start_matches(|digit: char| digit.is_ascii_digit())
            .strip_prefix(['.', ')'])
            .filter(|_| marker.is_ascii_digit())?
    };
    rest.starts_with(char::is_whitespace).then(|| line.len() - rest.trim_start().len())
}

/// Whether lines alternate between labels and values. A last line over, such as a link to more, is left alone.
fn is_pairs(text: &str, lines: &[Range<usize>]) -> bool {
    let labels = lines.chunks_exact(2).map(|pair| &text[pair[0].clone()]);
    lines.len() / 2 >= MIN_PAIRS
        && labels.clone().all(|label| label.ends_with('?') || is_heading(label))
        && lines.chunks_exact(2).all(|pair| pair[1].len() >= 2)
}

/// Whether every line is a label with its value beside it, or says something of the document.
fn are_labelled(text: &str, lines: &[Range<usize>]) -> bool {
    lines.iter().all(|line| is_labelled(&text[line.clone()]))
}

/// `Salary: $50,000`, `Date: 2025-08-28`, `Last updated 2025`.
fn is_labelled(line: &str) -> bool {
    let is_label = |label: &str| {
        label.len() <= MAX_LABEL_BYTES && label.split_whitespace().count() <= MAX_LABEL_WORDS && is_heading(label)
    };
    let is_pair = line.split_once(": ").is_some_and(|(label, _)| is_label(label)) && !line.ends_with(['.', '!', '?']);
    is_pair || metadata_line(line).is_some()
}

/// The level of a paragraph that is a heading; `None` for any other. A heading with a colon stands below one without:
/// "Qualifications", then "Education:".
fn heading_level(text: &str, lines: &[Range<usize>]) -> Option<u8> {
    let [line] = lines else { return None };
    let line = &text[line.clone()];
    (is_heading(line) && !is_labelled(line)).then_some(if line.ends_with(':') { 3 } else { 2 })
}

/// Whether a heading of `level` stands over what follows it: something else than a heading, or one below its own level.
fn heads_something(text: &str, level: u8, next: Option<&Vec<Range<usize>>>) -> bool {
    next.is_some_and(|next| heading_level(text, next).is_none_or(|below| below > level))
}

/// A short line without the punctuation of a sentence.
fn is_heading(line: &str) -> bool {
    line.len() <= MAX_HEADING_BYTES
        && line.split_whitespace().count() <= MAX_HEADING_WORDS
        && bullet(line).is_none()
        && !line.ends_with(['.', '!', '?', ',', ';', '→'])
        && line.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTING: &str = "Jobs.example\n\nFood\n\nNight Baker\n\nLast updated 2025\n\nNight Bakers bake bread at night for \
        the morning.\n\nRole at a glance\n\nTypical education\nNo formal education\nTypical experience\n2 years\n\n\
        Duties\n\n  • Bake bread\n  • Clean the\n    ovens\n\nQualifications\n\nEducation:\n\n  • None\n\nFAQ\n\n\
        Is it hard?\nYes, at first.\nIs it loud?\nNo.\nSee all jobs →\n";

    #[test]
    fn a_posting_gives_title_sections_rows_items_and_answers() {
        let document = parse(POSTING, "file");
        assert_eq!(document.title, "Night Baker");
        assert_eq!(document.date.as_deref(), Some("2025"));
        let found: Vec<_> = document
            .sections
            .iter()
            .flat_map(|section| {
                section
                    .blocks
                    .iter()
                    .map(|block| (section.path.join("/"), block.kind, &document.text[block.span.clone()]))
            })
            .collect();
        let expected = [
            ("", BlockKind::Paragraph, "Night Bakers bake bread at night for the morning."),
            ("Role at a glance", BlockKind::Row, "Typical education\nNo formal education"),
            ("Role at a glance", BlockKind::Row, "Typical experience\n2 years"),
            ("Duties", BlockKind::Item, "Bake bread"),
            ("Duties", BlockKind::Item, "Clean the\n    ovens"),
            ("Qualifications/Education", BlockKind::Item, "None"),
            ("FAQ", BlockKind::Row, "Is it hard?\nYes, at first."),
            ("FAQ", BlockKind::Row, "Is it loud?\nNo."),
        ];
        let found: Vec<_> = found.iter().map(|(path, kind, text)| (path.as_str(), *kind, *text)).collect();
        assert_eq!(found, expected);
    }

    fn blocks(text: &str) -> Vec<(String, BlockKind, String)> {
        let document = parse(text, "file");
        let of = |section: &super::super::Section| {
            let path = section.path.join("/");
            let block = |block: &super::super::Block| (path.clone(), block.kind, text[block.span.clone()].to_owned());
            section.blocks.iter().map(block).collect::<Vec<_>>()
        };
        document.sections.iter().flat_map(of).collect()
    }

    #[test]
    fn a_label_with_its_value_on_one_line_is_a_row() {
        let text = "Baker\n\nHours: 9:00 to 17:00\n\nWe look for a baker.\n\nSalary: $50,000\n\nLocation: Leeds\nStart: \
            May\n\nNote: bring a coat.\n";
        let row = |text: &str| (String::new(), BlockKind::Row, text.to_owned());
        let prose = |text: &str| (String::new(), BlockKind::Paragraph, text.to_owned());
        let expected = [
            row("Hours: 9:00 to 17:00"),
            prose("We look for a baker."),
            row("Salary: $50,000"),
            row("Location: Leeds"),
            row("Start: May"),
            prose("Note: bring a coat."),
        ];
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn a_heading_over_nothing_is_text() {
        let text = "Baker\n\nWe look for a baker.\n\nFull time\n\nDuties\n\nTools:\n\n- An oven\n\nApply by letter\n";
        let found = blocks(text);
        let found: Vec<_> = found.iter().map(|(path, kind, text)| (path.as_str(), *kind, text.as_str())).collect();
        let expected = [
            ("", BlockKind::Paragraph, "We look for a baker."),
            ("", BlockKind::Paragraph, "Full time"),
            ("Duties/Tools", BlockKind::Item, "An oven"),
            ("Duties/Tools", BlockKind::Paragraph, "Apply by letter"),
        ];
        assert_eq!(found, expected);
    }
}

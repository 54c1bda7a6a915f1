//! Plain text in the shape of job descriptions: short heading lines between blank lines, bullets, labels with their values
//! on the next line, questions with their answers. The file is the source text.

use std::collections::HashSet;
use std::ops::Range;

use super::{BlockKind, Document, Outline};
use crate::analyze::content_stems;

/// A heading is one line of at most this many bytes and words.
const MAX_HEADING_BYTES: usize = 80;
const MAX_HEADING_WORDS: usize = 10;

/// Label and value pairs come at least this many at a time; two short lines alone are prose.
const MIN_PAIRS: usize = 2;

pub(super) fn parse(text: &str, file_stem: &str) -> Document {
    let paragraphs = paragraphs(text);
    let mut outline = Outline::new(text);
    let body = title_block(text, &paragraphs, &mut outline);
    for lines in &paragraphs[body..] {
        paragraph(text, lines, &mut outline);
    }
    if outline.sections.iter().all(|section| section.blocks.is_empty()) {
        // A file of short lines only: they are its text, not headings over nothing.
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
/// first prose uses most, the first of equals; it returns the index of the first paragraph of the body.
fn title_block(text: &str, paragraphs: &[Vec<Range<usize>>], outline: &mut Outline<'_>) -> usize {
    let is_head = |lines: &Vec<Range<usize>>| lines.len() == 1 && is_heading(&text[lines[0].clone()]);
    let count = paragraphs.iter().take_while(|lines| is_head(lines)).count();
    let prose: HashSet<String> = paragraphs
        .get(count)
        .map(|lines| lines.iter().flat_map(|line| content_stems(&text[line.clone()])).collect())
        .unwrap_or_default();
    let mut best: Option<(usize, usize)> = None;
    for (index, lines) in paragraphs[..count].iter().enumerate() {
        let line = &text[lines[0].clone()];
        if let Some((field, value)) = super::furniture::metadata_line(line) {
            outline.field(field, value);
            continue;
        }
        let shared = content_stems(line).iter().filter(|stem| prose.contains(*stem)).count();
        if best.is_none_or(|(_, most)| shared > most) {
            best = Some((index, shared));
        }
    }
    let Some((index, _)) = best else { return count };
    outline.heading(1, &text[paragraphs[index][0].clone()]);
    for lines in &paragraphs[index + 1..count] {
        let line = &text[lines[0].clone()];
        if super::furniture::metadata_line(line).is_none() {
            outline.heading(2, line);
        }
    }
    count
}

fn paragraph(text: &str, lines: &[Range<usize>], outline: &mut Outline<'_>) {
    let Some((first, last)) = lines.first().zip(lines.last()) else { return };
    let first_line = &text[first.clone()];
    if lines.len() == 1 && is_heading(first_line) {
        // A heading with a colon stands below one without: "Qualifications", then "Education:".
        outline.heading(if first_line.ends_with(':') { 3 } else { 2 }, first_line);
        return;
    }
    if lines.iter().any(|line| bullet(&text[line.clone()]).is_some()) {
        list(text, lines, outline);
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
}

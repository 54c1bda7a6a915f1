//! What pages carry besides their text: navigation arrows, notices about scripts and videos, "about this section" links;
//! and the lines in which a document names its title, source and date. Rules for text only; HTML's menus are in `html`.

/// A line that is furniture wherever it stands, by its beginning, in lower case.
const NOTICES: &[&str] =
    &["please enable javascript", "video transcript available at", "skip to content", "skip to main"];

/// What a link beside a heading leaves behind in it.
const HEADING_TAIL: &str = "about this section";

/// Navigation lines are short; a sentence that ends with an arrow is not.
const MAX_NAVIGATION_BYTES: usize = 120;

/// A heading without the link text at its end, in single spaces, at most 200 characters.
pub(super) fn heading(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.to_lowercase().ends_with(HEADING_TAIL) && text.is_char_boundary(text.len() - HEADING_TAIL.len()) {
        text.truncate(text.len() - HEADING_TAIL.len());
    }
    text.trim().trim_end_matches(':').chars().take(200).collect()
}

/// Whether every line of a block is furniture.
pub(super) fn is_furniture(block: &str) -> bool {
    block.lines().map(str::trim).filter(|line| !line.is_empty()).all(is_furniture_line)
}

fn is_furniture_line(line: &str) -> bool {
    let navigation = line.len() <= MAX_NAVIGATION_BYTES
        && (line.starts_with("<-") || line.starts_with('←') || line.ends_with("->") || line.ends_with('→'));
    let lower = line.to_lowercase();
    navigation || lower == HEADING_TAIL || NOTICES.iter().any(|notice| lower.starts_with(notice))
}

/// What a metadata line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Title,
    Source,
    Date,
}

/// `Source: https://…`, `Date: 2025-08-28`, `Last updated 2025`; `None` for any other line.
pub(super) fn metadata_line(line: &str) -> Option<(Field, &str)> {
    let line = line.trim();
    let prefixes = [
        ("title:", Field::Title),
        ("source:", Field::Source),
        ("url:", Field::Source),
        ("date:", Field::Date),
        ("last updated:", Field::Date),
        ("last updated", Field::Date),
    ];
    prefixes.iter().find_map(|(prefix, field)| {
        let head = line.get(..prefix.len())?;
        let value = line[prefix.len()..].trim().trim_matches('"');
        (head.eq_ignore_ascii_case(prefix) && value.len() <= 500).then_some((*field, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn navigation_and_notices_are_furniture_and_sentences_are_not() {
        assert!(is_furniture("<- Work Environment\n Pay ->"));
        assert!(is_furniture("Please enable javascript to play this video."));
        assert!(!is_furniture("Carpenters work with different tools."));
    }

    #[test]
    fn a_heading_loses_the_link_beside_it() {
        assert_eq!(heading("What Carpenters Do About this section"), "What Carpenters Do");
        assert_eq!(heading("Education:"), "Education");
    }

    #[test]
    fn metadata_lines_are_read_and_prose_is_left() {
        assert_eq!(metadata_line("Date: 2025-08-28"), Some((Field::Date, "2025-08-28")));
        assert_eq!(metadata_line("Carpenters date: from"), None);
    }
}

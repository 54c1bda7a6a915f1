//! Builds the tree of an HTML page within bounds. The algorithm of HTML opens elements again that were left open, so that a
//! short page can mean a tree without end: it is fed in small pieces, and the tree is measured after each. No text is read
//! out of it here.

use std::collections::HashMap;

use html5ever::driver::{ParseOpts, parse_document};
use html5ever::tendril::{StrTendril, TendrilSink};
use scraper::{Html, HtmlTreeSink};

/// Why a page is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It nests deeper than the limit.
    TooDeep,
    /// Its tree or its text grows far beyond its bytes.
    Overgrown,
}

/// Elements whose end tag may be left out: they do not nest without bound by themselves.
const END_OPTIONAL: &[&str] = &[
    "p", "li", "td", "th", "tr", "dt", "dd", "option", "optgroup", "thead", "tbody", "tfoot", "colgroup", "rt", "rp",
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
];

/// Tags are counted, and trees are built, to this multiple of the depth limit: building is quadratic in the depth.
const SCAN_FACTOR: usize = 2;
/// Bytes fed at a time. What one piece can add is bounded by the depth times its tags.
const PIECE_BYTES: usize = 16;
/// A node or attribute takes two bytes of a page at least; this many are allowed besides one for each byte.
const SPARE_NODES: usize = 4_096;
/// Nodes and attributes of any page: some hundred megabytes.
const MAX_NODES: usize = 2 << 20;

/// The tree of a page.
pub(super) fn build(text: &str, max_depth: usize) -> Result<Html, Fault> {
    let deepest = max_depth.saturating_mul(SCAN_FACTOR);
    if nests_deeper(text, deepest) {
        return Err(Fault::TooDeep);
    }
    let mut parser = parse_document(HtmlTreeSink::new(Html::new_document()), ParseOpts::default());
    let (mut fed, mut nodes, mut weight) = (0, 0, 0);
    while fed < text.len() {
        let end = text.ceil_char_boundary(fed + PIECE_BYTES);
        parser.process(StrTendril::from(&text[fed..end]));
        fed = end;
        let page = parser.tokenizer.sink.sink.0.borrow();
        weight += weight_of_last(&page, &mut nodes);
        if weight > (fed + SPARE_NODES).min(MAX_NODES) {
            return Err(Fault::Overgrown);
        }
        let last = page.tree.nodes().next_back();
        if last.is_some_and(|last| last.ancestors().nth(deepest).is_some()) {
            return Err(Fault::TooDeep);
        }
    }
    Ok(parser.finish())
}

/// Nodes and attributes added to a tree that had `before` nodes, which is brought up to date.
fn weight_of_last(page: &Html, before: &mut usize) -> usize {
    let nodes = page.tree.nodes();
    let added = nodes.len().saturating_sub(*before);
    *before = nodes.len();
    let attributes = |node: &scraper::Node| node.as_element().map_or(0, |element| element.attrs.len());
    nodes.rev().take(added).map(|node| 1 + attributes(node.value())).sum()
}

/// Whether the page's tags can nest deeper than `limit`, counted without building a tree. An end tag closes only what was
/// opened under its name; `<path/>` closes itself inside a drawing, and nowhere else.
fn nests_deeper(text: &str, limit: usize) -> bool {
    let mut open: HashMap<String, usize> = HashMap::new();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = text[at..].find('<') {
        at += found + 1;
        let tag = &text[at..];
        let closing = tag.starts_with('/');
        let name: String =
            tag.trim_start_matches('/').chars().take(16).take_while(char::is_ascii_alphanumeric).collect();
        let name = name.to_ascii_lowercase();
        if name.is_empty() || END_OPTIONAL.contains(&name.as_str()) {
            continue;
        }
        let count = open.get(&name).copied().unwrap_or(0);
        if closing {
            depth -= count.min(1);
            open.insert(name, count.saturating_sub(1));
            continue;
        }
        if matches!(name.as_str(), "script" | "style") {
            // Its text is no markup; `a<b` in a script opens nothing.
            at += tag.find("</").unwrap_or(tag.len());
            continue;
        }
        let in_drawing = open.get("svg").is_some_and(|count| *count > 0);
        // Not beyond the next tag: a page of tags without an end would be read once for each of them.
        if in_drawing
            && tag.find(['<', '>']).is_some_and(|end| tag[..end].ends_with('/') && tag[end..].starts_with('>'))
        {
            continue;
        }
        open.insert(name, count + 1);
        depth += 1;
        if depth > limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<Fault> {
        build(text, 256).err()
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert_eq!(fault(&"<div>".repeat(200_000)), Some(Fault::TooDeep));
        assert_eq!(fault(&format!("{}text", "<div>".repeat(600))), Some(Fault::TooDeep));
        assert_eq!(fault(&format!("{}text", "<p>".repeat(5_000))), None);
    }

    #[test]
    fn tags_left_open_do_not_multiply_with_the_paragraphs_after_them() {
        let open: String = (0..500).map(|index| format!("<font a={index}>")).collect();
        let page = format!("<p>{open}{}", "<p>x".repeat(250_000));
        assert_eq!(fault(&page), Some(Fault::Overgrown));
    }

    #[test]
    fn tags_that_only_seem_closed_do_not_either() {
        let open: String =
            (0..20_000).map(|index| format!("<font a={index}><table><td></font></td></table>")).collect();
        assert!(fault(&format!("{open}{}", "<p>x".repeat(100_000))).is_some());
    }

    #[test]
    fn attributes_are_weighed_with_the_elements_that_copy_them() {
        let attributes: String = (0..2_000).map(|index| format!("a{index} ")).collect();
        assert_eq!(fault(&format!("<p><b {attributes}>{}", "<p>x".repeat(10_000))), Some(Fault::Overgrown));
    }

    #[test]
    fn honest_pages_are_far_below_the_bounds() {
        let rows = "<tr><td class=a><b>1</b><td>2".repeat(20_000);
        assert_eq!(fault(&format!("<table>{rows}</table>")), None);
        assert_eq!(fault(&"<p><b>a<p><i>b</i></b>".repeat(5_000)), None);
    }

    #[test]
    fn a_drawing_of_tags_without_an_end_is_read_once() {
        assert_eq!(fault(&format!("<svg>{}", "<a</a".repeat(400_000))), None);
        assert_eq!(fault(&format!("<svg>{}</svg>", "<path d='1'/>".repeat(5_000))), None);
    }
}

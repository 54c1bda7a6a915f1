//! HTML pages: the text of their content, without menus, scripts, forms and footers. The extracted text is the document's
//! source text; blocks are ranges of it.

use std::collections::HashSet;
use std::ops::Range;

use scraper::node::Node;
use scraper::{ElementRef, Html, Selector};

use super::html_facts::PageFacts;
use super::html_tree::{Fault, build};
use super::{BlockKind, Document, Outline, furniture};

/// Elements whose text is never content.
const SKIPPED: &[&str] = &[
    "script", "style", "nav", "footer", "form", "noscript", "svg", "template", "button", "iframe", "select", "head",
    "object", "canvas", "aside", "dialog", "audio", "video", "map", "math",
];

/// Words of an element's class or id that mark a menu or a tool, compared as whole words between dashes and spaces.
const SKIPPED_NAMES: &[&str] = &[
    "nav",
    "navbar",
    "menu",
    "breadcrumb",
    "breadcrumbs",
    "tabs",
    "toolbar",
    "skiplink",
    "sidebar",
    "cookie",
    "popup",
];

/// Classes that mark page tools, as a whole.
const SKIPPED_CLASSES: &[&str] = &["about-this-section", "article-tools-box", "image-caption", "sr-only", "gb-info"];

/// Elements that do not interrupt a line of text.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var",
    "wbr",
];

/// Stands for `<br>` while a line is collected; the parser lets no NUL through.
const LINE_BREAK: char = '\0';

enum Piece {
    Heading(u8, String),
    Block(BlockKind, Range<usize>),
    Gap,
}

pub(super) fn parse(text: &str, file_stem: &str, max_depth: usize) -> Result<Document, Fault> {
    let page = build(text, max_depth)?;
    let mut extractor = Extractor {
        text: String::new(),
        pieces: Vec::new(),
        line: String::new(),
        items: 0,
        max_depth,
        max_text: text.len() * 2 + 1_024,
        link_targets: link_targets(&page),
        facts: PageFacts::of_page(&page),
    };
    extractor.children(page.root_element(), 0)?;
    extractor.flush();
    let Extractor { text, pieces, .. } = extractor;
    let mut outline = Outline::new(&text);
    for piece in content(pieces) {
        match piece {
            Piece::Heading(level, heading) => outline.heading(level, &heading),
            Piece::Block(kind, range) => outline.block(kind, range),
            Piece::Gap => outline.gap = true,
        }
    }
    head_fields(&page, &mut outline);
    Ok(outline.finish(file_stem))
}

/// What stands before the page's first top heading is its header, as long as more stands after it.
fn content(pieces: Vec<Piece>) -> Vec<Piece> {
    let Some(first) = pieces.iter().position(|piece| matches!(piece, Piece::Heading(1, _))) else { return pieces };
    let bytes = |some: &[Piece]| -> usize {
        some.iter().map(|piece| if let Piece::Block(_, range) = piece { range.len() } else { 0 }).sum()
    };
    let keep_all = bytes(&pieces[..first]) > bytes(&pieces[first..]);
    if keep_all { pieces } else { pieces.into_iter().skip(first).collect() }
}

/// Title, address and date from the page's head, where the body gave none.
fn head_fields(page: &Html, outline: &mut Outline<'_>) {
    let fields = [
        (furniture::Field::Title, "meta[property='og:title']", "content"),
        (furniture::Field::Source, "link[rel='canonical']", "href"),
        (furniture::Field::Source, "meta[property='og:url']", "content"),
        (furniture::Field::Date, "meta[name='date']", "content"),
        (furniture::Field::Date, "meta[property='article:modified_time']", "content"),
    ];
    for (field, selector, attribute) in fields {
        let Ok(selector) = Selector::parse(selector) else { continue };
        if let Some(value) = page.select(&selector).find_map(|element| element.value().attr(attribute)) {
            outline.field(field, value.trim());
        }
    }
    if let Ok(selector) = Selector::parse("head title")
        && let Some(title) = page.select(&selector).next()
    {
        let title = title.text().collect::<String>();
        outline.field(furniture::Field::Title, &title);
    }
}

struct Extractor {
    text: String,
    pieces: Vec<Piece>,
    /// Inline text since the last block boundary, white space as in the page.
    line: String,
    /// How many list items are open.
    items: usize,
    max_depth: usize,
    /// Bytes of text that a page of this size can honestly give: bullets and line ends are added to its own.
    max_text: usize,
    /// Ids that links in the page lead to.
    link_targets: HashSet<String>,
    facts: PageFacts,
}

/// Ids that links in the page lead to.
fn link_targets(page: &Html) -> HashSet<String> {
    let links = page.root_element().descendent_elements().filter(|element| element.value().name() == "a");
    links.filter_map(|link| Some(link.value().attr("href")?.strip_prefix('#')?.to_owned())).collect()
}

impl Extractor {
    fn children(&mut self, element: ElementRef<'_>, depth: usize) -> Result<(), Fault> {
        if depth > self.max_depth {
            return Err(Fault::TooDeep);
        }
        for child in element.children() {
            match child.value() {
                Node::Text(text) => self.line.push_str(text),
                Node::Element(_) => {
                    if let Some(child) = ElementRef::wrap(child) {
                        self.element(child, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn element(&mut self, element: ElementRef<'_>, depth: usize) -> Result<(), Fault> {
        let name = element.value().name();
        if self.is_skipped(element) {
            // Something inside a line leaves no gap: a link "About this section" stands inside a heading.
            if !INLINE.contains(&name) {
                self.flush();
                self.pieces.push(Piece::Gap);
            }
            return Ok(());
        }
        match name {
            "br" => self.line.push(LINE_BREAK),
            _ if INLINE.contains(&name) => self.children(element, depth)?,
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(element, name, depth)?,
            "table" if !self.facts.of(element).holds_layout => self.table(element, depth)?,
            "dl" => self.definitions(element, depth)?,
            "li" => {
                self.flush();
                self.items += 1;
                self.children(element, depth)?;
                self.flush();
                self.items -= 1;
            }
            _ => {
                self.flush();
                self.children(element, depth)?;
                self.flush();
            }
        }
        Ok(())
    }

    fn heading(&mut self, element: ElementRef<'_>, name: &str, depth: usize) -> Result<(), Fault> {
        self.flush();
        let heading = self.inline_text(element, depth)?;
        let level = name.as_bytes().get(1).map_or(6, |digit| digit.saturating_sub(b'0'));
        if !furniture::heading(&heading).is_empty() {
            if !self.text.is_empty() {
                self.text.push_str("\n\n");
            }
            self.text.push_str(&heading);
            self.pieces.push(Piece::Heading(level, heading));
        }
        Ok(())
    }

    /// Rows as `cell | cell`; a row of header cells only is the table's head.
    fn table(&mut self, table: ElementRef<'_>, depth: usize) -> Result<(), Fault> {
        self.flush();
        for row in table.descendent_elements().filter(|element| element.value().name() == "tr") {
            let mut cells = Vec::new();
            let mut head = true;
            for cell in row.child_elements() {
                head &= cell.value().name() == "th";
                cells.push(self.inline_text(cell, depth)?.replace('\n', " "));
            }
            while cells.last().is_some_and(String::is_empty) {
                cells.pop();
            }
            let cells: Vec<&str> = cells.iter().map(String::as_str).skip_while(|cell| cell.is_empty()).collect();
            self.push(if head { BlockKind::TableHead } else { BlockKind::Row }, &cells.join(" | "));
        }
        Ok(())
    }

    /// Terms with their definitions as rows.
    fn definitions(&mut self, list: ElementRef<'_>, depth: usize) -> Result<(), Fault> {
        self.flush();
        let mut term = String::new();
        for element in own_terms(list) {
            match element.value().name() {
                "dt" => term = self.inline_text(element, depth)?,
                "dd" => {
                    let definition = self.inline_text(element, depth)?;
                    let row = if term.is_empty() { definition } else { format!("{term} | {definition}") };
                    self.push(BlockKind::Row, &row);
                    term.clear();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The text of an element as if all inside it were inline.
    fn inline_text(&mut self, element: ElementRef<'_>, depth: usize) -> Result<String, Fault> {
        if self.text.len() > self.max_text {
            return Err(Fault::Overgrown);
        }
        let outer = std::mem::take(&mut self.line);
        let result = self.collect_inline(element, depth);
        let line = std::mem::replace(&mut self.line, outer);
        result.map(|()| collapse(&line))
    }

    fn collect_inline(&mut self, element: ElementRef<'_>, depth: usize) -> Result<(), Fault> {
        if depth > self.max_depth {
            return Err(Fault::TooDeep);
        }
        for child in element.children() {
            if let Node::Text(text) = child.value() {
                self.line.push_str(text);
            } else if let Some(child) = ElementRef::wrap(child) {
                let name = child.value().name();
                if self.is_skipped(child) {
                    continue;
                }
                if name == "br" {
                    self.line.push(LINE_BREAK);
                } else {
                    if !INLINE.contains(&name) {
                        self.line.push(' ');
                    }
                    self.collect_inline(child, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// An element that is no content. One that its style hides is the page of a tab if a link in the page leads to it, and a
    /// pop-up's text otherwise.
    fn is_skipped(&self, element: ElementRef<'_>) -> bool {
        let style = element.value().attr("style").unwrap_or("");
        let is_hidden = style.split(';').any(|rule| {
            rule.split_once(':').is_some_and(|(name, value)| name.trim() == "display" && value.trim() == "none")
        });
        let is_tab = || element.value().id().is_some_and(|id| self.link_targets.contains(id));
        (is_hidden && !is_tab()) || is_skipped(element, &self.facts)
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = collapse(&line);
        if !line.is_empty() {
            let kind = if self.items > 0 { BlockKind::Item } else { BlockKind::Paragraph };
            self.push(kind, &line);
        }
    }

    /// Adds a block. Rows stand below each other, items behind bullets.
    fn push(&mut self, kind: BlockKind, block: &str) {
        let previous = match self.pieces.last() {
            Some(Piece::Block(previous, _)) => Some(*previous),
            _ => None,
        };
        let is_row = |kind: BlockKind| matches!(kind, BlockKind::Row | BlockKind::TableHead);
        let joined = previous.is_some_and(|previous| {
            (is_row(kind) && is_row(previous)) || (kind == BlockKind::Item && kind == previous)
        });
        if !self.text.is_empty() {
            self.text.push_str(if joined { "\n" } else { "\n\n" });
        }
        if kind == BlockKind::Item {
            self.text.push_str("• ");
        }
        let start = self.text.len();
        self.text.push_str(block);
        self.pieces.push(Piece::Block(kind, start..self.text.len()));
    }
}

/// The terms and definitions of a list, in order: its children, or those of a `div` that groups them, as HTML has it. A list
/// inside a definition is text of that definition.
fn own_terms(list: ElementRef<'_>) -> Vec<ElementRef<'_>> {
    let is_own = |element: &ElementRef<'_>| matches!(element.value().name(), "dt" | "dd");
    let mut own = Vec::new();
    for child in list.child_elements() {
        match child.value().name() {
            "div" => own.extend(child.child_elements().filter(is_own)),
            _ if is_own(&child) => own.push(child),
            _ => {}
        }
    }
    own
}

/// Runs of white space become one space, line breaks one new line.
fn collapse(line: &str) -> String {
    let lines = line.split(LINE_BREAK).map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Menus, scripts, forms and the like, by the element itself and what the page's facts tell of it.
fn is_skipped(element: ElementRef<'_>, facts: &PageFacts) -> bool {
    let value = element.value();
    let name = value.name();
    if SKIPPED.contains(&name) || value.attr("hidden").is_some() {
        return true;
    }
    if name == "header" {
        return !facts.of(element).holds_title;
    }
    if matches!(
        value.attr("role"),
        Some("navigation" | "menu" | "menubar" | "banner" | "search" | "contentinfo" | "dialog")
    ) {
        return true;
    }
    if value.classes().any(|class| SKIPPED_CLASSES.contains(&class)) {
        return true;
    }
    let names = value.classes().chain(value.id());
    let is_menu = names.flat_map(|name| name.split(['-', '_'])).any(|word| SKIPPED_NAMES.contains(&word));
    if is_menu && !matches!(name, "body" | "html" | "main" | "article" | "h1") {
        return !facts.of(element).holds_content;
    }
    matches!(name, "ul" | "ol") && facts.of(element).is_link_list()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<html><head><title>Bakers : Handbook</title><meta name=date content=2025-08-28></head><body>\
        <header><p>An official site</p></header><ul class=tabs><li><a href=#a>Summary</a></ul><h1> Bakers</h1>\
        <h2><span>Summary</span><a class='about-this-section'>About this section</a></h2><table><tr><th colspan=2>Quick \
        Facts</th></tr><tr><th>2024\n Median Pay</th><td>$36,650 per year<br>$17.62 per hour</td></tr></table>\
        <p>Bakers <b>bake</b>\n bread.<script>var x = 1;</script></p><nav>Next</nav><ul><li>Mix dough</li><li>Clean</li>\
        </ul><dl><dt>Bakers<dd>$36,650</dl><div id=a style='display: none;'><p>A tab.</p></div><div style=display:none>A pop-up.</div><footer>Contact</footer></body></html>";

    #[test]
    fn a_page_gives_its_content_and_no_menus() {
        let document = parse(PAGE, "file", 256).expect("a small page");
        assert_eq!((document.title.as_str(), document.date.as_deref()), ("Bakers", Some("2025-08-28")));
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
        let found: Vec<_> = found.iter().map(|(path, kind, text)| (path.as_str(), *kind, *text)).collect();
        let expected = [
            ("Summary", BlockKind::TableHead, "Quick Facts"),
            ("Summary", BlockKind::Row, "2024 Median Pay | $36,650 per year $17.62 per hour"),
            ("Summary", BlockKind::Paragraph, "Bakers bake bread."),
            ("Summary", BlockKind::Item, "Mix dough"),
            ("Summary", BlockKind::Item, "Clean"),
            ("Summary", BlockKind::Row, "Bakers | $36,650"),
            ("Summary", BlockKind::Paragraph, "A tab."),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_inside_a_definition_is_told_once() {
        let page = format!("<dl><dt>t<dd>{}deep{}", "<dl><dd>".repeat(60), "</dl>".repeat(60));
        let document = parse(&page, "file", 256).expect("not too deep");
        assert_eq!(document.text.matches("deep").count(), 1, "{}", document.text);
        let grouped = parse("<dl><div><dt>a<dd>b</div><div><dt>c<dd>d</div></dl>", "file", 256).expect("a small page");
        assert_eq!(grouped.text, "a | b\nc | d");
    }

    #[test]
    fn what_a_page_says_of_itself_is_bounded() {
        let long = "Baker, ".repeat(1_000);
        let page = format!(
            "<head><meta property='og:title' content='{long}'><link rel=canonical href='https://{long}'>\
            <meta name=date content='{long}'><meta property='article:modified_time' content='2025-08-28'></head><p>Bakes."
        );
        let document = parse(&page, "file", 256).expect("a small page");
        assert_eq!(document.title.chars().count(), 200);
        assert_eq!((document.source, document.date.as_deref()), (None, Some("2025-08-28")));
    }

    #[test]
    fn text_that_grows_beyond_the_page_is_refused() {
        // Rows of a drawing's namespace nest, so each of them holds the text of those inside it.
        let page = format!("<table><tr><td><math>{}{}", "<tr><td>".repeat(100), "long ".repeat(2_000));
        match parse(&page, "file", 256) {
            Err(fault) => assert_eq!(fault, Fault::Overgrown),
            Ok(document) => assert!(document.text.len() <= page.len() * 2 + 1_024),
        }
    }
}

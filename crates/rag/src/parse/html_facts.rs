//! What the elements of an HTML page hold, gathered in one walk over the tree: asking each element by walking below it would
//! cost the page's size times its depth. Decides nothing about what is content.

use std::collections::HashMap;

use ego_tree::NodeId;
use ego_tree::iter::Edge;
use scraper::{ElementRef, Html, Node};

/// What stands below an element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// An `h1`.
    pub(super) holds_title: bool,
    /// An `h1`, `article` or `main`.
    pub(super) holds_content: bool,
    /// A table, heading, list, article or section: a table that holds one is for layout, and not of facts.
    pub(super) holds_layout: bool,
    /// Letters and digits of its text.
    characters: usize,
    /// Those of them inside links.
    linked: usize,
    /// List items directly below it.
    items: usize,
}

impl Facts {
    /// A list of at least three items that are nearly all link text is a menu.
    pub(super) fn is_link_list(&self) -> bool {
        self.items >= 3 && self.linked * 10 > self.characters * 9
    }

    /// Takes in what a child element named `name` is and holds.
    fn add(&mut self, name: &str, child: &Self) {
        self.holds_title |= child.holds_title || name == "h1";
        self.holds_content |= child.holds_content || matches!(name, "h1" | "article" | "main");
        self.holds_layout |= child.holds_layout
            || matches!(name, "table" | "h1" | "h2" | "h3" | "h4" | "ul" | "ol" | "article" | "section");
        self.characters += child.characters;
        self.linked += if name == "a" { child.characters } else { child.linked };
        self.items += usize::from(name == "li");
    }
}

/// The facts of a page's elements.
#[derive(Debug)]
pub(super) struct PageFacts(HashMap<NodeId, Facts>);

impl PageFacts {
    /// Walks over the page once.
    pub(super) fn of_page(page: &Html) -> Self {
        let mut facts = HashMap::new();
        let mut open: Vec<Facts> = vec![Facts::default()];
        for edge in page.root_element().traverse() {
            match edge {
                Edge::Open(node) => match node.value() {
                    Node::Text(text) => {
                        let characters = text.chars().filter(|character| character.is_alphanumeric()).count();
                        if let Some(holder) = open.last_mut() {
                            holder.characters += characters;
                        }
                    }
                    Node::Element(_) => open.push(Facts::default()),
                    _ => {}
                },
                Edge::Close(node) => {
                    let Node::Element(element) = node.value() else { continue };
                    let Some(closed) = open.pop() else { continue };
                    let name = element.name();
                    if let Some(holder) = open.last_mut() {
                        holder.add(name, &closed);
                    }
                    // Nothing is asked of the others.
                    let is_asked = matches!(name, "header" | "ul" | "ol" | "table");
                    if is_asked || element.attr("class").is_some() || element.attr("id").is_some() {
                        facts.insert(node.id(), closed);
                    }
                }
            }
        }
        Self(facts)
    }

    /// The facts of an element: of a header, list or table, or of one with a class or id.
    pub(super) fn of(&self, element: ElementRef<'_>) -> Facts {
        self.0.get(&element.id()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scraper::Selector;

    fn facts(page: &str, selector: &str) -> Facts {
        let page = Html::parse_document(page);
        let selector = Selector::parse(selector).expect("a selector");
        let element = page.select(&selector).next().expect("an element");
        PageFacts::of_page(&page).of(element)
    }

    #[test]
    fn an_element_holds_what_is_below_it_and_not_itself() {
        let page = "<header><div id=a><h1>Title</h1></div></header><table><tr><td>1</table><table class=b><tr><td>\
            <ul><li>x</ul></table>";
        assert!(facts(page, "header").holds_title && facts(page, "#a").holds_content);
        assert!(!facts(page, "table").holds_layout && facts(page, ".b").holds_layout);
    }

    #[test]
    fn a_list_of_links_is_told_from_a_list_with_links() {
        let links = "<ul><li><a>Home page</a><li><a>Other page</a><li><a>Third</a></ul>";
        let prose = "<ul><li>Mix <a>dough</a> well<li>Clean<li>Watch</ul>";
        assert!(facts(links, "ul").is_link_list());
        assert!(!facts(prose, "ul").is_link_list());
        assert!(!facts("<ul><li><a>One</a><li><a>Two</a></ul>", "ul").is_link_list());
    }

    #[test]
    fn facts_are_those_that_a_walk_below_each_element_finds() {
        let page = format!("{}<a>link</a> text<h1>t</h1>", "<ul><li>one<li>two<li>three ".repeat(40));
        let parsed = Html::parse_document(&page);
        let facts = PageFacts::of_page(&parsed);
        for list in parsed.root_element().descendent_elements().filter(|element| element.value().name() == "ul") {
            let found = facts.of(list);
            let characters = |element: ElementRef<'_>| -> usize {
                element.text().map(|text| text.chars().filter(|one| one.is_alphanumeric()).count()).sum()
            };
            let links = list.descendent_elements().filter(|inner| inner.value().name() == "a");
            assert_eq!(found.characters, characters(list));
            assert_eq!(found.linked, links.map(characters).sum::<usize>());
            assert!(found.holds_title && found.holds_layout && found.items == 3);
        }
    }
}

//! Cursor pagination as OpenAI's lists do it: `limit`, `order`, `after`, `before`; `has_more`, `first_id`, `last_id`.

use crate::error::ApiError;
use serde::Serialize;

/// The largest page of the vector store routes.
pub const MAX_PAGE: usize = 100;
/// The page size when none is asked for.
pub const DEFAULT_PAGE: usize = 20;

/// Direction of a list by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first; the default.
    Descending,
}

/// A validated page request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidPage {
    /// Items in the page, at most.
    pub limit: usize,
    /// Direction.
    pub order: Order,
    /// The page starts behind the item with this id.
    pub after: Option<String>,
    /// The page ends in front of the item with this id.
    pub before: Option<String>,
}

/// A page on the wire.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// Always `list`.
    pub object: &'static str,
    /// The items.
    pub data: Vec<T>,
    /// Id of the first item, or null.
    pub first_id: Option<String>,
    /// Id of the last item, or null; the next page's `after`.
    pub last_id: Option<String>,
    /// True when items follow this page.
    pub has_more: bool,
}

/// The value of `name` in a query string, percent-decoded; the last one wins.
pub fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let mut found = None;
    for pair in query.unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decoded(key) == name {
            found = Some(percent_decoded(value));
        }
    }
    found
}

/// Decodes `%41` and `+`; an escape that is not one stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl ValidPage {
    /// Reads the page request from a query string; `max_limit` is the route's bound.
    pub fn parse(query: Option<&str>, default_limit: usize, max_limit: usize) -> Result<Self, ApiError> {
        let limit = match query_value(query, "limit") {
            None => default_limit,
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if (1..=max_limit).contains(&limit) => limit,
                _ => return Err(ApiError::invalid("limit", format!("limit must be from 1 to {max_limit}."))),
            },
        };
        let order = match query_value(query, "order").as_deref() {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(ApiError::invalid("order", "order must be asc or desc.")),
        };
        Ok(Self { limit, order, after: query_value(query, "after"), before: query_value(query, "before") })
    }

    /// Cuts the page out of `items`, which are all items with the oldest first. A cursor that names no item is a 400.
    pub fn cut<T>(&self, mut items: Vec<T>, id_of: impl Fn(&T) -> &str) -> Result<Page<T>, ApiError> {
        if self.order == Order::Descending {
            items.reverse();
        }
        let position = |cursor: &Option<String>, name: &str, items: &[T]| match cursor {
            None => Ok(None),
            Some(id) => match items.iter().position(|item| id_of(item) == id) {
                Some(index) => Ok(Some(index)),
                None => Err(ApiError::invalid(name, format!("{name} names no item of this list."))),
            },
        };
        let after = position(&self.after, "after", &items)?;
        let before = position(&self.before, "before", &items)?;
        let end = before.unwrap_or(items.len());
        // With `before` alone the page is the one that ends there; otherwise it is the one that starts after the cursor.
        let start = match (after, before) {
            (Some(index), _) => (index + 1).min(end),
            (None, Some(_)) => end.saturating_sub(self.limit),
            (None, None) => 0,
        };
        let stop = end.min(start.saturating_add(self.limit));
        let has_more = if before.is_some() && after.is_none() { start > 0 } else { stop < end };
        items.truncate(stop);
        let data: Vec<T> = items.drain(start..).collect();
        let first_id = data.first().map(|item| id_of(item).to_owned());
        let last_id = data.last().map(|item| id_of(item).to_owned());
        Ok(Page { object: "list", data, first_id, last_id, has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(query: &str) -> Result<Page<String>, ApiError> {
        let items: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        ValidPage::parse(Some(query), 20, 100)?.cut(items, |item| item)
    }

    #[test]
    fn walking_by_after_visits_each_item_once() {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = cut(&format!("limit=2&order=asc{after}")).unwrap();
            seen.extend(page.data);
            if !page.has_more {
                break;
            }
            after = format!("&after={}", page.last_id.unwrap());
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn newest_come_first_unless_asked_otherwise() {
        assert_eq!(cut("limit=2").unwrap().data, ["e", "d"]);
        assert_eq!(cut("limit=2&before=b").unwrap().data, ["d", "c"]);
        assert!(cut("limit=2&before=b").unwrap().has_more);
        assert_eq!(cut("after=d&before=a").unwrap().data, ["c", "b"]);
        assert_eq!(cut("after=a&before=d").unwrap().data.len(), 0);
    }

    #[test]
    fn bad_page_requests_name_their_field() {
        for (query, param) in [("limit=0", "limit"), ("limit=x", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("after=zz", "after")] {
            assert_eq!(cut(query).unwrap_err().param.as_deref(), Some(param), "{query}");
        }
    }

    #[test]
    fn cursors_are_percent_decoded() {
        assert_eq!(query_value(Some("x=1&after=file%2D1%zz"), "after").as_deref(), Some("file-1%zz"));
        assert_eq!(query_value(Some("after=%C3%A9"), "after").as_deref(), Some("é"));
        assert_eq!(query_value(None, "after"), None);
    }
}

//! Cursor pagination as OpenAI's lists do it: `limit`, `order`, `after`, `before`; `has_more`, `first_id`, `last_id`.

use crate::error::ApiError;
use sconce_rag::{ListOptions, Order};
use serde::Serialize;

/// The largest page of the vector store routes.
pub const MAX_PAGE: usize = 100;
/// The page size when none is asked for.
pub const DEFAULT_PAGE: usize = 20;

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
            None | Some("desc") => Order::Desc,
            Some("asc") => Order::Asc,
            Some(_) => return Err(ApiError::invalid("order", "order must be asc or desc.")),
        };
        let (after, before) = (query_value(query, "after"), query_value(query, "before"));
        if after.is_some() && before.is_some() {
            return Err(ApiError::invalid("before", "Send after or before, one of them."));
        }
        Ok(Self { limit, order, after, before })
    }

    /// The page of a list that is here as a whole, oldest first, in the same way as the store's. `kind` names an item.
    pub fn cut<T>(
        &self,
        mut items: Vec<T>,
        kind: &str,
        id_of: impl Fn(&T) -> &str,
        shown: impl Fn(&T) -> bool,
    ) -> Result<sconce_rag::Page<T>, ApiError> {
        if self.order == Order::Desc {
            items.reverse();
        }
        let position = |cursor: &String| {
            let found = items.iter().position(|item| id_of(item) == cursor);
            found.ok_or_else(|| ApiError::not_found(kind, cursor))
        };
        let start = self.after.as_ref().map(position).transpose()?.map_or(0, |at| at + 1);
        let end = self.before.as_ref().map(position).transpose()?.unwrap_or(items.len());
        let mut data: Vec<T> = items.drain(start..end).filter(shown).collect();
        let surplus = data.len().saturating_sub(self.limit);
        // A page in front of an item holds those that are nearest to it.
        if self.before.is_some() {
            data.drain(..surplus);
        } else {
            data.truncate(self.limit);
        }
        Ok(sconce_rag::Page { data, has_more: surplus > 0 })
    }

    /// The same for the store.
    pub fn options(self) -> ListOptions {
        ListOptions { limit: self.limit, order: self.order, after: self.after, before: self.before }
    }
}

impl<T> Page<T> {
    /// The store's page on the wire.
    pub fn of<S>(page: sconce_rag::Page<S>, id_of: impl Fn(&T) -> &str, wire: impl Fn(S) -> T) -> Self {
        let data: Vec<T> = page.data.into_iter().map(wire).collect();
        let first_id = data.first().map(|item| id_of(item).to_owned());
        let last_id = data.last().map(|item| id_of(item).to_owned());
        Self { object: "list", data, first_id, last_id, has_more: page.has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<ValidPage, ApiError> {
        ValidPage::parse(Some(query), DEFAULT_PAGE, MAX_PAGE)
    }

    #[test]
    fn newest_come_first_unless_asked_otherwise() {
        assert_eq!(parsed("").unwrap().order, Order::Desc);
        assert_eq!(parsed("order=asc").unwrap().order, Order::Asc);
        let page = parsed("limit=2&before=b").unwrap();
        assert_eq!((page.limit, page.before.as_deref(), page.after), (2, Some("b"), None));
    }

    #[test]
    fn bad_page_requests_name_their_field() {
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=x", "limit"),
            ("limit=101", "limit"),
            ("order=up", "order"),
            ("after=a&before=b", "before"),
        ] {
            assert_eq!(parsed(query).unwrap_err().param.as_deref(), Some(param), "{query}");
        }
    }

    #[test]
    fn a_whole_list_is_cut_as_the_store_cuts_its_own() {
        let cut = |query: &str| {
            let items = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
            let page = parsed(query).unwrap().cut(items, "letter", |item| item, |item| item != "c");
            page.map(|page| (page.data.concat(), page.has_more)).map_err(|error| error.status.as_u16())
        };
        for (query, expected) in [
            ("", Ok(("edba".to_owned(), false))),
            ("order=asc&limit=2", Ok(("ab".to_owned(), true))),
            ("order=asc&limit=2&after=b", Ok(("de".to_owned(), false))),
            ("order=asc&limit=2&before=e", Ok(("bd".to_owned(), true))),
            ("limit=1&before=b", Ok(("d".to_owned(), true))),
            ("after=c", Ok(("ba".to_owned(), false))),
            ("after=x", Err(404)),
        ] {
            assert_eq!(cut(query), expected, "{query}");
        }
    }

    #[test]
    fn cursors_are_percent_decoded() {
        assert_eq!(query_value(Some("x=1&after=file%2D1%zz"), "after").as_deref(), Some("file-1%zz"));
        assert_eq!(query_value(Some("after=%C3%A9"), "after").as_deref(), Some("é"));
        assert_eq!(query_value(None, "after"), None);
    }
}

//! Cursor pagination over any table whose `seq` ascends with creation. Knows no object.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row};

use super::types::{ListOptions, Order, Page};
use crate::{RagError, Result};

/// What is listed: `SELECT {columns} FROM {from} WHERE {condition} AND …`, paged by `{seq}`.
pub(super) struct Listing<'a> {
    pub(super) columns: &'a str,
    pub(super) from: &'a str,
    pub(super) condition: &'a str,
    pub(super) values: &'a [&'a dyn ToSql],
    /// Column that ascends with creation.
    pub(super) seq: &'a str,
    /// Column that holds the id which cursors name.
    pub(super) id: &'a str,
    /// For the error of an unknown cursor.
    pub(super) kind: &'static str,
}

/// Reads one page; `read` makes an object of a row.
pub(super) fn list<T>(
    connection: &Connection,
    listing: &Listing<'_>,
    options: &ListOptions,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Page<T>> {
    options.check()?;
    let Listing { columns, from, condition, values, seq, .. } = listing;
    let cursor = options.after.as_ref().or(options.before.as_ref());
    let position = cursor.map(|cursor| position(connection, listing, cursor)).transpose()?;
    // "before" walks backwards from the cursor, and the page is turned round afterwards.
    let backwards = options.before.is_some();
    let ascending = (options.order == Order::Asc) != backwards;
    let (comparison, direction) = if ascending { (">", "ASC") } else { ("<", "DESC") };
    let bound = position.map(|position| format!("AND {seq} {comparison} {position}")).unwrap_or_default();
    let sql = format!(
        "SELECT {columns} FROM {from} WHERE ({condition}) {bound} ORDER BY {seq} {direction} LIMIT {limit}",
        limit = options.limit + 1
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut data = statement.query_map(*values, |row| read(row))?.collect::<rusqlite::Result<Vec<T>>>()?;
    let has_more = data.len() > options.limit;
    data.truncate(options.limit);
    if backwards {
        data.reverse();
    }
    Ok(Page { data, has_more })
}

fn position(connection: &Connection, listing: &Listing<'_>, cursor: &str) -> Result<i64> {
    let Listing { from, condition, values, seq, id, kind, .. } = listing;
    let sql = format!("SELECT {seq} FROM {from} WHERE ({condition}) AND {id} = ?{}", values.len() + 1);
    let mut all: Vec<&dyn ToSql> = values.to_vec();
    all.push(&cursor);
    let position = connection.prepare_cached(&sql)?.query_row(&*all, |row| row.get(0)).optional()?;
    position.ok_or_else(|| RagError::NotFound { kind, id: cursor.to_owned() })
}

//! How Python writes values: `str()` and `repr()` for what a template prints, `json.dumps` for `tojson`.
//! Only spelling; which value to write is the template's business.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::OUTPUT_LIMIT_BYTES;

/// Lists within lists that are written; a template can build them without end, or one that holds itself.
const DEPTH_LIMIT: usize = 128;

/// A value is longer, written out, than a whole rendering may be.
#[derive(Debug, thiserror::Error)]
#[error("a value is longer than {OUTPUT_LIMIT_BYTES} bytes when written out")]
pub(super) struct TooLong;

/// `str(value)`: text as it is, `True`, `None`, lists and dictionaries by their `repr`. Undefined prints nothing.
///
/// # Errors
/// When the value is nested too deeply or would be longer than a rendering may be; [`TooLong`] is then the source.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ => {
            let mut output = Output::default();
            repr(value, 0, &mut output)?;
            Ok(output.text)
        }
    }
}

/// Text that grows up to the limit of a rendering. Every value writes something, so this bounds the work, too.
#[derive(Default)]
struct Output {
    text: String,
}

impl Output {
    fn push(&mut self, text: &str) -> Result<(), Error> {
        if self.text.len() + text.len() > OUTPUT_LIMIT_BYTES {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value is too long").with_source(TooLong));
        }
        self.text.push_str(text);
        Ok(())
    }
}

fn check_depth(depth: usize) -> Result<(), Error> {
    if depth < DEPTH_LIMIT {
        return Ok(());
    }
    let message = format!("a value is nested in more than {DEPTH_LIMIT} levels");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn repr(value: &Value, depth: usize, output: &mut Output) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => output.push("None"),
        ValueKind::Bool => output.push(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => output.push(&repr_text(value.as_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => {
            check_depth(depth)?;
            output.push("[")?;
            for (index, item) in value.try_iter()?.enumerate() {
                output.push(if index == 0 { "" } else { ", " })?;
                repr(&item, depth + 1, output)?;
            }
            output.push("]")
        }
        ValueKind::Map => {
            check_depth(depth)?;
            output.push("{")?;
            for (index, key) in value.try_iter()?.enumerate() {
                output.push(if index == 0 { "" } else { ", " })?;
                repr(&key, depth + 1, output)?;
                output.push(": ")?;
                repr(&value.get_item(&key).unwrap_or_default(), depth + 1, output)?;
            }
            output.push("}")
        }
        _ => output.push(&value.to_string()),
    }
}

/// Single quotes, unless the text has one and no double quote.
fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut output = String::with_capacity(text.len() + 2);
    output.push(quote);
    for character in text.chars() {
        match character {
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            character if character == quote => output.extend(['\\', quote]),
            character if character.is_control() => output.push_str(&format!("\\x{:02x}", character as u32)),
            character => output.push(character),
        }
    }
    output.push(quote);
    output
}

/// `tojson` as transformers defines it: `json.dumps(value, ensure_ascii=False)` with `indent`, `separators` and
/// `sort_keys`.
pub(super) fn to_json(value: &Value, indent: Option<Value>, options: &Kwargs) -> Result<String, Error> {
    let keyword: Option<Value> = options.get("indent")?;
    let indent = match keyword.or(indent).filter(|indent| !indent.is_none() && !indent.is_undefined()) {
        None => None,
        Some(indent) => match (indent.as_str(), indent.as_usize()) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(spaces)) => Some(" ".repeat(spaces.min(64))),
            (None, None) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: indent is not a number")),
        },
    };
    let _: Option<bool> = options.get("ensure_ascii")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    let separators: Option<(String, String)> = match options.get::<Option<Value>>("separators")? {
        Some(pair) if !pair.is_none() => {
            let part = |index| pair.get_item_by_index(index).and_then(|part| text(&part));
            Some((part(0)?, part(1)?))
        }
        _ => None,
    };
    options.assert_all_used()?;
    let item = if indent.is_some() { "," } else { ", " };
    let (item, key) = separators.unwrap_or_else(|| (item.to_owned(), ": ".to_owned()));
    let style = JsonStyle { indent, item, key, sort_keys: sort_keys.unwrap_or(false) };
    let mut output = Output::default();
    style.write(value, 0, &mut output)?;
    Ok(output.text)
}

/// Python's choices about white space and order.
struct JsonStyle {
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl JsonStyle {
    fn write(&self, value: &Value, depth: usize, output: &mut Output) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                check_depth(depth)?;
                output.push("[")?;
                let mut items = 0;
                for item in value.try_iter()? {
                    self.begin_item(items, depth + 1, output)?;
                    self.write(&item, depth + 1, output)?;
                    items += 1;
                }
                self.end_items(items, depth, output)?;
                output.push("]")
            }
            ValueKind::Map => {
                check_depth(depth)?;
                let mut members = Vec::new();
                for key in value.try_iter()? {
                    members.push((key_text(&key)?, value.get_item(&key)?));
                }
                if self.sort_keys {
                    members.sort_by(|left, right| left.0.cmp(&right.0));
                }
                output.push("{")?;
                for (index, (key, member)) in members.iter().enumerate() {
                    self.begin_item(index, depth + 1, output)?;
                    output.push(&serde_json::Value::from(key.as_str()).to_string())?;
                    output.push(&self.key)?;
                    self.write(member, depth + 1, output)?;
                }
                self.end_items(members.len(), depth, output)?;
                output.push("}")
            }
            // Text, numbers and constants are spelled alike in both.
            _ => output.push(&plain_json(value)?.to_string()),
        }
    }

    fn begin_item(&self, index: usize, depth: usize, output: &mut Output) -> Result<(), Error> {
        if index > 0 {
            output.push(&self.item)?;
        }
        self.begin_line(depth, output)
    }

    /// What stands before the closing bracket: a new line, unless there was nothing.
    fn end_items(&self, items: usize, depth: usize, output: &mut Output) -> Result<(), Error> {
        if items == 0 { Ok(()) } else { self.begin_line(depth, output) }
    }

    fn begin_line(&self, depth: usize, output: &mut Output) -> Result<(), Error> {
        let Some(indent) = &self.indent else { return Ok(()) };
        output.push("\n")?;
        (0..depth).try_for_each(|_| output.push(indent))
    }
}

/// A value that holds no others.
fn plain_json(value: &Value) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson: not a JSON value").with_source(error))
}

/// Keys of JSON are text; as in Python, numbers and constants become text and anything else is refused.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number | ValueKind::Bool | ValueKind::None => Ok(plain_json(key)?.to_string()),
        kind => Err(Error::new(ErrorKind::BadSerialization, format!("tojson: a key is a {kind}, not text"))),
    }
}

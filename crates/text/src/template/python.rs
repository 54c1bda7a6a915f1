//! How Python writes values: `str()` and `repr()` for what a template prints, `json.dumps` for `tojson`.
//! Only spelling; which value to write is the template's business.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// `str(value)`: text as it is, `True`, `None`, lists and dictionaries by their `repr`. Undefined prints nothing.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => String::new(),
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        _ => {
            let mut output = String::new();
            repr(value, &mut output);
            output
        }
    }
}

fn repr(value: &Value, output: &mut String) {
    match value.kind() {
        ValueKind::None => output.push_str("None"),
        ValueKind::Bool => output.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => repr_text(value.as_str().unwrap_or_default(), output),
        ValueKind::Seq | ValueKind::Iterable => {
            output.push('[');
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                output.push_str(if index == 0 { "" } else { ", " });
                repr(&item, output);
            }
            output.push(']');
        }
        ValueKind::Map => {
            output.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                output.push_str(if index == 0 { "" } else { ", " });
                repr(&key, output);
                output.push_str(": ");
                repr(&value.get_item(&key).unwrap_or_default(), output);
            }
            output.push('}');
        }
        _ => {
            let _ = write!(output, "{value}");
        }
    }
}

/// Single quotes, unless the text has one and no double quote.
fn repr_text(text: &str, output: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    output.push(quote);
    for character in text.chars() {
        match character {
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            character if character == quote => output.extend(['\\', quote]),
            character if character.is_control() => {
                let _ = write!(output, "\\x{:02x}", character as u32);
            }
            character => output.push(character),
        }
    }
    output.push(quote);
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
            let part = |index| pair.get_item_by_index(index).map(|part| text(&part));
            Some((part(0)?, part(1)?))
        }
        _ => None,
    };
    options.assert_all_used()?;
    let item = if indent.is_some() { "," } else { ", " };
    let (item, key) = separators.unwrap_or_else(|| (item.to_owned(), ": ".to_owned()));
    let style = JsonStyle { indent, item, key, sort_keys: sort_keys.unwrap_or(false) };
    let value = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "tojson: not a JSON value").with_source(error))?;
    let mut output = String::new();
    style.write(&value, 0, &mut output);
    Ok(output)
}

/// Python's choices about white space and order.
struct JsonStyle {
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl JsonStyle {
    fn write(&self, value: &serde_json::Value, depth: usize, output: &mut String) {
        match value {
            serde_json::Value::Array(items) if !items.is_empty() => {
                output.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.begin_item(index, depth + 1, output);
                    self.write(item, depth + 1, output);
                }
                self.end_items(depth, output);
                output.push(']');
            }
            serde_json::Value::Object(members) if !members.is_empty() => {
                let mut members: Vec<_> = members.iter().collect();
                if self.sort_keys {
                    members.sort_by(|left, right| left.0.cmp(right.0));
                }
                output.push('{');
                for (index, (key, member)) in members.into_iter().enumerate() {
                    self.begin_item(index, depth + 1, output);
                    output.push_str(&serde_json::Value::from(key.as_str()).to_string());
                    output.push_str(&self.key);
                    self.write(member, depth + 1, output);
                }
                self.end_items(depth, output);
                output.push('}');
            }
            // Text, numbers, constants and what is empty are spelled alike in both.
            other => output.push_str(&other.to_string()),
        }
    }

    fn begin_item(&self, index: usize, depth: usize, output: &mut String) {
        if index > 0 {
            output.push_str(&self.item);
        }
        self.end_items(depth, output);
    }

    fn end_items(&self, depth: usize, output: &mut String) {
        if let Some(indent) = &self.indent {
            output.push('\n');
            output.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }
}

//! The key-value pairs of a GGUF file and typed access to them. What a key means is not known here.

use std::collections::HashMap;

use super::arrays::{Integers, Texts, signed, unsigned};
use super::cursor::{Cursor, MAX_HEADER_BYTES};
use super::error::GgufError;

/// Most entries of one array: larger than any vocabulary and its merges.
const MAX_ARRAY_ENTRIES: usize = 4 << 20;

/// Most key-value pairs.
const MAX_KEYS: usize = 1 << 16;

/// The longest key, as the format says.
const MAX_KEY_BYTES: usize = (1 << 16) - 1;

/// Characters of a file's text that a message quotes.
const QUOTED_CHARACTERS: usize = 64;

/// A metadata value. Integers of all widths become one of two, floats become doubles: getters check ranges.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// u8, u16, u32 or u64.
    Unsigned(u64),
    /// i8, i16, i32 or i64.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// UTF-8 text.
    Text(String),
    /// An array of any integer type or of truth values (as 0 and 1).
    Integers(Integers),
    /// An array of floats.
    Floats(Vec<f32>),
    /// An array of strings.
    Texts(Texts),
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::Unsigned(value) => format!("the integer {value}"),
            Self::Signed(value) => format!("the integer {value}"),
            Self::Float(value) => format!("the float {value}"),
            Self::Bool(value) => format!("the truth value {value}"),
            Self::Text(_) => "a string".to_string(),
            Self::Integers(_) => "an array of integers".to_string(),
            Self::Floats(_) => "an array of floats".to_string(),
            Self::Texts(_) => "an array of strings".to_string(),
        }
    }
}

/// All key-value pairs of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    values: HashMap<String, Value>,
}

impl Metadata {
    /// Reads `count` pairs.
    pub(super) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Self, GgufError> {
        // The map grows as pairs are really read, so that a false count reserves nothing.
        let mut values = HashMap::new();
        for index in 0..count {
            let key = cursor.text(MAX_KEY_BYTES, &|| format!("metadata key {index}"))?;
            let value_type = cursor.u32(&|| format!("metadata key {key:?}: value type"))?;
            let value = read_value(cursor, &key, value_type)?;
            if values.contains_key(&key) {
                return Err(GgufError::Duplicate { kind: "metadata key", name: key });
            }
            values.insert(key, value);
        }
        Ok(Self { values })
    }

    /// Reads the number of pairs that the header promises.
    pub(super) fn read_count(cursor: &mut Cursor<'_>) -> Result<usize, GgufError> {
        // A pair is at least a key length, a value type and one byte.
        cursor.count(13, MAX_KEYS, &|| "number of metadata keys".to_string())
    }

    /// The value of a key, whatever its type.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Sets a key, as a converter does.
    pub(crate) fn insert(&mut self, key: String, value: Value) {
        self.values.insert(key, value);
    }

    /// All keys, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.values.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    /// A string.
    ///
    /// # Errors
    /// When the key is missing or of another type; so for all getters.
    pub fn str(&self, key: &str) -> Result<&str, GgufError> {
        required(key, self.str_opt(key)?)
    }

    /// A string, or `None` when the key is missing.
    ///
    /// # Errors
    /// When the key is of another type; so for all getters that end in `_opt`.
    pub fn str_opt(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An integer of any width that fits into 32 bits without a sign.
    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        required(key, self.u32_opt(key)?)
    }

    /// Like [`Self::u32`], or `None` when the key is missing.
    #[allow(clippy::missing_errors_doc)]
    pub fn u32_opt(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "an integer from 0 to 4294967295", |value| match value {
            Value::Unsigned(value) => u32::try_from(*value).ok(),
            Value::Signed(value) => u32::try_from(*value).ok(),
            _ => None,
        })
    }

    /// A float.
    #[allow(clippy::missing_errors_doc)]
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        required(key, self.f32_opt(key)?)
    }

    /// A float, or `None` when the key is missing.
    #[allow(clippy::missing_errors_doc)]
    pub fn f32_opt(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "a float", |value| match value {
            Value::Float(value) => Some(*value as f32),
            _ => None,
        })
    }

    /// A truth value.
    #[allow(clippy::missing_errors_doc)]
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        required(key, self.bool_opt(key)?)
    }

    /// A truth value, or `None` when the key is missing.
    #[allow(clippy::missing_errors_doc)]
    pub fn bool_opt(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a truth value", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// An array of strings.
    #[allow(clippy::missing_errors_doc)]
    pub fn str_array(&self, key: &str) -> Result<&Texts, GgufError> {
        required(key, self.str_array_opt(key)?)
    }

    /// An array of strings, or `None` when the key is missing.
    #[allow(clippy::missing_errors_doc)]
    pub fn str_array_opt(&self, key: &str) -> Result<Option<&Texts>, GgufError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Texts(texts) => Some(texts),
            _ => None,
        })
    }

    /// An array of floats.
    #[allow(clippy::missing_errors_doc)]
    pub fn f32_array(&self, key: &str) -> Result<&[f32], GgufError> {
        required(key, self.f32_array_opt(key)?)
    }

    /// An array of floats, or `None` when the key is missing.
    #[allow(clippy::missing_errors_doc)]
    pub fn f32_array_opt(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.typed(key, "an array of floats", |value| match value {
            Value::Floats(floats) => Some(floats.as_slice()),
            _ => None,
        })
    }

    /// An array of integers that fit into 32 bits with a sign.
    #[allow(clippy::missing_errors_doc)]
    pub fn i32_array(&self, key: &str) -> Result<Vec<i32>, GgufError> {
        required(key, self.i32_array_opt(key)?)
    }

    /// Like [`Self::i32_array`], or `None` when the key is missing.
    #[allow(clippy::missing_errors_doc)]
    pub fn i32_array_opt(&self, key: &str) -> Result<Option<Vec<i32>>, GgufError> {
        self.typed(key, "an array of 32-bit integers", |value| match value {
            Value::Integers(integers) => integers.iter().map(|integer| i32::try_from(integer).ok()).collect(),
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(GgufError::KeyType { key: key.to_string(), expected, actual: value.describe() }),
        }
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, GgufError> {
    value.ok_or_else(|| GgufError::MissingKey { key: key.to_string() })
}

/// The scalar types of the format by their numbers; 8 is a string and 9 an array.
enum Scalar {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    Bool,
}

fn scalar(value_type: u32) -> Option<Scalar> {
    Some(match value_type {
        0 => Scalar::Unsigned(1),
        1 => Scalar::Signed(1),
        2 => Scalar::Unsigned(2),
        3 => Scalar::Signed(2),
        4 => Scalar::Unsigned(4),
        5 => Scalar::Signed(4),
        6 => Scalar::Float(4),
        7 => Scalar::Bool,
        10 => Scalar::Unsigned(8),
        11 => Scalar::Signed(8),
        12 => Scalar::Float(8),
        _ => return None,
    })
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

fn read_value(cursor: &mut Cursor<'_>, key: &str, value_type: u32) -> Result<Value, GgufError> {
    let field = || format!("metadata key {key:?}");
    match value_type {
        STRING => Ok(Value::Text(cursor.text(MAX_HEADER_BYTES, &field)?)),
        ARRAY => read_array(cursor, key),
        other => match scalar(other) {
            None => Err(GgufError::ValueType { key: key.to_string(), value_type }),
            Some(Scalar::Unsigned(bytes)) => Ok(Value::Unsigned(unsigned(cursor.take(bytes, &field)?))),
            Some(Scalar::Signed(bytes)) => Ok(Value::Signed(signed(cursor.take(bytes, &field)?))),
            Some(Scalar::Float(bytes)) => Ok(Value::Float(float(cursor.take(bytes, &field)?))),
            Some(Scalar::Bool) => Ok(Value::Bool(truth(key, cursor.take(1, &field)?[0])?)),
        },
    }
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufError> {
    let field = || format!("metadata key {key:?}");
    let element_type = cursor.u32(&|| format!("metadata key {key:?}: element type"))?;
    let length = || format!("metadata key {key:?}: array length");
    match element_type {
        ARRAY => Err(GgufError::NestedArray { key: key.to_string() }),
        STRING => {
            let count = cursor.count(8, MAX_ARRAY_ENTRIES, &length)?;
            Ok(Value::Texts(read_texts(cursor, key, count)?))
        }
        other => {
            let Some(scalar) = scalar(other) else {
                return Err(GgufError::ValueType { key: key.to_string(), value_type: other });
            };
            let bytes = match scalar {
                Scalar::Unsigned(bytes) | Scalar::Signed(bytes) | Scalar::Float(bytes) => bytes,
                Scalar::Bool => 1,
            };
            let count = cursor.count(bytes, MAX_ARRAY_ENTRIES, &length)?;
            // `count` has been compared with the bytes that are left, so the product cannot overflow.
            let entries = cursor.take(count * bytes, &field)?;
            match scalar {
                Scalar::Float(_) => {
                    Ok(Value::Floats(entries.chunks_exact(bytes).map(|entry| float(entry) as f32).collect()))
                }
                Scalar::Bool => {
                    entries.iter().try_for_each(|entry| truth(key, *entry).map(|_| ()))?;
                    Ok(Value::Integers(Integers::new(entries, bytes, false)))
                }
                Scalar::Signed(_) => Ok(Value::Integers(Integers::new(entries, bytes, true))),
                Scalar::Unsigned(_) => Ok(Value::Integers(Integers::new(entries, bytes, false))),
            }
        }
    }
}

/// Walks twice: what the entries take in all is known before the first is kept.
fn read_texts(cursor: &mut Cursor<'_>, key: &str, count: usize) -> Result<Texts, GgufError> {
    let entry = |index| move || format!("metadata key {key:?}, entry {index}");
    let mut ahead = cursor.clone();
    let mut bytes = 0;
    for index in 0..count {
        bytes += ahead.str(MAX_HEADER_BYTES, &entry(index))?.len();
    }
    let mut texts = Texts::with_capacity(count, bytes);
    for index in 0..count {
        texts.push(cursor.str(MAX_HEADER_BYTES, &entry(index))?);
    }
    Ok(texts)
}

/// The beginning of a file's text, as much as a message needs to say which it is.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARACTERS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
    }
}

fn float(bytes: &[u8]) -> f64 {
    if bytes.len() == 4 { f64::from(f32::from_bits(unsigned(bytes) as u32)) } else { f64::from_bits(unsigned(bytes)) }
}

fn truth(key: &str, byte: u8) -> Result<bool, GgufError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(GgufError::Invalid {
            field: format!("metadata key {key:?}"),
            value: other.to_string(),
            expected: "0 or 1".to_string(),
        }),
    }
}

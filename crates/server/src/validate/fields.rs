//! Reads a JSON object field by field, so that each error names its field. Null counts as absent, as in OpenAI's API.
//! What the fields mean is decided by the callers.

use crate::error::ApiError;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A JSON object and the path that leads to it, for the `param` of errors.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    prefix: String,
}

impl<'a> Fields<'a> {
    /// The body of a request. Anything but an object is a 400.
    pub fn body(value: &'a Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self { map, prefix: String::new() }),
            other => Err(ApiError::malformed(format!("The body must be a JSON object, not {}.", kind_of(other)))),
        }
    }

    /// An object inside another value; `path` is where it stands, such as `tools.0`.
    pub fn object_at(value: &'a Value, path: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self { map, prefix: format!("{path}.") }),
            other => Err(ApiError::invalid(path, format!("{path} must be an object, not {}.", kind_of(other)))),
        }
    }

    /// The full name of a field, as errors give it.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The raw value; null counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// True when the object has the key, even with the value null.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    fn wrong(&self, name: &str, expected: &str, value: &Value) -> ApiError {
        let path = self.path(name);
        let message = format!("{path} must be {expected}, not {}.", kind_of(value));
        ApiError::invalid(path, message)
    }

    fn missing(&self, name: &str) -> ApiError {
        let path = self.path(name);
        let message = format!("{path} is required.");
        ApiError { code: Some("missing_required_parameter"), ..ApiError::invalid(path, message) }
    }

    /// The value of a field that must be there.
    pub fn required(&self, name: &str) -> Result<&'a Value, ApiError> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    /// A number within `range`.
    pub fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| self.wrong(name, "a number", value))?;
        if range.contains(&number) {
            return Ok(Some(number));
        }
        let path = self.path(name);
        let message = format!("{path} must be from {} to {}, not {number}.", range.start(), range.end());
        Err(ApiError::invalid(path, message))
    }

    /// A whole number within `range`; `3.0` counts as 3.
    pub fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if !value.is_number() {
            return Err(self.wrong(name, "an integer", value));
        }
        match whole(value) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let path = self.path(name);
                let message =
                    format!("{path} must be an integer from {} to {}, not {value}.", range.start(), range.end());
                Err(ApiError::invalid(path, message))
            }
        }
    }

    /// An integer as `u32`; the range must lie within `u32`.
    pub fn unsigned(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, ApiError> {
        let wide = i64::from(*range.start())..=i64::from(*range.end());
        Ok(self.integer(name, wide)?.and_then(|number| u32::try_from(number).ok()))
    }

    /// A boolean.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(name, "true or false", value))
    }

    /// A string of at most `max_bytes`.
    pub fn string(&self, name: &str, max_bytes: usize) -> Result<Option<&'a str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong(name, "a string", value))?;
        if text.len() > max_bytes {
            let path = self.path(name);
            let message = format!("{path} has {} bytes; at most {max_bytes} are accepted.", text.len());
            return Err(ApiError::invalid(path, message));
        }
        Ok(Some(text))
    }

    /// A string that must be there and not be empty.
    pub fn required_string(&self, name: &str, max_bytes: usize) -> Result<&'a str, ApiError> {
        let text = self.string(name, max_bytes)?.ok_or_else(|| self.missing(name))?;
        if text.trim().is_empty() {
            let path = self.path(name);
            let message = format!("{path} must not be empty.");
            return Err(ApiError::invalid(path, message));
        }
        Ok(text)
    }

    /// An array of at most `max_items`.
    pub fn array(&self, name: &str, max_items: usize) -> Result<Option<&'a [Value]>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let items = value.as_array().ok_or_else(|| self.wrong(name, "an array", value))?;
        if items.len() > max_items {
            let path = self.path(name);
            let message = format!("{path} has {} items; at most {max_items} are accepted.", items.len());
            return Err(ApiError::invalid(path, message));
        }
        Ok(Some(items))
    }

    /// An array of strings, each of at most `max_bytes`.
    pub fn strings(&self, name: &str, max_items: usize, max_bytes: usize) -> Result<Option<Vec<String>>, ApiError> {
        let Some(items) = self.array(name, max_items)? else { return Ok(None) };
        let mut strings = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}.{index}", self.path(name));
            let text = item.as_str().ok_or_else(|| {
                ApiError::invalid(path.clone(), format!("{path} must be a string, not {}.", kind_of(item)))
            })?;
            if text.len() > max_bytes {
                let message = format!("{path} has {} bytes; at most {max_bytes} are accepted.", text.len());
                return Err(ApiError::invalid(path, message));
            }
            strings.push(text.to_owned());
        }
        Ok(Some(strings))
    }

    /// An object, with its own path.
    pub fn object(&self, name: &str) -> Result<Option<Fields<'a>>, ApiError> {
        self.get(name).map(|value| Fields::object_at(value, &self.path(name))).transpose()
    }

    /// The keys and values of this object, in the order in which they were sent.
    pub fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.map.iter()
    }

    /// The object as it was sent.
    pub fn raw(&self) -> &'a Map<String, Value> {
        self.map
    }
}

/// A whole number in a JSON value, or `None` when it has a fraction or does not fit.
pub fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    // Beyond 2^53 a double no longer tells neighbouring integers apart.
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
}

/// What a JSON value is, with its article, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_is_the_same_as_absent() {
        let value = json!({"n": null});
        let fields = Fields::body(&value).unwrap();
        assert_eq!(fields.integer("n", 1..=16).unwrap(), None);
        assert!(fields.has("n"));
    }

    #[test]
    fn errors_carry_the_whole_path() {
        let value = json!({"stream_options": {"include_usage": "yes"}});
        let fields = Fields::body(&value).unwrap();
        let error = fields.object("stream_options").unwrap().unwrap().boolean("include_usage").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("stream_options.include_usage"));
    }

    #[test]
    fn integers_refuse_fractions_and_overflow() {
        let value = json!({"a": 1.5, "b": 1e300, "c": 3.0, "d": 18446744073709551615u64});
        let fields = Fields::body(&value).unwrap();
        assert!(fields.integer("a", 0..=9).is_err());
        assert!(fields.integer("b", 0..=9).is_err());
        assert_eq!(fields.integer("c", 0..=9).unwrap(), Some(3));
        assert!(fields.integer("d", 0..=9).is_err());
    }
}

//! A JSON object of a folder's configuration, read with ranges: every error names the file and the key.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::problem;
use crate::error::ModelError;

/// Some settings of a file.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Settings {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self, ModelError> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(values)) => Ok(Self { path: path.to_path_buf(), values }),
            Ok(_) => Err(problem(path, "not a JSON object".to_string())),
            Err(error) => Err(problem(path, format!("not JSON: {error}"))),
        }
    }

    /// The object of a key, where it is there and not null.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, ModelError> {
        let values = self.typed(key, "an object", |value| value.as_object().cloned())?;
        Ok(values.map(|values| Self { path: self.path.clone(), values }))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f32>, ModelError> {
        let finite = |value: f64| (value as f32).is_finite().then_some(value as f32);
        self.typed(key, "a number", |value| value.as_f64().and_then(finite))
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<u32>, ModelError> {
        self.typed(key, "an integer from 0 to 4294967295", |value| value.as_u64().and_then(|v| u32::try_from(v).ok()))
    }

    /// An integer that must be there.
    pub(super) fn needed(&self, key: &str) -> Result<u32, ModelError> {
        self.integer(key)?.ok_or_else(|| self.wrong(format!("{key} is missing")))
    }

    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, ModelError> {
        let number = |value: &Value| value.as_f64().map(|value| value as f32);
        self.typed(key, "a list of numbers", |value| value.as_array()?.iter().map(number).collect())
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, ModelError> {
        self.typed(key, "a list of strings", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// All pairs of an object of strings.
    pub(super) fn text_pairs<'a>(&'a self) -> Result<Vec<(&'a str, &'a str)>, ModelError> {
        let pair = |(key, value): (&'a String, &'a Value)| match value.as_str() {
            Some(text) => Ok((key.as_str(), text)),
            None => Err(self.wrong(format!("{key} must be a string"))),
        };
        self.values.iter().map(pair).collect()
    }

    /// The error of this file.
    pub(super) fn wrong(&self, told: String) -> ModelError {
        problem(&self.path, told)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.wrong(format!("{key} must be {expected}"))),
            },
        }
    }
}

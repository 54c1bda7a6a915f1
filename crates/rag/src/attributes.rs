//! Metadata of stores and attributes of their files, with OpenAI's limits, and the filters over attributes. No SQL: a
//! filter is evaluated on the attributes of one file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{RagError, Result};

/// Pairs that metadata or attributes may have.
const MAX_PAIRS: usize = 16;
/// Characters of a key.
const MAX_KEY: usize = 64;
/// Characters of a text value.
const MAX_VALUE: usize = 512;
/// Filters inside each other.
const MAX_FILTER_DEPTH: usize = 8;
/// Comparisons of a filter in all.
const MAX_COMPARISONS: usize = 64;

/// Metadata of a vector store: names and texts.
pub type Metadata = BTreeMap<String, String>;

/// Attributes of a file in a vector store: names and values that filters compare.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// A truth value.
    Bool(bool),
    /// A number; NaN and infinities are refused.
    Number(f64),
    /// A text of at most 512 characters.
    Text(String),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Checks metadata against the limits; `field` names it in the error.
pub(crate) fn check_metadata(field: &str, metadata: &Metadata) -> Result<()> {
    check_pairs(field, metadata.keys())?;
    metadata.iter().try_for_each(|(key, value)| check_text(field, key, value))
}

/// Checks attributes against the limits; `field` names them in the error.
pub(crate) fn check_attributes(field: &str, attributes: &Attributes) -> Result<()> {
    check_pairs(field, attributes.keys())?;
    attributes.iter().try_for_each(|(key, value)| match value {
        AttributeValue::Text(text) => check_text(field, key, text),
        AttributeValue::Number(number) if !number.is_finite() => {
            Err(RagError::invalid(format!("{field}.{key}"), "must be a finite number"))
        }
        _ => Ok(()),
    })
}

fn check_pairs<'a>(field: &str, keys: impl ExactSizeIterator<Item = &'a String>) -> Result<()> {
    if keys.len() > MAX_PAIRS {
        return Err(RagError::invalid(field, format!("has {} pairs; at most {MAX_PAIRS} are allowed", keys.len())));
    }
    for key in keys {
        if key.is_empty() || key.chars().count() > MAX_KEY {
            return Err(RagError::invalid(field, format!("a key must have 1 to {MAX_KEY} characters")));
        }
    }
    Ok(())
}

fn check_text(field: &str, key: &str, value: &str) -> Result<()> {
    match value.chars().count() {
        length if length > MAX_VALUE => Err(RagError::invalid(
            format!("{field}.{key}"),
            format!("has {length} characters; at most {MAX_VALUE} are allowed"),
        )),
        _ => Ok(()),
    }
}

/// A filter over attributes, in OpenAI's JSON: a comparison `{"type": "eq", "key": "role", "value": "Bakers"}` or a
/// compound `{"type": "and", "filters": [...]}`.
///
/// A missing attribute satisfies `ne` and `nin` only. `gt` and its kin compare numbers with numbers and texts with texts
/// (by code point, which orders ISO dates); values of different kinds are never equal and have no order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Filter {
    /// The attribute equals the value.
    Eq {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: AttributeValue,
    },
    /// The attribute is missing or differs from the value.
    Ne {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: AttributeValue,
    },
    /// The attribute is greater than the value.
    Gt {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: AttributeValue,
    },
    /// The attribute is greater than the value or equal to it.
    Gte {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: AttributeValue,
    },
    /// The attribute is less than the value.
    Lt {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: AttributeValue,
    },
    /// The attribute is less than the value or equal to it.
    Lte {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: AttributeValue,
    },
    /// The attribute is one of the values.
    In {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: Vec<AttributeValue>,
    },
    /// The attribute is missing or none of the values.
    Nin {
        /// Name of the attribute.
        key: String,
        /// What it is compared with.
        value: Vec<AttributeValue>,
    },
    /// All of the filters hold.
    And {
        /// At least one.
        filters: Vec<Filter>,
    },
    /// At least one of the filters holds.
    Or {
        /// At least one.
        filters: Vec<Filter>,
    },
}

impl Filter {
    /// Checks depth, count and key lengths.
    ///
    /// # Errors
    /// [`RagError::Invalid`] with field `filters`.
    pub fn validate(&self) -> Result<()> {
        let mut comparisons = 0;
        self.validate_at(1, &mut comparisons)
    }

    fn validate_at(&self, depth: usize, comparisons: &mut usize) -> Result<()> {
        if depth > MAX_FILTER_DEPTH {
            return Err(RagError::invalid("filters", format!("nested deeper than {MAX_FILTER_DEPTH}")));
        }
        let (key, values) = match self {
            Self::And { filters } | Self::Or { filters } => {
                if filters.is_empty() {
                    return Err(RagError::invalid("filters", "a compound filter needs at least one filter"));
                }
                return filters.iter().try_for_each(|filter| filter.validate_at(depth + 1, comparisons));
            }
            Self::In { key, value } | Self::Nin { key, value } => (key, value.len()),
            Self::Eq { key, .. }
            | Self::Ne { key, .. }
            | Self::Gt { key, .. }
            | Self::Gte { key, .. }
            | Self::Lt { key, .. }
            | Self::Lte { key, .. } => (key, 1),
        };
        if key.is_empty() || key.chars().count() > MAX_KEY {
            return Err(RagError::invalid("filters.key", format!("must have 1 to {MAX_KEY} characters")));
        }
        *comparisons += values;
        if *comparisons > MAX_COMPARISONS {
            return Err(RagError::invalid("filters", format!("more than {MAX_COMPARISONS} values are compared")));
        }
        Ok(())
    }

    /// Whether a file with these attributes passes.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = |key: &String, value: &AttributeValue| attributes.get(key).and_then(|own| compare(own, value));
        match self {
            Self::Eq { key, value } => attributes.get(key) == Some(value),
            Self::Ne { key, value } => attributes.get(key) != Some(value),
            Self::Gt { key, value } => order(key, value) == Some(Greater),
            Self::Gte { key, value } => matches!(order(key, value), Some(Greater | Equal)),
            Self::Lt { key, value } => order(key, value) == Some(Less),
            Self::Lte { key, value } => matches!(order(key, value), Some(Less | Equal)),
            Self::In { key, value } => attributes.get(key).is_some_and(|own| value.contains(own)),
            Self::Nin { key, value } => !attributes.get(key).is_some_and(|own| value.contains(own)),
            Self::And { filters } => filters.iter().all(|filter| filter.matches(attributes)),
            Self::Or { filters } => filters.iter().any(|filter| filter.matches(attributes)),
        }
    }
}

fn compare(own: &AttributeValue, value: &AttributeValue) -> Option<std::cmp::Ordering> {
    match (own, value) {
        (AttributeValue::Number(own), AttributeValue::Number(value)) => own.partial_cmp(value),
        (AttributeValue::Text(own), AttributeValue::Text(value)) => Some(own.cmp(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(json: &str) -> Filter {
        serde_json::from_str(json).expect("a filter")
    }

    #[test]
    fn comparisons_read_openai_json_and_decide() {
        let attributes: Attributes =
            serde_json::from_str(r#"{"role": "Bakers", "year": 2024, "open": true}"#).expect("attributes");
        let cases = [
            (r#"{"type":"eq","key":"role","value":"Bakers"}"#, true),
            (r#"{"type":"ne","key":"role","value":"Bakers"}"#, false),
            (r#"{"type":"ne","key":"missing","value":"Bakers"}"#, true),
            (r#"{"type":"gt","key":"year","value":2023}"#, true),
            (r#"{"type":"gte","key":"year","value":2024}"#, true),
            (r#"{"type":"lt","key":"year","value":"2025"}"#, false),
            (r#"{"type":"lte","key":"missing","value":1}"#, false),
            (r#"{"type":"in","key":"role","value":["Cooks","Bakers"]}"#, true),
            (r#"{"type":"nin","key":"open","value":[true]}"#, false),
            (
                r#"{"type":"and","filters":[{"type":"eq","key":"open","value":true},{"type":"gt","key":"year","value":2030}]}"#,
                false,
            ),
            (
                r#"{"type":"or","filters":[{"type":"eq","key":"open","value":true},{"type":"gt","key":"year","value":2030}]}"#,
                true,
            ),
        ];
        for (json, expected) in cases {
            let filter = filter(json);
            filter.validate().expect("valid");
            assert_eq!(filter.matches(&attributes), expected, "{json}");
        }
    }

    #[test]
    fn deep_and_empty_filters_are_refused() {
        let mut deep = filter(r#"{"type":"eq","key":"a","value":1}"#);
        for _ in 0..MAX_FILTER_DEPTH {
            deep = Filter::And { filters: vec![deep] };
        }
        assert!(deep.validate().is_err());
        assert!(Filter::Or { filters: Vec::new() }.validate().is_err());
    }

    #[test]
    fn limits_of_metadata_are_openais() {
        let mut metadata: Metadata = (0..16).map(|index| (format!("key{index}"), "x".repeat(512))).collect();
        check_metadata("metadata", &metadata).expect("16 pairs of 512");
        metadata.insert("one more".into(), String::new());
        assert!(check_metadata("metadata", &metadata).is_err());
        assert!(check_metadata("metadata", &Metadata::from([("k".repeat(65), String::new())])).is_err());
        assert!(check_metadata("metadata", &Metadata::from([("k".into(), "x".repeat(513))])).is_err());
    }
}

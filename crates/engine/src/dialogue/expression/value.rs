//! The values of expressions, and how they compare.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Failure;
use crate::dialogue::decimal;
use crate::json::Raw;

/// The longest number that is compared as one. Every element of a message may be compared with the same number.
pub(super) const MAX_NUMBER: usize = 256;

/// An intermediate value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dialogue) enum Value<'v> {
    /// The name of what is missing.
    Missing(Cow<'v, str>),
    Null,
    Bool(bool),
    Number(Cow<'v, str>),
    Text(Cow<'v, str>),
    /// An object or an array, as in the message.
    Json(&'v str),
    /// A variable's text, which can be compared with anything.
    Variable(Cow<'v, str>),
    Bytes(Vec<u8>),
}

impl<'v> Value<'v> {
    pub(super) fn from_json(raw: Raw<'v>) -> Value<'v> {
        match raw.text().as_bytes().first() {
            Some(b'"') => Value::Text(raw.content()),
            Some(b'{' | b'[') => Value::Json(raw.text()),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => Value::Number(Cow::Borrowed(raw.text())),
        }
    }

    /// Returns the value as it is inserted: the content of a string, or the JSON of anything else.
    pub(in crate::dialogue) fn into_text(self) -> Result<Cow<'v, str>, Failure> {
        match self {
            Value::Missing(what) => Err(Failure::Missing(what.into_owned())),
            Value::Null => Ok("null".into()),
            Value::Bool(true) => Ok("true".into()),
            Value::Bool(false) => Ok("false".into()),
            Value::Number(text) | Value::Text(text) | Value::Variable(text) => Ok(text),
            Value::Json(text) => Ok(text.into()),
            Value::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(Failure::Refused(
                    "bytes that are no UTF-8 were to be inserted; hex(…) or base64(…) make text of them".into(),
                )),
            },
        }
    }

    /// Returns the text for comparisons, or `None` if it is missing or bytes.
    fn as_text(&self) -> Option<&str> {
        match self {
            Value::Missing(_) | Value::Bytes(_) => None,
            Value::Null => Some("null"),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Number(text) | Value::Text(text) | Value::Variable(text) => Some(text),
            Value::Json(text) => Some(text),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Value::Bytes(bytes) => bytes.len(),
            other => other.as_text().map_or(0, str::len),
        }
    }

    /// Whether two values are equal. A missing value equals nothing. A variable is compared by its text.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Missing(_), _) | (_, Value::Missing(_)) => false,
            (Value::Variable(text), other) | (other, Value::Variable(text)) => other.as_text() == Some(&**text),
            (Value::Number(a), Value::Number(b)) if a.len().max(b.len()) > MAX_NUMBER => a == b,
            (Value::Number(a), Value::Number(b)) => decimal::compare(a, b).is_eq(),
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Json(a), Value::Json(b)) => a == b,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Null, Value::Null) => true,
            _ => false,
        }
    }

    /// Compares numbers by size and texts by their characters. A variable is compared as the other's type. A number of
    /// more than [`MAX_NUMBER`] characters is not compared.
    fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        let number = |value: &Value<'_>| match value {
            Value::Number(text) => text.len() <= MAX_NUMBER,
            Value::Variable(text) => text.len() <= MAX_NUMBER && decimal::is_number(text),
            _ => false,
        };
        let text = |value: &Value<'_>| matches!(value, Value::Text(_) | Value::Variable(_));
        let (a, b) = (self.as_text()?, other.as_text()?);
        if number(self) && number(other) {
            Some(decimal::compare(a, b))
        } else if text(self) && text(other) {
            Some(a.cmp(b))
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    StartsWith,
    Contains,
}

impl Comparison {
    pub(super) fn holds(self, a: &Value<'_>, b: &Value<'_>) -> bool {
        let text = |test: fn(&str, &str) -> bool| match (a.as_text(), b.as_text()) {
            (Some(a), Some(b)) => test(a, b),
            _ => false,
        };
        match self {
            Comparison::Equal | Comparison::NotEqual => a.equals(b),
            Comparison::Less => a.order(b).is_some_and(Ordering::is_lt),
            Comparison::AtMost => a.order(b).is_some_and(Ordering::is_le),
            Comparison::Greater => a.order(b).is_some_and(Ordering::is_gt),
            Comparison::AtLeast => a.order(b).is_some_and(Ordering::is_ge),
            Comparison::StartsWith => text(|a, b| a.starts_with(b)),
            Comparison::Contains => text(|a, b| a.contains(b)),
        }
    }
}

//! The effect of a statement, the elements that have an opposite, and the lists in them.

use serde_json::{Map, Value};

use crate::iam::pattern::UNRESOLVED;

/// What a statement does to the requests that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// An element that has an opposite, such as `Action` and `NotAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element<T> {
    Missing,
    /// The element itself.
    Is(T),
    /// Its opposite.
    Not(T),
    /// The reason.
    Malformed(String),
}

impl<T> Element<T> {
    pub(super) fn new(members: &Map<String, Value>, name: &str, parse: impl Fn(&Value) -> Option<T>) -> Self {
        let opposite = format!("Not{name}");
        let malformed =
            |name: &str, value: &Value| Self::Malformed(format!("its `{name}` is {}", why_malformed(value)));
        match (members.get(name), members.get(&opposite)) {
            (None, None) => Self::Missing,
            (Some(value), None) => parse(value).map_or_else(|| malformed(name, value), Self::Is),
            (None, Some(value)) => parse(value).map_or_else(|| malformed(&opposite, value), Self::Not),
            (Some(_), Some(_)) => Self::Malformed(format!("it has both `{name}` and `{opposite}`")),
        }
    }

    /// What the element or its opposite names.
    pub(crate) fn named(&self) -> Option<&T> {
        match self {
            Self::Is(named) | Self::Not(named) => Some(named),
            Self::Missing | Self::Malformed(_) => None,
        }
    }
}

/// Whether a value stands for one that is not known yet.
pub(super) fn is_unresolved(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(UNRESOLVED))
}

/// What is wrong with the value of an element.
pub(super) fn why_malformed(value: &Value) -> &'static str {
    if is_unresolved(value) { "not resolved" } else { "malformed" }
}

/// A string or an array of strings; nothing else, and at least one.
pub(super) fn strings(value: &Value) -> Option<Vec<String>> {
    parse_list(value, |value| value.as_str().map(str::to_owned))
}

/// Parses a single value or an array of values. `None`: one is malformed, or there is none.
pub(super) fn parse_list<T>(value: &Value, parse: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    values.iter().map(parse).collect::<Option<Vec<T>>>().filter(|values| !values.is_empty())
}

//! Conditions: IAM's operators, with and without set operators.

use serde_json::Value;

use super::{AccessRequest, ContextValue, as_list};
use crate::glob;

/// Whether all conditions are met. A condition that cannot be evaluated counts as `if_unknown`.
pub(super) fn all_met(conditions: &Value, request: &AccessRequest, if_unknown: bool) -> bool {
    let Some(operators) = conditions.as_object() else {
        return conditions.is_null() || if_unknown;
    };
    operators.iter().all(|(operator, keys)| match keys.as_object() {
        None => if_unknown,
        Some(keys) => keys.iter().all(|(key, expected)| is_met(operator, key, expected, request).unwrap_or(if_unknown)),
    })
}

/// IAM's set operators: which of a key's values must match.
#[derive(Clone, Copy)]
enum SetOperator {
    None,
    Any,
    All,
}

/// Whether one condition is met. `None`: it cannot be evaluated.
fn is_met(operator: &str, key: &str, expected: &Value, request: &AccessRequest) -> Option<bool> {
    let actual = request.context_value(key)?;
    let expected: Vec<String> = as_list(expected)
        .into_iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    if operator == "Null" {
        let absent = (*actual == ContextValue::Absent).to_string();
        return Some(expected.contains(&absent));
    }
    // Policy variables are not supported.
    if expected.iter().any(|text| text.contains("${")) {
        return None;
    }
    let (set_operator, operator) = match operator.split_once(':') {
        None => (SetOperator::None, operator),
        Some(("ForAnyValue", operator)) => (SetOperator::Any, operator),
        Some(("ForAllValues", operator)) => (SetOperator::All, operator),
        Some(_) => return None,
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (matches, negated) = comparison(operator)?;
    // A negated operator is met by a value that matches none of those listed.
    let met = |value: &str| expected.iter().any(|pattern| matches(pattern, value)) != negated;
    match (actual, set_operator) {
        // As in IAM, an absent key meets a negated operator.
        (ContextValue::Absent, SetOperator::None) => Some(if_exists || negated),
        (ContextValue::Absent, SetOperator::Any) => Some(if_exists),
        (ContextValue::Absent, SetOperator::All) => Some(true),
        (ContextValue::Single(value), SetOperator::None) => Some(met(value)),
        (ContextValue::Multi(values), SetOperator::Any) => Some(values.iter().any(|value| met(value))),
        (ContextValue::Multi(values), SetOperator::All) => Some(values.iter().all(|value| met(value))),
        // AWS advises against both and does not document the result.
        (ContextValue::Multi(_), SetOperator::None)
        | (ContextValue::Single(_), SetOperator::Any | SetOperator::All) => None,
    }
}

/// Whether a value in a policy matches a value in a request.
type Comparison = fn(&str, &str) -> bool;

fn less_than(limit: &str, text: &str) -> bool {
    matches!((text.parse::<f64>(), limit.parse::<f64>()), (Ok(number), Ok(limit)) if number < limit)
}

/// An operator's comparison, and whether it is negated.
fn comparison(operator: &str) -> Option<(Comparison, bool)> {
    Some(match operator {
        "StringEquals" => (|pattern, text| pattern == text, false),
        "StringNotEquals" => (|pattern, text| pattern == text, true),
        "StringEqualsIgnoreCase" | "Bool" => (|pattern, text| pattern.eq_ignore_ascii_case(text), false),
        "StringNotEqualsIgnoreCase" => (|pattern, text| pattern.eq_ignore_ascii_case(text), true),
        "StringLike" => (glob::matches, false),
        "StringNotLike" => (glob::matches, true),
        "ArnEquals" | "ArnLike" => (glob::arn_matches, false),
        "ArnNotEquals" | "ArnNotLike" => (glob::arn_matches, true),
        "NumericLessThan" => (less_than, false),
        _ => return None,
    })
}

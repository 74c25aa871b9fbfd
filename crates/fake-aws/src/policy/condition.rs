//! Conditions: IAM's operators, with and without quantifiers.

use serde_json::Value;

use super::{Carried, Question, listed};
use crate::glob;

/// Whether all conditions hold; `if_unknown` for those that cannot be judged.
pub(super) fn all_hold(conditions: &Value, question: &Question, if_unknown: bool) -> bool {
    let Some(operators) = conditions.as_object() else {
        return conditions.is_null() || if_unknown;
    };
    operators.iter().all(|(operator, keys)| match keys.as_object() {
        None => if_unknown,
        Some(keys) => keys.iter().all(|(key, wanted)| holds(operator, key, wanted, question).unwrap_or(if_unknown)),
    })
}

/// Over how many of a key's values an operator speaks.
#[derive(Clone, Copy)]
enum Quantifier {
    None,
    Any,
    All,
}

/// Whether one condition holds, if that can be said.
fn holds(operator: &str, key: &str, wanted: &Value, question: &Question) -> Option<bool> {
    let carried = question.carried(key)?;
    let wanted: Vec<String> = listed(wanted)
        .into_iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    if operator == "Null" {
        let absent = (*carried == Carried::Nothing).to_string();
        return Some(wanted.contains(&absent));
    }
    // Policy variables are not known here.
    if wanted.iter().any(|text| text.contains("${")) {
        return None;
    }
    let (quantifier, operator) = match operator.split_once(':') {
        None => (Quantifier::None, operator),
        Some(("ForAnyValue", operator)) => (Quantifier::Any, operator),
        Some(("ForAllValues", operator)) => (Quantifier::All, operator),
        Some(_) => return None,
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (matches, negated) = comparison(operator)?;
    // A negated operator wants a value that none of those listed matches.
    let fits = |value: &str| wanted.iter().any(|pattern| matches(pattern, value)) != negated;
    match (carried, quantifier) {
        // A negated operator holds for a key that is absent, as in IAM.
        (Carried::Nothing, Quantifier::None) => Some(if_exists || negated),
        (Carried::Nothing, Quantifier::Any) => Some(if_exists),
        (Carried::Nothing, Quantifier::All) => Some(true),
        (Carried::One(value), Quantifier::None) => Some(fits(value)),
        (Carried::Many(values), Quantifier::Any) => Some(values.iter().any(|value| fits(value))),
        (Carried::Many(values), Quantifier::All) => Some(values.iter().all(|value| fits(value))),
        // AWS advises against both and promises nothing.
        (Carried::Many(_), Quantifier::None) | (Carried::One(_), Quantifier::Any | Quantifier::All) => None,
    }
}

/// Whether a value that a policy lists matches one that a request carries.
type Matches = fn(&str, &str) -> bool;

/// How an operator compares, and whether it is negated.
fn comparison(operator: &str) -> Option<(Matches, bool)> {
    Some(match operator {
        "StringEquals" => (|pattern, text| pattern == text, false),
        "StringNotEquals" => (|pattern, text| pattern == text, true),
        "StringEqualsIgnoreCase" | "Bool" => (|pattern, text| pattern.eq_ignore_ascii_case(text), false),
        "StringNotEqualsIgnoreCase" => (|pattern, text| pattern.eq_ignore_ascii_case(text), true),
        "StringLike" => (glob::matches, false),
        "StringNotLike" => (glob::matches, true),
        "ArnEquals" | "ArnLike" => (glob::arn_matches, false),
        "ArnNotEquals" | "ArnNotLike" => (glob::arn_matches, true),
        _ => return None,
    })
}

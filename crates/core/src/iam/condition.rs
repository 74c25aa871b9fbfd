//! Whether a `Condition` element is met, as far as the request's condition keys are known.
//!
//! Operators for dates, IP addresses and bytes are not evaluated: trailseal knows no such key of a request.
//!
//! Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>.

use crate::iam::pattern::Pattern;
use crate::iam::request::{Context, Fact, is_session_arn};
use crate::iam::statement::{Condition, to_policy_value};
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// A condition operator, such as `ForAllValues:StringNotLikeIfExists`.
struct Operator {
    quantifier: Option<Quantifier>,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
}

/// Quantifier of a multivalued key: `ForAllValues` or `ForAnyValue`.
#[derive(PartialEq, Eq)]
enum Quantifier {
    All,
    Any,
}

/// Whether a value of the policy matches one of the request, before negation; with policy variables or without.
type Comparison = fn(&str, &str, bool) -> Truth;

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            Some(_) => return None,
            None => (None, name),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let (positive, negated) = match rest {
            "StringNotEquals" => ("StringEquals", true),
            "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
            "StringNotLike" => ("StringLike", true),
            "ArnNotEquals" | "ArnNotLike" => ("ArnLike", true),
            "NumericNotEquals" => ("NumericEquals", true),
            positive => (positive, false),
        };
        let comparison: Comparison = match positive {
            "StringEquals" => |wanted, actual, variables| Pattern::exact(wanted, variables).matches(actual),
            "StringEqualsIgnoreCase" => equals_ignoring_case,
            "StringLike" => |wanted, actual, variables| Pattern::with_wildcards(wanted, variables).matches(actual),
            // They behave identically.
            "ArnEquals" | "ArnLike" => {
                |wanted, actual, variables| Pattern::with_wildcards(wanted, variables).matches_arn(actual)
            }
            "NumericEquals" => |wanted, actual, _| compare(wanted, actual, decimal, f64::eq),
            "NumericLessThan" => |wanted, actual, _| compare(wanted, actual, decimal, f64::lt),
            "NumericLessThanEquals" => |wanted, actual, _| compare(wanted, actual, decimal, f64::le),
            "NumericGreaterThan" => |wanted, actual, _| compare(wanted, actual, decimal, f64::gt),
            "NumericGreaterThanEquals" => |wanted, actual, _| compare(wanted, actual, decimal, f64::ge),
            "Bool" => |wanted, actual, _| compare(wanted, actual, boolean, bool::eq),
            _ => return None,
        };
        Some(Self { quantifier, comparison, negated, if_exists })
    }

    /// Whether the condition is met if no value of the key can match.
    fn is_met_by_no_value(&self, fact: &Fact) -> Truth {
        match (fact, &self.quantifier) {
            (Fact::Absent, _) => self.is_met(&[], fact, false),
            (Fact::Unknown | Fact::OneOf(_), _) if self.if_exists && !self.negated => unknown_value(),
            (_, None) => self.negated.into(),
            (_, Some(_)) => unknown_value(),
        }
    }

    fn is_met(&self, wanted: &[String], fact: &Fact, variables: bool) -> Truth {
        let matches = |actual: &String| Truth::any(wanted.iter().map(|it| (self.comparison)(it, actual, variables)));
        match (fact, &self.quantifier) {
            (Fact::OneOf(facts), _) => same_for_all(facts.iter().map(|fact| self.is_met(wanted, fact, variables))),
            (Fact::Values(values), Some(quantifier)) => multivalued_is_met(quantifier, self.negated, values, matches),
            (Fact::Values(values), None) => value_is_met(self.negated, values, matches),
            (Fact::Absent, None) => (self.if_exists || self.negated).into(),
            (Fact::Absent, Some(quantifier)) => (self.if_exists || *quantifier == Quantifier::All).into(),
            (Fact::Present | Fact::Unknown, _) => unknown_value(),
        }
    }
}

/// Compares two texts as values of a type.
fn compare<T>(wanted: &str, actual: &str, parse: fn(&str) -> Option<T>, holds: fn(&T, &T) -> bool) -> Truth {
    match (parse(actual), parse(wanted)) {
        (Some(actual), Some(wanted)) => holds(&actual, &wanted).into(),
        _ => {
            Truth::unknown(format!("how `{}` compares with `{}` is unknown", shorten(actual, 80), shorten(wanted, 80)))
        }
    }
}

/// `true` and `false` in any case: Python's `str` writes `True` and `False`.
fn boolean(text: &str) -> Option<bool> {
    text.to_ascii_lowercase().parse().ok()
}

/// Whether a request meets a condition.
pub(crate) fn is_met(condition: &Condition, context: &Context, variables: bool) -> Truth {
    let Condition { operator, key, values } = condition;
    let fact = context.get(key);
    let met = match Operator::parse(operator) {
        Some(parsed) if is_never_principal_arn(key, values) => parsed.is_met_by_no_value(fact),
        Some(parsed) if variables => {
            let values: Vec<String> = values.iter().map(|value| context.expand(value).into_owned()).collect();
            parsed.is_met(&values, fact, variables)
        }
        Some(parsed) => parsed.is_met(values, fact, variables),
        None if operator == "Null" => is_absent(values, fact),
        None => Truth::unknown("the operator is not evaluated"),
    };
    met.explained(|why| format!("its condition `{}` on `{key}`: {why}", shorten(operator, 80)))
}

/// What a condition requires, and what the request has instead.
pub(crate) fn describe_unmet(condition: &Condition, context: &Context) -> String {
    let Condition { operator, key, values } = condition;
    let found = match context.get(key) {
        Fact::Values(values) => format!("the request has `{}`", shorten(&values.join("`, `"), 200)),
        Fact::OneOf(_) | Fact::Present => "the request has another value".to_owned(),
        Fact::Absent => "the request does not have the key".to_owned(),
        Fact::Unknown => "the request's value is unknown".to_owned(),
    };
    let required = shorten(&to_policy_value(values).to_string(), 200);
    format!("its condition `{operator}` on `{key}` requires `{required}` and {found}")
}

/// Whether the only values are ARNs of role sessions. The key's value for a session is the ARN of its role.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn>.
fn is_never_principal_arn(key: &str, values: &[String]) -> bool {
    key.eq_ignore_ascii_case("aws:PrincipalArn") && values.iter().all(|value| is_session_arn(value))
}

/// The result that every alternative has, or else unknown.
fn same_for_all(alternatives: impl IntoIterator<Item = Truth>) -> Truth {
    let mut alternatives = alternatives.into_iter();
    let first = alternatives.next().unwrap_or_else(unknown_value);
    if alternatives.all(|other| other == first) { first } else { unknown_value() }
}

fn unknown_value() -> Truth {
    Truth::unknown("the request's value is unknown")
}

fn is_absent(wanted: &[String], fact: &Fact) -> Truth {
    let absent = match fact {
        // Whether AWS treats an empty value as absent is not documented.
        Fact::Values(values) if values.iter().all(String::is_empty) => return unknown_value(),
        Fact::OneOf(facts) => return same_for_all(facts.iter().map(|fact| is_absent(wanted, fact))),
        Fact::Unknown => return unknown_value(),
        Fact::Values(_) | Fact::Present => false,
        Fact::Absent => true,
    };
    Truth::any(wanted.iter().map(|value| match boolean(value) {
        Some(wanted) => (wanted == absent).into(),
        None => Truth::unknown("its value is neither `true` nor `false`"),
    }))
}

/// Whether all or any of the request's values match. AWS treats a set of empty values as empty for some keys.
fn multivalued_is_met(
    quantifier: &Quantifier,
    negated: bool,
    values: &[String],
    matches: impl Fn(&String) -> Truth,
) -> Truth {
    let each = values.iter().map(|value| if negated { matches(value).negated() } else { matches(value) });
    let (met, met_if_empty) = match quantifier {
        Quantifier::All => (Truth::all(each), Truth::Yes),
        Quantifier::Any => (Truth::any(each), Truth::No),
    };
    if met != met_if_empty && values.iter().all(String::is_empty) {
        return Truth::unknown("the request's value is empty");
    }
    met
}

/// Whether the request's only value matches. What an operator without a set prefix does with several values is not
/// documented.
fn value_is_met(negated: bool, values: &[String], matches: impl Fn(&String) -> Truth) -> Truth {
    match values {
        [only] if negated => matches(only).negated(),
        [only] => matches(only),
        _ => Truth::unknown("the request has several values and the operator is for one"),
    }
}

/// What case means outside ASCII is not documented.
fn equals_ignoring_case(wanted: &str, actual: &str, variables: bool) -> Truth {
    let truth = Pattern::exact(&wanted.to_ascii_lowercase(), variables).matches(&actual.to_ascii_lowercase());
    if truth == Truth::No && !(wanted.is_ascii() && actual.is_ascii()) {
        return Truth::unknown("it is compared without regard to case, outside ASCII");
    }
    truth
}

/// A plain decimal number, with so few digits that `f64` is exact enough to compare it.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit());
    if plain && digits.len() <= 15 { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;

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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::iam::Statement;

    fn context() -> Context {
        Context::new()
            .with("one", "a")
            .with("empty", "")
            .with_all("many", ["a", "b"])
            .with_all("partly", ["a", ""])
            .with_some("some")
            .without("none")
    }

    fn statement(condition: &Value) -> Statement {
        (&json!({ "Effect": "Allow", "Condition": condition })).into()
    }

    fn met_by(condition: &Value, context: &Context) -> &'static str {
        let statement = statement(condition);
        let elements = statement.elements().unwrap();
        let conditions = elements.conditions.iter().map(|it| is_met(it, context, true));
        match Truth::all(conditions.chain(elements.unsupported.iter().map(Truth::unknown))) {
            Truth::Yes => "yes",
            Truth::No => "no",
            Truth::Unknown(_) => "unknown",
        }
    }

    fn is(condition: Value) -> &'static str {
        met_by(&condition, &context())
    }

    #[test]
    fn values_are_alternatives_and_negated_ones_exclusions() {
        assert_eq!(is(json!({ "StringEquals": { "one": ["x", "a"] } })), "yes");
        assert_eq!(is(json!({ "StringNotEquals": { "one": ["x", "a"] } })), "no");
        assert_eq!(is(json!({ "StringNotEquals": { "one": ["x", "y"] } })), "yes");
        assert_eq!(is(json!({ "StringEquals": { "ONE": "a" }, "StringLike": { "one": "b*" } })), "no");
        assert_eq!(is(json!({})), "yes");
    }

    #[test]
    fn an_absent_key_meets_only_negated_and_if_exists() {
        for (operator, expected) in [
            ("StringEquals", "no"),
            ("StringNotEquals", "yes"),
            ("ArnNotLike", "yes"),
            ("NumericNotEquals", "yes"),
            ("NumericLessThan", "no"),
            ("Bool", "no"),
            ("StringEqualsIfExists", "yes"),
            ("StringNotEqualsIfExists", "yes"),
            ("BoolIfExists", "yes"),
            ("ForAllValues:StringEquals", "yes"),
            ("ForAllValues:StringNotEquals", "yes"),
            ("ForAnyValue:StringEquals", "no"),
            ("ForAnyValue:StringNotEquals", "no"),
            ("ForAnyValue:StringEqualsIfExists", "yes"),
        ] {
            assert_eq!(is(json!({ operator: { "none": "1" } })), expected, "{operator}");
            assert_eq!(is(json!({ operator: { "unknown": "1" } })), "unknown", "{operator}");
            assert_eq!(is(json!({ operator: { "some": "1" } })), "unknown", "{operator}");
        }
    }

    #[test]
    fn null_tests_only_whether_the_key_is_present() {
        assert_eq!(is(json!({ "Null": { "none": "true" } })), "yes");
        assert_eq!(is(json!({ "Null": { "none": false } })), "no");
        assert_eq!(is(json!({ "Null": { "one": "true" } })), "no");
        assert_eq!(is(json!({ "Null": { "some": ["false"] } })), "yes");
        assert_eq!(is(json!({ "Null": { "one": ["true", "false"] } })), "yes");
        assert_eq!(is(json!({ "Null": { "empty": "true" } })), "unknown");
        assert_eq!(is(json!({ "Null": { "partly": "true" } })), "no");
        assert_eq!(is(json!({ "Null": { "one": "no" } })), "unknown");
        assert_eq!(is(json!({ "Null": { "unknown": "true" } })), "unknown");
        assert_eq!(is(json!({ "NullIfExists": { "one": "true" } })), "unknown");
    }

    #[test]
    fn sets_of_values_match_all_or_any() {
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "many": ["a", "b", "c"] } })), "yes");
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "many": ["a"] } })), "no");
        assert_eq!(is(json!({ "ForAnyValue:StringEquals": { "many": "b" } })), "yes");
        assert_eq!(is(json!({ "ForAnyValue:StringNotEquals": { "many": "b" } })), "yes");
        assert_eq!(is(json!({ "ForAnyValue:StringNotEquals": { "many": ["a", "b"] } })), "no");
        assert_eq!(is(json!({ "ForAllValues:StringNotEquals": { "many": "b" } })), "no");
        for operator in ["StringEquals", "StringLike", "StringNotLike"] {
            for value in ["?", "b", "c"] {
                assert_eq!(is(json!({ operator: { "many": value } })), "unknown", "{operator} {value}");
            }
        }
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "empty": "a" } })), "unknown");
        assert_eq!(is(json!({ "ForAnyValue:StringEquals": { "empty": "a" } })), "no");
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "partly": "a" } })), "no");
        assert_eq!(is(json!({ "ForAnyValue:StringEquals": { "partly": "a" } })), "yes");
    }

    #[test]
    fn alternatives_decide_only_with_the_same_result() {
        let context =
            Context::new().with_one_of("tls", ["1.2", "1.3"]).maybe_with("maybe", "a").with_one_of("one", ["1"]);
        for (condition, expected) in [
            (json!({ "NumericLessThan": { "tls": "1.2" } }), "no"),
            (json!({ "NumericLessThan": { "tls": "1.3" } }), "unknown"),
            (json!({ "ForAnyValue:NumericLessThan": { "tls": "1.3" } }), "unknown"),
            (json!({ "ForAllValues:NumericLessThan": { "tls": "1.3" } }), "unknown"),
            (json!({ "ForAllValues:NumericGreaterThanEquals": { "tls": "1.2" } }), "yes"),
            (json!({ "ForAnyValue:StringNotEquals": { "tls": "1.2" } }), "unknown"),
            (json!({ "StringNotEquals": { "tls": ["1.2", "1.3"] } }), "no"),
            (json!({ "Null": { "tls": "true" } }), "no"),
            (json!({ "NumericEquals": { "one": "1" } }), "yes"),
            (json!({ "StringEquals": { "maybe": "b" } }), "no"),
            (json!({ "StringNotEquals": { "maybe": "b" } }), "yes"),
            (json!({ "StringEquals": { "maybe": "a" } }), "unknown"),
            (json!({ "StringEqualsIfExists": { "maybe": "b" } }), "unknown"),
            (json!({ "Null": { "maybe": "true" } }), "unknown"),
        ] {
            assert_eq!(met_by(&condition, &context), expected, "{condition}");
        }
    }

    #[test]
    fn a_principal_arn_is_never_that_of_a_session() {
        const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/siem/*";
        const ROLE: &str = "arn:aws:iam::123456789012:role/siem";
        let key = "aws:PrincipalArn";
        let unknown = Context::new();
        let (some, role, none) =
            (Context::new().with_some(key), Context::new().with(key, ROLE), Context::new().without(key));
        for (operator, wanted, expected) in [
            ("ArnLike", json!(SESSION), ["no", "no", "no", "no"]),
            ("StringLike", json!([SESSION, SESSION]), ["no", "no", "no", "no"]),
            ("ArnNotLike", json!(SESSION), ["yes", "yes", "yes", "yes"]),
            ("ArnLikeIfExists", json!(SESSION), ["unknown", "no", "no", "yes"]),
            ("StringNotEqualsIfExists", json!(SESSION), ["yes", "yes", "yes", "yes"]),
            ("ArnLike", json!([SESSION, ROLE]), ["unknown", "unknown", "yes", "no"]),
        ] {
            let condition = json!({ operator: { key: wanted } });
            let met = [&unknown, &some, &role, &none].map(|context| met_by(&condition, context));
            assert_eq!(met, expected, "{condition}");
        }
    }

    #[test]
    fn known_variables_are_compared() {
        let context = Context::new().with("aws:SourceAccount", "123456789012").with("key", "123456789012");
        let like = |pattern: &str| met_by(&json!({ "StringLike": { "key": pattern } }), &context);
        assert_eq!(like("${aws:SourceAccount}"), "yes");
        assert_eq!(like("x${aws:SourceAccount}"), "no");
        assert_eq!(like("${aws:PrincipalAccount}"), "unknown");
    }

    #[test]
    fn malformed_or_unsupported_conditions_are_unknown() {
        for condition in [
            json!({ "StringContains": { "one": "a" } }),
            json!({ "StringNotContains": { "one": "a" } }),
            json!({ "NumericNotLessThan": { "one": "1" } }),
            json!({ "DateLessThan": { "aws:CurrentTime": "2026-11-20T11:07:53Z" } }),
            json!({ "IpAddress": { "aws:SourceIp": "203.0.113.0/24" } }),
            json!({ "BinaryEquals": { "one": "QQ==" } }),
            json!({ "stringequals": { "one": "a" } }),
            json!({ "ForSomeValues:StringEquals": { "one": "a" } }),
            json!({ "StringEquals": { "one": [] } }),
            json!({ "StringEquals": { "one": null } }),
            json!({ "StringEquals": { "one": ["a", null] } }),
            json!({ "StringEquals": { "one": { "x": "y" } } }),
            json!({ "StringEquals": {} }),
            json!({ "StringEquals": "one" }),
            json!([]),
            json!("x"),
            json!({ "StringEquals": { "one": "${aws:username}" } }),
        ] {
            assert_eq!(is(condition.clone()), "unknown", "{condition}");
        }
        // Another condition decides.
        assert_eq!(is(json!({ "StringContains": { "one": "a" }, "StringEquals": { "one": "b" } })), "no");
    }

    #[test]
    fn an_unmet_condition_is_described() {
        let statement = statement(&json!({ "StringEquals": { "one": "b", "none": "c" } }));
        let conditions = &statement.elements().unwrap().conditions;
        let unmet: Vec<String> = conditions.iter().map(|it| describe_unmet(it, &context())).collect();
        assert_eq!(
            unmet,
            [
                "its condition `StringEquals` on `none` requires `\"c\"` and the request does not have the key",
                "its condition `StringEquals` on `one` requires `\"b\"` and the request has `a`",
            ]
        );
    }

    /// Whether `actual` matches `wanted`.
    fn compare(operator: &str, wanted: Value, actual: &str) -> &'static str {
        met_by(&json!({ operator: { "key": wanted } }), &Context::new().with("key", actual))
    }

    #[test]
    fn strings_match_exactly_without_case_or_by_wildcards() {
        for (operator, wanted, actual, expected) in [
            ("StringEquals", json!("a*"), "ab", "no"),
            ("StringEquals", json!("a${*}"), "a*", "yes"),
            ("StringNotEquals", json!("A"), "a", "yes"),
            ("StringEqualsIgnoreCase", json!("AbC"), "aBc", "yes"),
            ("StringNotEqualsIgnoreCase", json!("AbC"), "aBc", "no"),
            ("StringNotEqualsIgnoreCase", json!("AbC"), "aBd", "yes"),
            ("StringEqualsIgnoreCase", json!("Ä"), "ä", "unknown"),
            ("StringEqualsIgnoreCase", json!("Äb"), "ÄB", "yes"),
            ("StringNotLike", json!("a?"), "ab", "no"),
            ("StringEquals", json!(123_456_789_012_u64), "123456789012", "yes"),
            ("StringEquals", json!(true), "true", "yes"),
            ("StringEquals", json!(1.5), "1.5", "unknown"),
            ("Bool", json!("true"), "true", "yes"),
            ("Bool", json!(false), "true", "no"),
            ("Bool", json!("True"), "true", "yes"),
            ("Bool", json!("FALSE"), "true", "no"),
            ("Bool", json!("yes"), "true", "unknown"),
        ] {
            assert_eq!(compare(operator, wanted.clone(), actual), expected, "{operator} {wanted} {actual}");
        }
    }

    #[test]
    fn arn_equals_takes_wildcards_as_arn_like_does() {
        let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
        for operator in ["ArnEquals", "ArnLike"] {
            assert_eq!(compare(operator, json!("arn:aws:cloudtrail:*:123456789012:trail/*"), trail), "yes");
            assert_eq!(compare(operator, json!("arn:aws:cloudtrail:*:999999999999:trail/*"), trail), "no");
        }
        for operator in ["ArnNotEquals", "ArnNotLike"] {
            assert_eq!(compare(operator, json!("arn:aws:cloudtrail:*:*:trail/*"), trail), "no");
        }
    }

    #[test]
    fn plain_numbers_are_compared_by_value() {
        for (operator, wanted, actual, expected) in [
            ("NumericEquals", json!("10.0"), "10", "yes"),
            ("NumericLessThan", json!(10), "9", "yes"),
            ("NumericLessThan", json!(1.2), "1.2", "no"),
            ("NumericLessThanEquals", json!("10"), "10", "yes"),
            ("NumericGreaterThan", json!("-1.5"), "-2", "no"),
            ("NumericGreaterThanEquals", json!("3"), "3", "yes"),
            ("NumericNotEquals", json!(3), "4", "yes"),
        ] {
            assert_eq!(compare(operator, wanted.clone(), actual), expected, "{operator} {wanted} {actual}");
        }
        for number in ["1e3", "inf", "", ".5", "0x1", "1234567890123456", "1.2.3"] {
            assert_eq!(compare("NumericEquals", json!(number), "1"), "unknown", "{number}");
            assert_eq!(compare("NumericNotEquals", json!("1"), number), "unknown", "{number}");
        }
    }
}

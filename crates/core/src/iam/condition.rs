//! Whether a `Condition` element is met, as far as a request's context is known.
//!
//! Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>.

use serde_json::Value;

use crate::iam::compare::{Kind, compare};
use crate::iam::request::{Context, Fact};
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// A condition operator, taken apart: `ForAllValues:StringNotLikeIfExists`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operator {
    set: Option<Set>,
    test: Test,
    if_exists: bool,
}

/// How the several values that a request has for one key count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// Whether the request lacks the key.
    Null,
    /// How a value compares with those of the policy.
    Compare { kind: Kind, negated: bool },
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (set, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Set::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Set::Any), rest),
            Some(_) => return None,
            None => (None, name),
        };
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        if rest == "Null" {
            return (set.is_none() && !if_exists).then_some(Self { set, test: Test::Null, if_exists });
        }
        let (kind, negated) = Kind::parse(rest)?;
        Some(Self { set, test: Test::Compare { kind, negated }, if_exists })
    }
}

/// Whether every condition of a `Condition` element is met; and in words which ones are not.
pub(crate) fn met(condition: &Value, context: &Context, variables: bool) -> (Truth, Vec<String>) {
    let Some(operators) = condition.as_object() else {
        return (Truth::unknown("its `Condition` is in a form that is not known here"), Vec::new());
    };
    let mut truth = Truth::Yes;
    let mut unmet = Vec::new();
    for (name, keys) in operators {
        let Some(keys) = keys.as_object().filter(|keys| !keys.is_empty()) else {
            truth = truth.and(Truth::unknown(format!("its condition `{}` names no keys", shorten(name, 80))));
            continue;
        };
        for (key, wanted) in keys {
            let one = one_met(name, key, wanted, context, variables);
            if one == Truth::No {
                unmet.push(in_words(name, key, wanted, context.look_up(key)));
            }
            truth = truth.and(one);
        }
    }
    (truth, unmet)
}

fn in_words(name: &str, key: &str, wanted: &Value, fact: Fact<'_>) -> String {
    let found = match fact {
        Fact::Values(values) => format!("the request has `{}`", shorten(&values.join("`, `"), 200)),
        Fact::Present => "the request has it".to_owned(),
        Fact::Absent => "the request does not have it".to_owned(),
        Fact::Unknown => "nothing is known of it".to_owned(),
    };
    format!("`{name}` on `{key}` wants `{}` and {found}", shorten(&wanted.to_string(), 200))
}

fn one_met(name: &str, key: &str, wanted: &Value, context: &Context, variables: bool) -> Truth {
    let Some(operator) = Operator::parse(name) else {
        return Truth::unknown(format!("its condition operator `{}` is not known here", shorten(name, 80)));
    };
    let wanted = match wanted {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let scalar = |value: &Value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_));
    if wanted.is_empty() || !wanted.iter().all(scalar) {
        return Truth::unknown(format!("its condition on `{key}` has values in a form that is not known here"));
    }
    let truth = match operator.test {
        Test::Null => lacks(wanted, context.look_up(key)),
        Test::Compare { kind, negated } => {
            let matches =
                |actual: &String| Truth::any(wanted.iter().map(|value| compare(kind, value, actual, variables)));
            match (context.look_up(key), operator.set) {
                (Fact::Values(values), Some(set)) => set_holds(set, negated, values, matches),
                (Fact::Values(values), None) => value_holds(negated, values, matches),
                (Fact::Absent, set) => {
                    (operator.if_exists || set == Some(Set::All) || (negated && set.is_none())).into()
                }
                (Fact::Present | Fact::Unknown, _) => unknown(),
            }
        }
    };
    match truth {
        // The reason without the key and the operator would help nobody.
        Truth::Unknown(reasons) => {
            Truth::Unknown(reasons.into_iter().map(|why| format!("its condition `{name}` on `{key}`: {why}")).collect())
        }
        settled => settled,
    }
}

fn unknown() -> Truth {
    Truth::unknown("what the request has there is not known")
}

fn lacks(wanted: &[Value], fact: Fact<'_>) -> Truth {
    let lacking = match fact {
        // A value that is empty may count as none.
        Fact::Values(values) if values.iter().all(String::is_empty) => return unknown(),
        Fact::Values(_) | Fact::Present => false,
        Fact::Absent => true,
        Fact::Unknown => return unknown(),
    };
    Truth::any(wanted.iter().map(|value| match value {
        Value::Bool(wanted) => (*wanted == lacking).into(),
        Value::String(wanted) if wanted == "true" => lacking.into(),
        Value::String(wanted) if wanted == "false" => (!lacking).into(),
        _ => Truth::unknown("its value is neither `true` nor `false`"),
    }))
}

/// Several values of the request, one by one. A set whose values are all empty counts as no set at
/// all, or as what it is.
fn set_holds(set: Set, negated: bool, values: &[String], matches: impl Fn(&String) -> Truth) -> Truth {
    let each = values.iter().map(|value| if negated { matches(value).negated() } else { matches(value) });
    let holds = match set {
        Set::All => Truth::all(each),
        Set::Any => Truth::any(each),
    };
    if values.iter().all(String::is_empty) && holds != Truth::from(set == Set::All) {
        return Truth::unknown("the request has an empty text there");
    }
    holds
}

/// The request's only value. AWS does not say what an operator that is not for sets does with several;
/// then there is an answer only if all of them match, or none does.
fn value_holds(negated: bool, values: &[String], matches: impl Fn(&String) -> Truth) -> Truth {
    let each: Vec<Truth> = values.iter().map(matches).collect();
    let (all, any) = (Truth::all(each.clone()), Truth::any(each));
    match (all, any) {
        (_, Truth::No) => negated.into(),
        (Truth::Yes, _) if !negated || values.len() == 1 => (!negated).into(),
        (doubt @ Truth::Unknown(_), _) | (_, doubt @ Truth::Unknown(_)) => doubt,
        _ => Truth::unknown("the request has more than one value there and the operator is not for sets"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context() -> Context {
        Context::new()
            .with("one", "a")
            .with("empty", "")
            .with_all("many", ["a", "b"])
            .with_all("partly", ["a", ""])
            .with_some("some")
            .without("none")
    }

    fn is(condition: Value) -> &'static str {
        match met(&condition, &context(), true).0 {
            Truth::Yes => "yes",
            Truth::No => "no",
            Truth::Unknown(_) => "maybe",
        }
    }

    #[test]
    fn values_are_alternatives_and_for_negated_operators_exclusions() {
        assert_eq!(is(json!({ "StringEquals": { "one": ["x", "a"] } })), "yes");
        assert_eq!(is(json!({ "StringNotEquals": { "one": ["x", "a"] } })), "no");
        assert_eq!(is(json!({ "StringNotEquals": { "one": ["x", "y"] } })), "yes");
        assert_eq!(is(json!({ "StringEquals": { "ONE": "a" }, "StringLike": { "one": "b*" } })), "no");
        assert_eq!(is(json!({})), "yes");
    }

    #[test]
    fn a_key_that_is_missing_fails_unless_the_operator_is_negated_or_if_exists() {
        for (operator, expected) in [
            ("StringEquals", "no"),
            ("StringNotEquals", "yes"),
            ("ArnNotLike", "yes"),
            ("NotIpAddress", "yes"),
            ("NumericNotEquals", "yes"),
            ("NumericLessThan", "no"),
            ("DateGreaterThan", "no"),
            ("Bool", "no"),
            ("BinaryEquals", "no"),
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
            assert_eq!(is(json!({ operator: { "unknown": "1" } })), "maybe", "{operator}");
            assert_eq!(is(json!({ operator: { "some": "1" } })), "maybe", "{operator}");
        }
    }

    #[test]
    fn null_asks_whether_the_key_is_there_and_nothing_else() {
        assert_eq!(is(json!({ "Null": { "none": "true" } })), "yes");
        assert_eq!(is(json!({ "Null": { "none": false } })), "no");
        assert_eq!(is(json!({ "Null": { "one": "true" } })), "no");
        assert_eq!(is(json!({ "Null": { "some": ["false"] } })), "yes");
        assert_eq!(is(json!({ "Null": { "one": ["true", "false"] } })), "yes");
        assert_eq!(is(json!({ "Null": { "empty": "true" } })), "maybe");
        assert_eq!(is(json!({ "Null": { "partly": "true" } })), "no");
        assert_eq!(is(json!({ "Null": { "one": "no" } })), "maybe");
        assert_eq!(is(json!({ "Null": { "unknown": "true" } })), "maybe");
        assert_eq!(is(json!({ "NullIfExists": { "one": "true" } })), "maybe");
    }

    #[test]
    fn sets_of_values_are_compared_all_or_any() {
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "many": ["a", "b", "c"] } })), "yes");
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "many": ["a"] } })), "no");
        assert_eq!(is(json!({ "ForAnyValue:StringEquals": { "many": "b" } })), "yes");
        assert_eq!(is(json!({ "ForAnyValue:StringNotEquals": { "many": "b" } })), "yes");
        assert_eq!(is(json!({ "ForAnyValue:StringNotEquals": { "many": ["a", "b"] } })), "no");
        assert_eq!(is(json!({ "ForAllValues:StringNotEquals": { "many": "b" } })), "no");
        assert_eq!(is(json!({ "StringEquals": { "many": "b" } })), "maybe");
        assert_eq!(is(json!({ "StringEquals": { "many": "c" } })), "no");
        assert_eq!(is(json!({ "StringLike": { "many": "?" } })), "yes");
        assert_eq!(is(json!({ "StringNotLike": { "many": "?" } })), "maybe");
        assert_eq!(is(json!({ "StringNotLike": { "many": "c" } })), "yes");
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "empty": "a" } })), "maybe");
        assert_eq!(is(json!({ "ForAnyValue:StringEquals": { "empty": "a" } })), "no");
        assert_eq!(is(json!({ "ForAllValues:StringEquals": { "partly": "a" } })), "no");
        assert_eq!(is(json!({ "ForAnyValue:StringEquals": { "partly": "a" } })), "yes");
    }

    #[test]
    fn what_is_not_known_is_a_doubt_and_never_an_answer() {
        for odd in [
            json!({ "StringContains": { "one": "a" } }),
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
            assert_eq!(is(odd.clone()), "maybe", "{odd}");
        }
        // Settled by another condition all the same.
        assert_eq!(is(json!({ "StringContains": { "one": "a" }, "StringEquals": { "one": "b" } })), "no");
    }

    #[test]
    fn a_condition_that_is_not_met_is_told_with_what_was_wanted_and_what_there_is() {
        let (_, unmet) = met(&json!({ "StringEquals": { "one": "b", "none": "c" } }), &context(), true);
        assert_eq!(
            unmet,
            [
                "`StringEquals` on `none` wants `\"c\"` and the request does not have it",
                "`StringEquals` on `one` wants `\"b\"` and the request has `a`",
            ]
        );
    }
}

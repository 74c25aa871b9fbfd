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
    let context = Context::new().with_one_of("tls", ["1.2", "1.3"]).maybe_with("maybe", "a").with_one_of("one", ["1"]);
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

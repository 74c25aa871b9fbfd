//! Requests written as JSON, and arbitrary policies and requests, for the tests of policies.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use trailseal_core::iam::{Caller, Context, Identity, Request};

/// A service by its name, an identity by its ARN, or `anonymous`.
fn caller(text: &str) -> Caller {
    match Identity::parse(text) {
        Some(identity) => Caller::Identity(identity),
        None if text == "anonymous" => Caller::Anonymous,
        None => Caller::service(text),
    }
}

/// A text or an array: these values. `null`: absent. `{"one_of": […]}`: one of these values. `{}`: present, with an
/// unknown value.
fn context(keys: Option<&Map<String, Value>>) -> Context {
    keys.into_iter().flatten().fold(Context::new(), |context, (key, value)| match value {
        Value::String(value) => context.with(key, value),
        Value::Array(values) => context.with_all(key, values.iter().map(|value| value.as_str().unwrap())),
        Value::Null => context.without(key),
        alternatives => match alternatives["one_of"].as_array() {
            Some(values) => context.with_one_of(key, values.iter().map(|value| value.as_str().unwrap())),
            None => context.with_some(key),
        },
    })
}

/// A request with `caller`, `action`, `resource`, `context` and `absent_prefixes`.
pub(crate) fn request(json: &Value) -> Request {
    let prefixes = json["absent_prefixes"].as_array().into_iter().flatten();
    Request {
        caller: caller(json["caller"].as_str().unwrap()),
        action: json["action"].as_str().unwrap().to_owned(),
        resource: json["resource"].as_str().unwrap().to_owned(),
        context: prefixes.fold(context(json["context"].as_object()), |context, prefix| {
            context.without_any(prefix.as_str().unwrap())
        }),
    }
}

/// The order of decisions by name, from denied to unknown to allowed.
pub(crate) fn rank(decision: &str) -> u8 {
    match decision {
        "unknown" => 1,
        "delegated" => 2,
        "allowed" => 3,
        _ => 0,
    }
}

const TRAILS: [&str; 4] = [
    "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit",
    "arn:aws:cloudtrail:us-east-1:123456789012:trail/other",
    "arn:aws:cloudtrail:eu-west-1:210987654321:trail/audit",
    "arn:aws:cloudtrail:eu-west-1:999999999999:store/abc:123456789012:trail/audit",
];
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const OBJECT: &str = "arn:aws:s3:::logs/AWSLogs/123456789012/x:y.gz";

/// The condition keys, each with the values that requests have for it.
const KEYS: [(&str, &[&str]); 6] = [
    ("aws:SourceArn", &TRAILS),
    ("aws:SourceAccount", &["123456789012", "210987654321"]),
    (
        "kms:ViaService",
        &["s3.eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com", "a*", "S3.eu-west-1.amazonaws.com"],
    ),
    ("aws:TagKeys", &["env", "team", "Env"]),
    ("aws:SecureTransport", &["true", "false"]),
    ("s3:max-keys", &["9", "10", "10.5", "-1"]),
];

/// Operators by what they compare, with the values that policies give them.
const OPERATORS: [(&[&str], &[&str], &[&str]); 4] = [
    (
        &[
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
            "StringLike",
            "StringNotLike",
        ],
        &["aws:SourceArn", "aws:SourceAccount", "kms:ViaService", "aws:TagKeys", "AWS:sourcearn", "aws:Absent"],
        &[
            TRAILS[0],
            "123456789012",
            "1234567890??",
            "s3.*",
            "s3.eu-west-1.amazonaws.com",
            "env",
            "ENV",
            "e*",
            "*",
            "a*",
            "${*}",
            "a${*}",
            "${aws:username}",
            "arn:aws:cloudtrail:*:123456789012:trail/*",
        ],
    ),
    (
        &["ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"],
        &["aws:SourceArn", "aws:Absent"],
        &[
            TRAILS[0],
            TRAILS[2],
            "arn:aws:cloudtrail:*:123456789012:trail/*",
            "arn:aws:cloudtrail:eu-????-1:*:trail/audit",
            "arn:*:*:*:*:*",
            "*",
            "no-arn",
            "arn:aws:cloudtrail:*:${*}:trail/*",
        ],
    ),
    (
        &[
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        &["s3:max-keys", "aws:Absent"],
        &["10", "10.0", "9.5", "0", "-1"],
    ),
    (&["Bool"], &["aws:SecureTransport", "aws:Absent"], &["true", "false"]),
];

const AWS: [&str; 12] = [
    "*",
    "123456789012",
    "arn:aws:iam::123456789012:root",
    "arn:aws:iam::210987654321:root",
    "arn:aws:iam::123456789012:role/path/siem",
    "arn:aws:iam::123456789012:role/other",
    "arn:aws:iam::123456789012:user/ann",
    "arn:aws:sts::123456789012:assumed-role/siem/s1",
    "arn:aws:iam::210987654321:role/siem",
    "arn:aws:iam::123456789012:role/*",
    "AROADBQP57FF2AEXAMPLE",
    "nonsense",
];
const SERVICES: [&str; 4] =
    ["cloudtrail.amazonaws.com", "logs.amazonaws.com", "cloudtrail.eu-west-1.amazonaws.com", "s3.amazonaws.com"];
const CALLERS: [&str; 8] = [
    "cloudtrail.amazonaws.com",
    "cloudtrail.amazonaws.com",
    "logs.amazonaws.com",
    "arn:aws:iam::123456789012:root",
    "arn:aws:iam::123456789012:role/path/siem",
    "arn:aws:sts::123456789012:assumed-role/siem/s1",
    "arn:aws:iam::123456789012:user/ann",
    "arn:aws:iam::210987654321:role/siem",
];
const ACTIONS: [&str; 14] = [
    "*",
    "kms:*",
    "kms:GenerateDataKey*",
    "*",
    "kms:*",
    "KMS:generatedatakey*",
    "kms:GenerateDataKey",
    "kms:Decrypt",
    "kms:De*",
    "k*",
    "kms:?ecrypt",
    "s3:*",
    "s3:PutObject",
    "*:*",
];
const RESOURCES: [&str; 12] = [
    "*",
    "*",
    "*",
    "*",
    KEY,
    "arn:aws:kms:*:123456789012:key/*",
    "arn:aws:kms:eu-west-1:210987654321:key/1234abcd",
    "arn:aws:s3:::logs/*",
    "arn:aws:s3:::logs/AWSLogs/*/*",
    "arn:aws:s3:::logs/${aws:username}/*",
    "arn:aws:*:::logs/*",
    "arn:aws:s3*",
];

/// One text, or an array of some.
fn some_of(pool: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(pool).prop_map(|text| json!(text)),
        1 => subsequence(pool, 1..=pool.len().min(3)).prop_map(|texts| json!(texts)),
    ]
}

fn principal() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!("*")),
        3 => some_of(&SERVICES).prop_map(|services| json!({ "Service": services })),
        4 => some_of(&AWS).prop_map(|principals| json!({ "AWS": principals })),
        2 => (some_of(&AWS), some_of(&SERVICES)).prop_map(|(aws, service)| json!({ "AWS": aws, "Service": service })),
        1 => select(vec![
            json!({ "Federated": "accounts.google.com" }),
            json!({ "CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be" }),
        ]),
    ]
}

fn operator() -> impl Strategy<Value = (String, Value)> {
    let set_or_plain =
        |(names, keys, values): (&'static [&'static str], &'static [&'static str], &'static [&'static str])| {
            let for_sets = !matches!(names.first(), Some(&("NumericEquals" | "Bool")));
            let prefix =
                if for_sets { select(vec!["", "", "", "", "ForAllValues:", "ForAnyValue:"]) } else { select(vec![""]) };
            (select(names), prefix, select(vec!["", "", "", "IfExists"]), select(keys), some_of(values)).prop_map(
                |(name, prefix, suffix, key, values)| {
                    let suffix = if prefix.is_empty() { suffix } else { "" };
                    (format!("{prefix}{name}{suffix}"), json!({ key: values }))
                },
            )
        };
    prop_oneof![
        9 => select(&OPERATORS[..]).prop_flat_map(set_or_plain),
        2 => (select(&KEYS[..]), select(vec![json!("true"), json!("false"), json!(true), json!(false)]))
            .prop_map(|((key, _), absent)| ("Null".to_owned(), json!({ key: absent }))),
    ]
}

fn condition() -> impl Strategy<Value = Option<Value>> {
    let operators = |count| prop::collection::vec(operator(), count);
    prop_oneof![
        2 => Just(None),
        2 => operators(1..=2).prop_map(|operators| Some(operators.into_iter().collect::<Map<String, Value>>().into())),
    ]
}

/// A statement that follows the grammar.
pub(crate) fn statement() -> impl Strategy<Value = Value> {
    let effect = select(vec!["Allow", "Allow", "Deny"]);
    let who = (select(vec!["Principal", "Principal", "Principal", "Principal", "NotPrincipal"]), principal());
    let what = (select(vec!["Action", "Action", "Action", "NotAction"]), some_of(&ACTIONS));
    let on = (select(vec!["Resource", "Resource", "Resource", "NotResource"]), some_of(&RESOURCES));
    (effect, who, what, on, condition()).prop_map(|(effect, who, what, on, condition)| {
        let mut statement = json!({ "Effect": effect, who.0: who.1, what.0: what.1, on.0: on.1 });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        statement
    })
}

fn versioned(statements: Vec<Value>, version: Option<&str>) -> Value {
    match version {
        Some(version) => json!({ "Version": version, "Statement": statements }),
        None => json!({ "Statement": statements }),
    }
}

/// A policy that follows the grammar.
fn policy() -> impl Strategy<Value = Value> {
    let version = select(vec![Some("2012-10-17"), Some("2012-10-17"), Some("2008-10-17"), None]);
    (prop::collection::vec(statement(), 1..=4), version)
        .prop_map(|(statements, version)| versioned(statements, version))
}

/// A policy in which one member, somewhere, is something else or missing.
fn broken_policy() -> impl Strategy<Value = Value> {
    let junk = select(vec![
        json!(null),
        json!(7),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("*"),
        json!(["*", 1]),
        json!({ "AWS": [] }),
        json!({ "StringFoo": { "aws:SourceArn": "x" } }),
        json!({ "StringEquals": { "aws:SourceArn": [] } }),
        json!({ "StringEquals": {} }),
        json!({ "ForAnyValue:Null": { "aws:SourceArn": "true" } }),
        json!([[["*"]]]),
    ]);
    let member = select(vec![
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "Foo",
        "effect",
    ]);
    (policy(), member, prop::option::of(junk)).prop_map(|(mut policy, member, junk)| {
        if let Some(statement) = policy["Statement"][0].as_object_mut() {
            match junk {
                Some(junk) => drop(statement.insert(member.to_owned(), junk)),
                None => drop(statement.remove(member)),
            }
        }
        policy
    })
}

/// A request about which everything is known: each key has values or is absent.
pub(crate) fn any_request() -> impl Strategy<Value = Value> {
    let fact = |(key, values): (&'static str, &'static [&'static str])| {
        let several = if key == "aws:TagKeys" { 1..=3_usize } else { 1..=1 };
        prop_oneof![
            1 => Just(json!(null)),
            3 => subsequence(values, several).prop_map(|values| json!(values)),
        ]
        .prop_map(move |fact| (key.to_owned(), fact))
    };
    let facts = KEYS.map(fact).into_iter().collect::<Vec<_>>();
    let call = select(vec![("kms:GenerateDataKey", KEY), ("kms:Decrypt", KEY), ("s3:PutObject", OBJECT)]);
    (select(&CALLERS[..]), call, facts).prop_map(|(caller, (action, resource), facts)| {
        let mut context: Map<String, Value> = facts.into_iter().collect();
        context.insert("aws:Absent".to_owned(), Value::Null);
        json!({ "caller": caller, "action": action, "resource": resource, "context": context })
    })
}

/// A policy that may follow the grammar.
pub(crate) fn any_policy() -> impl Strategy<Value = Value> {
    prop_oneof![3 => policy(), 1 => broken_policy()]
}

//! The evaluator's own rules.

use serde_json::json;

use super::*;

const TRAIL: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";

/// What one statement says to CloudTrail, which asks for `kms:Decrypt` on behalf of a trail.
fn to_cloudtrail(effect: &str, principal: Value, condition: Value) -> Verdict {
    let question = Question::new(Caller::Service("cloudtrail.amazonaws.com".into()), "kms:Decrypt", "*")
        .with("aws:SourceArn", TRAIL)
        .without(&["aws:PrincipalArn"]);
    let mut statement =
        json!({"Sid": "S", "Effect": effect, "Principal": principal, "Action": "kms:*", "Resource": "*"});
    if !condition.is_null() {
        statement["Condition"] = condition;
    }
    ask(&json!({"Statement": statement}).to_string(), &question)
}

#[test]
fn everybody_includes_services_in_both_spellings() {
    for principal in [json!("*"), json!({"AWS": "*"}), json!({"Service": "cloudtrail.amazonaws.com"})] {
        assert_eq!(to_cloudtrail("Allow", principal, Value::Null), Verdict::Allowed);
    }
    let root = json!({"AWS": "arn:aws:iam::123456789012:root"});
    assert_eq!(to_cloudtrail("Allow", root, Value::Null), Verdict::Silent);
}

#[test]
fn an_unknown_condition_counts_against_the_caller() {
    for condition in [
        json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
        json!({"NumericLessThan": {"aws:SourceArn": "1"}}),
        json!({"ForAnyValue:StringEquals": {"aws:SourceArn": TRAIL}}),
    ] {
        assert_eq!(to_cloudtrail("Allow", json!("*"), condition.clone()), Verdict::Silent);
        assert_eq!(to_cloudtrail("Deny", json!("*"), condition), Verdict::Denied("S".into()));
    }
}

#[test]
fn a_key_known_to_be_absent_is_judged_as_iam_does() {
    let judged = |operator: &str| {
        let condition = json!({operator: {"aws:PrincipalArn": "x"}});
        to_cloudtrail("Allow", json!("*"), condition)
    };
    assert_eq!(judged("StringEquals"), Verdict::Silent);
    assert_eq!(judged("StringEqualsIfExists"), Verdict::Allowed);
    assert_eq!(judged("StringNotEquals"), Verdict::Allowed);
    let absent = json!({"Null": {"aws:PrincipalArn": "true"}});
    assert_eq!(to_cloudtrail("Allow", json!("*"), absent), Verdict::Allowed);
}

#[test]
fn values_are_alternatives_and_keys_are_not() {
    let either = json!({"StringEquals": {"AWS:sourcearn": ["other", TRAIL]}});
    assert_eq!(to_cloudtrail("Allow", json!("*"), either), Verdict::Allowed);
    let both = json!({"StringEquals": {"aws:SourceArn": TRAIL, "aws:PrincipalArn": "x"}});
    assert_eq!(to_cloudtrail("Allow", json!("*"), both), Verdict::Silent);
}

#[test]
fn an_account_delegates_and_a_name_allows() {
    let question = Question::new(Caller::Principal(ROLE.into()), "kms:PutKeyPolicy", "*");
    let verdict = |principal: &str| {
        let statement =
            json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "kms:Put*", "Resource": "*"});
        ask(&json!({"Statement": [statement]}).to_string(), &question)
    };
    assert_eq!(verdict(ROLE), Verdict::Allowed);
    assert_eq!(verdict("123456789012"), Verdict::Delegated);
    assert_eq!(verdict("arn:aws:iam::123456789012:root"), Verdict::Delegated);
    assert_eq!(verdict("arn:aws:iam::210987654321:root"), Verdict::Silent);
}

#[test]
fn the_negative_elements_turn_a_statement_around() {
    let question = Question::new(Caller::Service("cloudtrail.amazonaws.com".into()), "kms:Decrypt", "*");
    let deny = json!({"Statement": [
        {"Effect": "Allow", "Principal": "*", "NotAction": "kms:Encrypt", "Resource": "*"},
        {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "*", "Resource": "*"},
    ]});
    assert_eq!(ask(&deny.to_string(), &question), Verdict::Denied("statement 1".into()));
    let spared = deny.to_string().replace(&format!("\"AWS\":\"{ROLE}\""), "\"Service\":\"cloudtrail.amazonaws.com\"");
    assert_eq!(ask(&spared, &question), Verdict::Allowed);
}

const ALIASES: &str = "kms:ResourceAliases";

/// Whether an IAM policy with one statement on these terms allows a question with two aliases and no tag.
fn identity(effect: &str, condition: Value) -> Said {
    let question = Question::new(Caller::Principal(ROLE.into()), "kms:PutKeyPolicy", "arn:aws:kms:a:1:key/k")
        .with_all(ALIASES, ["alias/one", "alias/two"])
        .with("kms:CallerAccount", "123456789012")
        .without_others(&["aws:RequestTag/"]);
    let statement = json!({"Sid": "S", "Effect": effect, "Action": "kms:Put*", "Resource": "arn:aws:kms:*:1:key/*", "Condition": condition});
    of_identity(&json!({"Statement": [statement]}), &question)
}

fn holds(condition: Value) -> bool {
    let allowed = identity("Allow", condition.clone()).allowed == ["S"];
    assert_eq!(identity("Deny", condition.clone()).denied.is_some(), allowed, "{condition} can be judged");
    allowed
}

#[test]
fn quantifiers_speak_of_each_value_of_a_key() {
    assert!(holds(json!({"ForAnyValue:StringEquals": {ALIASES: ["alias/two", "alias/three"]}})));
    assert!(!holds(json!({"ForAllValues:StringEquals": {ALIASES: ["alias/two", "alias/three"]}})));
    assert!(holds(json!({"ForAllValues:StringLike": {ALIASES: "alias/*"}})));
    assert!(holds(json!({"ForAnyValue:StringNotEquals": {ALIASES: "alias/two"}})));
    assert!(!holds(json!({"ForAllValues:StringNotEquals": {ALIASES: "alias/two"}})));
}

#[test]
fn over_no_value_at_all_any_is_false_and_all_is_true() {
    assert!(!holds(json!({"ForAnyValue:StringEquals": {"aws:RequestTag/a": "x"}})));
    assert!(!holds(json!({"ForAnyValue:StringNotEquals": {"aws:RequestTag/a": "x"}})));
    assert!(holds(json!({"ForAllValues:StringEquals": {"aws:RequestTag/a": "x"}})));
    assert!(!holds(json!({"StringEquals": {"aws:RequestTag/a": "x"}})));
    assert!(holds(json!({"StringNotLike": {"aws:RequestTag/a": "x"}})));
}

#[test]
fn what_aws_promises_nothing_about_counts_against_the_caller() {
    for condition in [
        json!({"StringEquals": {ALIASES: "alias/one"}}),
        json!({"ForAnyValue:StringEquals": {"kms:CallerAccount": "123456789012"}}),
        json!({"StringEquals": {"kms:CallerAccount": "${aws:PrincipalAccount}"}}),
    ] {
        assert_eq!(identity("Allow", condition.clone()), Said::default());
        assert!(identity("Deny", condition).denied.is_some());
    }
    let question = Question::new(Caller::Principal(ROLE.into()), "s3:GetObject", "arn:aws:s3:::logs/a");
    let statement = |effect: &str| json!({"Statement": {"Effect": effect, "Action": "*", "Resource": "arn:aws:s3:::${aws:username}"}});
    assert_eq!(of_identity(&statement("Allow"), &question), Said::default());
    assert!(of_identity(&statement("Deny"), &question).denied.is_some());
}

//! The evaluator's rules.

use serde_json::json;

use super::*;

const TRAIL: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";

/// The decision of one statement when CloudTrail requests `kms:Decrypt` on behalf of a trail.
fn decision_for_cloudtrail(effect: &str, principal: Value, condition: Value) -> PolicyDecision {
    let request = AccessRequest::new(Caller::Service("cloudtrail.amazonaws.com".into()), "kms:Decrypt", "*")
        .with("aws:SourceArn", TRAIL)
        .without(&["aws:PrincipalArn"]);
    let mut statement =
        json!({"Sid": "S", "Effect": effect, "Principal": principal, "Action": "kms:*", "Resource": "*"});
    if !condition.is_null() {
        statement["Condition"] = condition;
    }
    evaluate(&json!({"Statement": statement}).to_string(), &request)
}

#[test]
fn a_wildcard_principal_includes_services() {
    for principal in [json!("*"), json!({"AWS": "*"}), json!({"Service": "cloudtrail.amazonaws.com"})] {
        assert_eq!(decision_for_cloudtrail("Allow", principal, Value::Null), PolicyDecision::Allowed);
    }
    let root = json!({"AWS": "arn:aws:iam::123456789012:root"});
    assert_eq!(decision_for_cloudtrail("Allow", root, Value::Null), PolicyDecision::ImplicitDeny);
}

#[test]
fn an_unknown_condition_fails_closed() {
    for condition in [
        json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
        json!({"NumericGreaterThan": {"aws:SourceArn": "1"}}),
        json!({"ForAnyValue:StringEquals": {"aws:SourceArn": TRAIL}}),
    ] {
        assert_eq!(decision_for_cloudtrail("Allow", json!("*"), condition.clone()), PolicyDecision::ImplicitDeny);
        assert_eq!(decision_for_cloudtrail("Deny", json!("*"), condition), PolicyDecision::ExplicitDeny("S".into()));
    }
}

#[test]
fn an_absent_key_is_evaluated_as_iam_does() {
    let decision = |operator: &str| {
        let condition = json!({operator: {"aws:PrincipalArn": "x"}});
        decision_for_cloudtrail("Allow", json!("*"), condition)
    };
    assert_eq!(decision("StringEquals"), PolicyDecision::ImplicitDeny);
    assert_eq!(decision("StringEqualsIfExists"), PolicyDecision::Allowed);
    assert_eq!(decision("StringNotEquals"), PolicyDecision::Allowed);
    let absent = json!({"Null": {"aws:PrincipalArn": "true"}});
    assert_eq!(decision_for_cloudtrail("Allow", json!("*"), absent), PolicyDecision::Allowed);
}

#[test]
fn values_are_combined_with_or_and_keys_with_and() {
    let either = json!({"StringEquals": {"AWS:sourcearn": ["other", TRAIL]}});
    assert_eq!(decision_for_cloudtrail("Allow", json!("*"), either), PolicyDecision::Allowed);
    let both = json!({"StringEquals": {"aws:SourceArn": TRAIL, "aws:PrincipalArn": "x"}});
    assert_eq!(decision_for_cloudtrail("Allow", json!("*"), both), PolicyDecision::ImplicitDeny);
}

#[test]
fn an_account_principal_delegates_and_an_arn_allows() {
    let request = AccessRequest::new(Caller::Principal(ROLE.into()), "kms:PutKeyPolicy", "*");
    let decision = |principal: &str| {
        let statement =
            json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "kms:Put*", "Resource": "*"});
        evaluate(&json!({"Statement": [statement]}).to_string(), &request)
    };
    assert_eq!(decision(ROLE), PolicyDecision::Allowed);
    assert_eq!(decision("123456789012"), PolicyDecision::Delegated);
    assert_eq!(decision("arn:aws:iam::123456789012:root"), PolicyDecision::Delegated);
    assert_eq!(decision("arn:aws:iam::210987654321:root"), PolicyDecision::ImplicitDeny);
}

#[test]
fn negative_elements_invert_a_statement() {
    let request = AccessRequest::new(Caller::Service("cloudtrail.amazonaws.com".into()), "kms:Decrypt", "*");
    let deny = json!({"Statement": [
        {"Effect": "Allow", "Principal": "*", "NotAction": "kms:Encrypt", "Resource": "*"},
        {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "*", "Resource": "*"},
    ]});
    assert_eq!(evaluate(&deny.to_string(), &request), PolicyDecision::ExplicitDeny("statement 1".into()));
    let excluded = deny.to_string().replace(&format!("\"AWS\":\"{ROLE}\""), "\"Service\":\"cloudtrail.amazonaws.com\"");
    assert_eq!(evaluate(&excluded, &request), PolicyDecision::Allowed);
}

const ALIASES: &str = "kms:ResourceAliases";

/// Evaluates an identity-based policy of one statement for a request with two aliases and no tag.
fn identity(effect: &str, condition: Value) -> MatchingStatements {
    let request = AccessRequest::new(Caller::Principal(ROLE.into()), "kms:PutKeyPolicy", "arn:aws:kms:a:1:key/k")
        .with_all(ALIASES, ["alias/one", "alias/two"])
        .with("kms:CallerAccount", "123456789012")
        .without_prefixes(&["aws:RequestTag/"]);
    let statement = json!({"Sid": "S", "Effect": effect, "Action": "kms:Put*", "Resource": "arn:aws:kms:*:1:key/*", "Condition": condition});
    evaluate_identity_policy(&json!({"Statement": [statement]}), &request)
}

fn is_met(condition: Value) -> bool {
    let allowed = identity("Allow", condition.clone()).allowed == ["S"];
    assert_eq!(identity("Deny", condition.clone()).denied.is_some(), allowed, "{condition} can be evaluated");
    allowed
}

#[test]
fn set_operators_apply_to_each_value() {
    assert!(is_met(json!({"ForAnyValue:StringEquals": {ALIASES: ["alias/two", "alias/three"]}})));
    assert!(!is_met(json!({"ForAllValues:StringEquals": {ALIASES: ["alias/two", "alias/three"]}})));
    assert!(is_met(json!({"ForAllValues:StringLike": {ALIASES: "alias/*"}})));
    assert!(is_met(json!({"ForAnyValue:StringNotEquals": {ALIASES: "alias/two"}})));
    assert!(!is_met(json!({"ForAllValues:StringNotEquals": {ALIASES: "alias/two"}})));
}

#[test]
fn set_operators_over_no_value_are_false_and_true() {
    assert!(!is_met(json!({"ForAnyValue:StringEquals": {"aws:RequestTag/a": "x"}})));
    assert!(!is_met(json!({"ForAnyValue:StringNotEquals": {"aws:RequestTag/a": "x"}})));
    assert!(is_met(json!({"ForAllValues:StringEquals": {"aws:RequestTag/a": "x"}})));
    assert!(!is_met(json!({"StringEquals": {"aws:RequestTag/a": "x"}})));
    assert!(is_met(json!({"StringNotLike": {"aws:RequestTag/a": "x"}})));
}

#[test]
fn undocumented_cases_fail_closed() {
    for condition in [
        json!({"StringEquals": {ALIASES: "alias/one"}}),
        json!({"ForAnyValue:StringEquals": {"kms:CallerAccount": "123456789012"}}),
        json!({"StringEquals": {"kms:CallerAccount": "${aws:PrincipalAccount}"}}),
    ] {
        assert_eq!(identity("Allow", condition.clone()), MatchingStatements::default());
        assert!(identity("Deny", condition).denied.is_some());
    }
    let request = AccessRequest::new(Caller::Principal(ROLE.into()), "s3:GetObject", "arn:aws:s3:::logs/a");
    let statement = |effect: &str| json!({"Statement": {"Effect": effect, "Action": "*", "Resource": "arn:aws:s3:::${aws:username}"}});
    assert_eq!(evaluate_identity_policy(&statement("Allow"), &request), MatchingStatements::default());
    assert!(evaluate_identity_policy(&statement("Deny"), &request).denied.is_some());
}

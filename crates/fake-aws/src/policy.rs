//! Who does a policy let in? A small evaluator, for key policies and for the Denies of bucket policies.
//!
//! Cautious by design: a condition that it does not know makes an Allow not count and a Deny count.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::glob;
use crate::names;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An AWS service, like `cloudtrail.amazonaws.com`.
    Service(String),
    /// A role or user, by its ARN.
    Principal(String),
}

/// What is asked of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub caller: Caller,
    /// What for, like `kms:Decrypt`.
    pub action: String,
    /// On what.
    pub resource: String,
    /// What the request carries. `None` as value: known to be absent. A key that is not here is unknown.
    pub context: BTreeMap<String, Option<String>>,
}

impl Question {
    /// A question without context.
    pub fn new(caller: Caller, action: &str, resource: &str) -> Question {
        Question { caller, action: action.to_owned(), resource: resource.to_owned(), context: BTreeMap::new() }
    }

    /// With a condition key that the request carries.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Question {
        self.context.insert(key.to_ascii_lowercase(), Some(value.to_owned()));
        self
    }

    /// With condition keys that such a request never carries.
    #[must_use]
    pub fn without(mut self, keys: &[&str]) -> Question {
        for key in keys {
            self.context.insert(key.to_ascii_lowercase(), None);
        }
        self
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Allowed,
    /// Nothing allows it to the caller itself, but a statement allows the caller's account, whose IAM decides.
    Delegated,
    /// Nothing allows it.
    Silent,
    /// A statement denies it: its Sid, or its place.
    Denied(String),
}

/// What `policy` says to the question; a policy that cannot be read says nothing.
pub fn ask(policy: &str, question: &Question) -> Verdict {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else {
        return Verdict::Silent;
    };
    let statements = listed(&policy["Statement"]);
    let mut verdict = Verdict::Silent;
    for (place, statement) in statements.iter().enumerate() {
        let allow = statement["Effect"] == "Allow";
        if !(names_action(statement, &question.action)
            && names_resource(statement, &question.resource)
            && conditions_hold(&statement["Condition"], question, !allow))
        {
            continue;
        }
        match (allow, names_caller(statement, question)) {
            (_, Named::Not) => {}
            (false, _) => {
                let sid = statement["Sid"].as_str().map(str::to_owned);
                return Verdict::Denied(sid.unwrap_or_else(|| format!("statement {place}")));
            }
            (true, Named::Directly) => verdict = Verdict::Allowed,
            (true, Named::ByAccount) if verdict == Verdict::Silent => verdict = Verdict::Delegated,
            (true, Named::ByAccount) => {}
        }
    }
    verdict
}

/// A value that may be one or a list of them.
pub(crate) fn listed(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

fn texts(value: &Value) -> Vec<&str> {
    listed(value).into_iter().filter_map(Value::as_str).collect()
}

fn names_action(statement: &Value, action: &str) -> bool {
    let any = |value: &Value| texts(value).iter().any(|p| glob::matches_ignoring_case(p, action));
    match &statement["NotAction"] {
        Value::Null => any(&statement["Action"]),
        not => !any(not),
    }
}

fn names_resource(statement: &Value, resource: &str) -> bool {
    let any = |value: &Value| texts(value).iter().any(|p| glob::matches(p, resource));
    match &statement["NotResource"] {
        Value::Null => any(&statement["Resource"]),
        not => !any(not),
    }
}

/// How a statement names the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Not,
    ByAccount,
    Directly,
}

fn names_caller(statement: &Value, question: &Question) -> Named {
    match &statement["NotPrincipal"] {
        Value::Null => named_in(&statement["Principal"], &question.caller),
        not => match named_in(not, &question.caller) {
            Named::Not => Named::Directly,
            Named::ByAccount | Named::Directly => Named::Not,
        },
    }
}

fn named_in(principal: &Value, caller: &Caller) -> Named {
    if principal == "*" || texts(&principal["AWS"]).contains(&"*") {
        return Named::Directly;
    }
    match caller {
        Caller::Service(service) => match texts(&principal["Service"]).contains(&service.as_str()) {
            true => Named::Directly,
            false => Named::Not,
        },
        Caller::Principal(arn) => {
            let account = names::account_of(arn);
            let root = format!(":iam::{account}:root");
            let named = texts(&principal["AWS"]);
            if named.contains(&arn.as_str()) {
                Named::Directly
            } else if named.iter().any(|name| *name == account || name.ends_with(&root)) {
                Named::ByAccount
            } else {
                Named::Not
            }
        }
    }
}

/// Whether all conditions hold; `if_unknown` for those that cannot be judged.
fn conditions_hold(conditions: &Value, question: &Question, if_unknown: bool) -> bool {
    let Some(operators) = conditions.as_object() else {
        return conditions.is_null() || if_unknown;
    };
    operators.iter().all(|(operator, keys)| match keys.as_object() {
        None => if_unknown,
        Some(keys) => {
            keys.iter().all(|(key, wanted)| condition_holds(operator, key, wanted, question).unwrap_or(if_unknown))
        }
    })
}

/// Whether one condition holds, if that can be said.
fn condition_holds(operator: &str, key: &str, wanted: &Value, question: &Question) -> Option<bool> {
    let actual = question.context.get(&key.to_ascii_lowercase())?;
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let scalars: Vec<String> = listed(wanted)
        .into_iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    if operator == "Null" {
        let absent = actual.is_none().to_string();
        return Some(scalars.contains(&absent));
    }
    let (compare, negated): (fn(&str, &str) -> bool, bool) = match operator {
        "StringEquals" | "Bool" => (|pattern, text| pattern == text, false),
        "StringNotEquals" => (|pattern, text| pattern == text, true),
        "StringEqualsIgnoreCase" => (|pattern, text| pattern.eq_ignore_ascii_case(text), false),
        "StringLike" => (glob::matches, false),
        "StringNotLike" => (glob::matches, true),
        "ArnEquals" | "ArnLike" => (glob::arn_matches, false),
        "ArnNotEquals" | "ArnNotLike" => (glob::arn_matches, true),
        _ => return None,
    };
    match actual {
        // A negated operator holds for a key that is absent, as in IAM.
        None => Some(if_exists || negated),
        Some(actual) => {
            let any = scalars.iter().any(|pattern| compare(pattern, actual));
            Some(any != negated)
        }
    }
}

#[cfg(test)]
mod tests {
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
        let spared =
            deny.to_string().replace(&format!("\"AWS\":\"{ROLE}\""), "\"Service\":\"cloudtrail.amazonaws.com\"");
        assert_eq!(ask(&spared, &question), Verdict::Allowed);
    }
}

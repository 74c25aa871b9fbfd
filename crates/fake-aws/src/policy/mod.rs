//! A small policy evaluator for key policies, bucket policies and identity-based policies.
//!
//! It fails closed: with a condition that it cannot evaluate, an Allow does not apply and a Deny does.

mod condition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::glob;
use crate::names;

/// The principal that makes a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// An AWS service, such as `cloudtrail.amazonaws.com`.
    Service(String),
    /// A role or user, by its ARN.
    Principal(String),
}

/// The value of a condition key in a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContextValue {
    /// Known to be absent.
    Absent,
    /// The value of a single-valued key.
    Single(String),
    /// The values of a multivalued key, such as `kms:ResourceAliases`.
    Multi(BTreeSet<String>),
}

/// A request for access, which policies allow or deny.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessRequest {
    /// The principal.
    pub caller: Caller,
    /// The action, such as `kms:Decrypt`.
    pub action: String,
    /// The resource's ARN, or `*`.
    pub resource: String,
    /// The condition keys, in lower case. A key that is not here is unknown, unless `absent_prefixes` has
    /// its prefix.
    pub context: BTreeMap<String, ContextValue>,
    /// Prefixes of keys that the request is known not to have, such as `aws:requesttag/`.
    pub absent_prefixes: BTreeSet<String>,
}

impl AccessRequest {
    /// A request without condition keys.
    pub fn new(caller: Caller, action: &str, resource: &str) -> AccessRequest {
        AccessRequest {
            caller,
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: BTreeMap::new(),
            absent_prefixes: BTreeSet::new(),
        }
    }

    /// With a single-valued condition key.
    #[must_use]
    pub fn with(self, key: &str, value: &str) -> AccessRequest {
        self.with_value(key, ContextValue::Single(value.to_owned()))
    }

    /// With a multivalued condition key. Without values, it is absent.
    #[must_use]
    pub fn with_all<V: Into<String>>(self, key: &str, values: impl IntoIterator<Item = V>) -> AccessRequest {
        let values: BTreeSet<String> = values.into_iter().map(Into::into).collect();
        let value = if values.is_empty() { ContextValue::Absent } else { ContextValue::Multi(values) };
        self.with_value(key, value)
    }

    /// With condition keys that are absent.
    #[must_use]
    pub fn without(self, keys: &[&str]) -> AccessRequest {
        keys.iter().fold(self, |request, key| request.with_value(key, ContextValue::Absent))
    }

    /// With every other key with one of these prefixes absent.
    #[must_use]
    pub fn without_prefixes(mut self, prefixes: &[&str]) -> AccessRequest {
        self.absent_prefixes.extend(prefixes.iter().map(|prefix| prefix.to_ascii_lowercase()));
        self
    }

    fn with_value(mut self, key: &str, value: ContextValue) -> AccessRequest {
        self.context.insert(key.to_ascii_lowercase(), value);
        self
    }

    /// A condition key's value, if it is known.
    fn context_value(&self, key: &str) -> Option<&ContextValue> {
        let key = key.to_ascii_lowercase();
        let absent =
            || self.absent_prefixes.iter().any(|prefix| key.starts_with(prefix)).then_some(&ContextValue::Absent);
        self.context.get(&key).or_else(absent)
    }
}

/// The decision of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyDecision {
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement allows it to the caller, but one allows it to the caller's account, whose IAM decides.
    Delegated,
    /// No statement allows it.
    ImplicitDeny,
    /// A statement denies it: its Sid or position.
    ExplicitDeny(String),
}

/// Evaluates a resource's policy. A policy that cannot be parsed allows nothing.
pub fn evaluate(policy: &str, request: &AccessRequest) -> PolicyDecision {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    match evaluate_resource_policy(&policy, request) {
        MatchingStatements { denied: Some(by), .. } => PolicyDecision::ExplicitDeny(by),
        MatchingStatements { allowed, .. } if !allowed.is_empty() => PolicyDecision::Allowed,
        MatchingStatements { delegated, .. } if !delegated.is_empty() => PolicyDecision::Delegated,
        MatchingStatements { .. } => PolicyDecision::ImplicitDeny,
    }
}

/// The statements that apply to a request, by Sid or position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MatchingStatements {
    /// The first that denies it.
    pub(crate) denied: Option<String>,
    /// Those that allow it to the caller.
    pub(crate) allowed: Vec<String>,
    /// Those that allow it to the caller's account.
    pub(crate) delegated: Vec<String>,
}

/// Evaluates a resource's policy, whose statements name principals.
pub(crate) fn evaluate_resource_policy(policy: &Value, request: &AccessRequest) -> MatchingStatements {
    matching_statements(policy, request, |statement| match_principal(statement, request))
}

/// Evaluates one of the caller's policies.
pub(crate) fn evaluate_identity_policy(policy: &Value, request: &AccessRequest) -> MatchingStatements {
    matching_statements(policy, request, |_| PrincipalMatch::Exact)
}

fn matching_statements(
    policy: &Value,
    request: &AccessRequest,
    principal: impl Fn(&Value) -> PrincipalMatch,
) -> MatchingStatements {
    let mut matching = MatchingStatements::default();
    for (position, statement) in as_list(&policy["Statement"]).into_iter().enumerate() {
        let allow = statement["Effect"] == "Allow";
        if !(action_matches(statement, &request.action)
            && resource_matches(statement, &request.resource, !allow)
            && condition::all_met(&statement["Condition"], request, !allow))
        {
            continue;
        }
        let sid = || statement["Sid"].as_str().map_or_else(|| format!("statement {position}"), str::to_owned);
        match (allow, principal(statement)) {
            (_, PrincipalMatch::None) => {}
            (false, _) => matching.denied = matching.denied.or_else(|| Some(sid())),
            (true, PrincipalMatch::Exact) => matching.allowed.push(sid()),
            (true, PrincipalMatch::Account) => matching.delegated.push(sid()),
        }
    }
    matching
}

/// A value or a list of values, as a list.
pub(crate) fn as_list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

fn strings(value: &Value) -> Vec<&str> {
    as_list(value).into_iter().filter_map(Value::as_str).collect()
}

fn action_matches(statement: &Value, action: &str) -> bool {
    let any = |value: &Value| strings(value).iter().any(|p| glob::matches_ignoring_case(p, action));
    match &statement["NotAction"] {
        Value::Null => any(&statement["Action"]),
        excluded => !any(excluded),
    }
}

/// Policy variables are not supported: a resource with one counts as `if_unknown`.
fn resource_matches(statement: &Value, resource: &str, if_unknown: bool) -> bool {
    let any = |value: &Value| strings(value).iter().any(|p| glob::matches(p, resource));
    let variable = |value: &Value| strings(value).iter().any(|p| p.contains("${"));
    match &statement["NotResource"] {
        _ if variable(&statement["Resource"]) || variable(&statement["NotResource"]) => if_unknown,
        Value::Null => any(&statement["Resource"]),
        excluded => !any(excluded),
    }
}

/// How a principal element matches the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PrincipalMatch {
    None,
    Account,
    Exact,
}

fn match_principal(statement: &Value, request: &AccessRequest) -> PrincipalMatch {
    match &statement["NotPrincipal"] {
        Value::Null => match_principal_element(&statement["Principal"], &request.caller),
        excluded => match match_principal_element(excluded, &request.caller) {
            PrincipalMatch::None => PrincipalMatch::Exact,
            PrincipalMatch::Account | PrincipalMatch::Exact => PrincipalMatch::None,
        },
    }
}

fn match_principal_element(principal: &Value, caller: &Caller) -> PrincipalMatch {
    if principal == "*" || strings(&principal["AWS"]).contains(&"*") {
        return PrincipalMatch::Exact;
    }
    match caller {
        Caller::Service(service) => match strings(&principal["Service"]).contains(&service.as_str()) {
            true => PrincipalMatch::Exact,
            false => PrincipalMatch::None,
        },
        Caller::Principal(arn) => {
            let account = names::account_of(arn);
            let root = format!(":iam::{account}:root");
            let principals = strings(&principal["AWS"]);
            if principals.contains(&arn.as_str()) {
                PrincipalMatch::Exact
            } else if principals.iter().any(|name| *name == account || name.ends_with(&root)) {
                PrincipalMatch::Account
            } else {
                PrincipalMatch::None
            }
        }
    }
}

//! What do policies say? A small evaluator, for key policies, for bucket policies and for IAM's own.
//!
//! Cautious by design: a condition that it does not know makes an Allow not count and a Deny count.

mod condition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::glob;
use crate::names;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// An AWS service, like `cloudtrail.amazonaws.com`.
    Service(String),
    /// A role or user, by its ARN.
    Principal(String),
}

/// What a request carries under a condition key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carried {
    /// Known to be absent.
    Nothing,
    /// A value.
    One(String),
    /// Values, under a key that may have several, like `kms:ResourceAliases`.
    Many(BTreeSet<String>),
}

/// What is asked of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Who asks.
    pub caller: Caller,
    /// What for, like `kms:Decrypt`.
    pub action: String,
    /// On what.
    pub resource: String,
    /// What the request carries, under keys in lower case. A key that is not here is unknown, unless it
    /// begins like one of `absent`.
    pub context: BTreeMap<String, Carried>,
    /// How keys begin that the request is known not to carry, like `aws:requesttag/`.
    pub absent: BTreeSet<String>,
}

impl Question {
    /// A question without context.
    pub fn new(caller: Caller, action: &str, resource: &str) -> Question {
        Question {
            caller,
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: BTreeMap::new(),
            absent: BTreeSet::new(),
        }
    }

    /// With a condition key that the request carries.
    #[must_use]
    pub fn with(self, key: &str, value: &str) -> Question {
        self.carrying(key, Carried::One(value.to_owned()))
    }

    /// With a condition key that may have several values; without any, it is absent.
    #[must_use]
    pub fn with_all<V: Into<String>>(self, key: &str, values: impl IntoIterator<Item = V>) -> Question {
        let values: BTreeSet<String> = values.into_iter().map(Into::into).collect();
        let carried = if values.is_empty() { Carried::Nothing } else { Carried::Many(values) };
        self.carrying(key, carried)
    }

    /// With condition keys that such a request never carries.
    #[must_use]
    pub fn without(self, keys: &[&str]) -> Question {
        keys.iter().fold(self, |question, key| question.carrying(key, Carried::Nothing))
    }

    /// Without any key that begins like one of these, but for those that it was given.
    #[must_use]
    pub fn without_others(mut self, beginnings: &[&str]) -> Question {
        self.absent.extend(beginnings.iter().map(|beginning| beginning.to_ascii_lowercase()));
        self
    }

    fn carrying(mut self, key: &str, carried: Carried) -> Question {
        self.context.insert(key.to_ascii_lowercase(), carried);
        self
    }

    /// What the request carries under a key, if that is known.
    fn carried(&self, key: &str) -> Option<&Carried> {
        let key = key.to_ascii_lowercase();
        let absent = || self.absent.iter().any(|beginning| key.starts_with(beginning)).then_some(&Carried::Nothing);
        self.context.get(&key).or_else(absent)
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
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let said = of_resource(&policy, question);
    match said {
        Said { denied: Some(by), .. } => Verdict::Denied(by),
        Said { allowed, .. } if !allowed.is_empty() => Verdict::Allowed,
        Said { delegated, .. } if !delegated.is_empty() => Verdict::Delegated,
        Said { .. } => Verdict::Silent,
    }
}

/// The statements that bear on a question, by Sid or place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The first that denies it.
    pub(crate) denied: Option<String>,
    /// Those that allow it to the caller.
    pub(crate) allowed: Vec<String>,
    /// Those that allow it to the caller's account.
    pub(crate) delegated: Vec<String>,
}

/// What a resource's policy says, which names its principals.
pub(crate) fn of_resource(policy: &Value, question: &Question) -> Said {
    said(policy, question, |statement| names_caller(statement, question))
}

/// What a policy of the caller's own says.
pub(crate) fn of_identity(policy: &Value, question: &Question) -> Said {
    said(policy, question, |_| Named::Directly)
}

fn said(policy: &Value, question: &Question, named: impl Fn(&Value) -> Named) -> Said {
    let mut said = Said::default();
    for (place, statement) in listed(&policy["Statement"]).into_iter().enumerate() {
        let allow = statement["Effect"] == "Allow";
        if !(names_action(statement, &question.action)
            && names_resource(statement, &question.resource, !allow)
            && condition::all_hold(&statement["Condition"], question, !allow))
        {
            continue;
        }
        let sid = || statement["Sid"].as_str().map_or_else(|| format!("statement {place}"), str::to_owned);
        match (allow, named(statement)) {
            (_, Named::Not) => {}
            (false, _) => said.denied = said.denied.or_else(|| Some(sid())),
            (true, Named::Directly) => said.allowed.push(sid()),
            (true, Named::ByAccount) => said.delegated.push(sid()),
        }
    }
    said
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

/// Policy variables are not known here: `if_unknown` for a statement that has one.
fn names_resource(statement: &Value, resource: &str, if_unknown: bool) -> bool {
    let any = |value: &Value| texts(value).iter().any(|p| glob::matches(p, resource));
    let variable = |value: &Value| texts(value).iter().any(|p| p.contains("${"));
    match &statement["NotResource"] {
        _ if variable(&statement["Resource"]) || variable(&statement["NotResource"]) => if_unknown,
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

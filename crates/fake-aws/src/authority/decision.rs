//! The caller's policies and the resource's, taken together.

use serde_json::Value;

use super::IdentityPolicy;
use crate::policy::{self, Question, Said};

/// Who has a say beside the caller's own policies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Nobody.
    Nobody,
    /// A key's policy: what it allows neither to the caller nor to the account, IAM cannot allow.
    Key(String),
    /// The policy of a resource in the caller's account: it allows, or IAM does.
    Resource(String),
}

/// A statement of a policy, by its Sid or place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// Of a policy of the caller's own.
    Own {
        /// The policy's name.
        policy: String,
        /// The statement's Sid.
        sid: String,
    },
    /// Of the resource's policy.
    Resources {
        /// The statement's Sid.
        sid: String,
    },
}

/// What all policies say together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// What it rests on if it is allowed. Of the caller's own policies only where they were needed: not
    /// where a key's policy names the caller.
    pub allowed_by: Vec<Statement>,
    /// The statement that denies it.
    pub denied_by: Option<Statement>,
    /// Whether it was for a key's policy to allow it, and that did not.
    unknown_to_key: bool,
}

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        !self.allowed_by.is_empty()
    }

    /// In AWS's words.
    pub(super) fn why_not(&self, action: &str) -> String {
        let kind = match (&self.denied_by, self.unknown_to_key) {
            (Some(Statement::Resources { .. }), _) | (None, true) => "resource-based",
            (Some(Statement::Own { .. }), _) | (None, false) => "identity-based",
        };
        match self.denied_by {
            Some(_) => format!("with an explicit deny in {} {kind} policy", article(kind)),
            None => format!("because no {kind} policy allows the {action} action"),
        }
    }
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with('i') { "an" } else { "a" }
}

/// What became of one question that a call put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Authorization {
    /// The call, like `kms:CreateKey`; it may ask for more than one action.
    pub operation: String,
    /// What it asked.
    pub question: Question,
    /// The resource's policy at that time.
    pub guard: Guard,
    /// What the policies said.
    pub decision: Decision,
}

impl Authorization {
    /// What the same question would come to with other policies of the caller's own.
    pub fn under(&self, policies: &[IdentityPolicy]) -> Decision {
        decide(policies, &self.question, &self.guard)
    }
}

pub(crate) fn decide(policies: &[IdentityPolicy], question: &Question, guard: &Guard) -> Decision {
    let resources = match guard {
        Guard::Nobody => Said::default(),
        Guard::Key(text) | Guard::Resource(text) => {
            policy::of_resource(&serde_json::from_str::<Value>(text).unwrap_or_default(), question)
        }
    };
    let of_resource = |sids: Vec<String>| sids.into_iter().map(|sid| Statement::Resources { sid }).collect::<Vec<_>>();
    let (mut own, mut denied_by) = (Vec::new(), None);
    for IdentityPolicy { name, document } in policies {
        let statement = |sid: String| Statement::Own { policy: name.clone(), sid };
        let said = policy::of_identity(document, question);
        denied_by = denied_by.or(said.denied.map(statement));
        own.extend(said.allowed.into_iter().map(statement));
    }
    let denied_by = denied_by.or(resources.denied.map(|sid| Statement::Resources { sid }));
    let silent = resources.allowed.is_empty() && resources.delegated.is_empty();
    let unknown_to_key = matches!(guard, Guard::Key(_)) && silent;
    let allowed_by = match guard {
        _ if denied_by.is_some() || unknown_to_key => Vec::new(),
        Guard::Key(_) if !resources.allowed.is_empty() => of_resource(resources.allowed),
        Guard::Key(_) if own.is_empty() => Vec::new(),
        Guard::Key(_) => [own, of_resource(resources.delegated)].concat(),
        Guard::Resource(_) if own.is_empty() => of_resource(resources.allowed),
        Guard::Resource(_) | Guard::Nobody => own,
    };
    Decision { allowed_by, denied_by, unknown_to_key }
}

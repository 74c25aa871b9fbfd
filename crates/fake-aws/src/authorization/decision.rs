//! The decision of the caller's policies and the resource's policy together.

use serde_json::Value;

use super::IdentityPolicy;
use crate::policy::{self, AccessRequest, MatchingStatements};

/// The resource's own policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourcePolicy {
    /// There is none, or it belongs to another account.
    None,
    /// A key policy. IAM cannot allow what it allows neither to the caller nor to the account.
    Key(String),
    /// Another policy in the caller's account. Either it or IAM may allow the request.
    Other(String),
}

/// A policy statement, by its Sid or its position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// In one of the caller's policies.
    Identity {
        /// The policy's name.
        policy: String,
        /// The statement's Sid.
        sid: String,
    },
    /// In the resource's policy.
    Resource {
        /// The statement's Sid.
        sid: String,
    },
}

/// The decision of all policies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// The statements that allow it. The caller's statements are listed only where they are required, not
    /// where a key policy names the caller.
    pub allowed_by: Vec<Statement>,
    /// The statement that denies it.
    pub denied_by: Option<Statement>,
    /// Whether it is denied because the key policy does not allow it.
    missing_in_key_policy: bool,
}

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        !self.allowed_by.is_empty()
    }

    /// The end of AWS's error message.
    pub(super) fn denial_reason(&self, action: &str) -> String {
        let (article, kind) = match (&self.denied_by, self.missing_in_key_policy) {
            (Some(Statement::Resource { .. }), _) | (None, true) => ("a", "resource-based"),
            (Some(Statement::Identity { .. }), _) | (None, false) => ("an", "identity-based"),
        };
        match self.denied_by {
            Some(_) => format!("with an explicit deny in {article} {kind} policy"),
            None => format!("because no {kind} policy allows the {action} action"),
        }
    }
}

/// One authorization check of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Authorization {
    /// The call, such as `kms:CreateKey`. It may require more than one action.
    pub operation: String,
    /// The access that it required.
    pub request: AccessRequest,
    /// The resource's policy at that time.
    pub resource_policy: ResourcePolicy,
    /// The decision.
    pub decision: Decision,
}

impl Authorization {
    /// The decision if the caller had other policies.
    pub fn under(&self, policies: &[IdentityPolicy]) -> Decision {
        decide(policies, &self.request, &self.resource_policy)
    }
}

pub(crate) fn decide(
    policies: &[IdentityPolicy],
    request: &AccessRequest,
    resource_policy: &ResourcePolicy,
) -> Decision {
    let resource = match resource_policy {
        ResourcePolicy::None => MatchingStatements::default(),
        ResourcePolicy::Key(text) | ResourcePolicy::Other(text) => {
            policy::evaluate_resource_policy(&serde_json::from_str::<Value>(text).unwrap_or_default(), request)
        }
    };
    let in_resource = |sids: Vec<String>| sids.into_iter().map(|sid| Statement::Resource { sid }).collect::<Vec<_>>();
    let (mut identity, mut denied_by) = (Vec::new(), None);
    for IdentityPolicy { name, document } in policies {
        let statement = |sid: String| Statement::Identity { policy: name.clone(), sid };
        let matching = policy::evaluate_identity_policy(document, request);
        denied_by = denied_by.or(matching.denied.map(statement));
        identity.extend(matching.allowed.into_iter().map(statement));
    }
    let denied_by = denied_by.or(resource.denied.map(|sid| Statement::Resource { sid }));
    let no_allow = resource.allowed.is_empty() && resource.delegated.is_empty();
    let missing_in_key_policy = matches!(resource_policy, ResourcePolicy::Key(_)) && no_allow;
    let allowed_by = match resource_policy {
        _ if denied_by.is_some() || missing_in_key_policy => Vec::new(),
        ResourcePolicy::Key(_) if !resource.allowed.is_empty() => in_resource(resource.allowed),
        ResourcePolicy::Key(_) if identity.is_empty() => Vec::new(),
        ResourcePolicy::Key(_) => [identity, in_resource(resource.delegated)].concat(),
        ResourcePolicy::Other(_) if identity.is_empty() => in_resource(resource.allowed),
        ResourcePolicy::Other(_) | ResourcePolicy::None => identity,
    };
    Decision { allowed_by, denied_by, missing_in_key_policy }
}

//! Authorization of every call, before its operation runs: the caller's policies and the resource's.

mod decision;
mod required;

use serde::Serialize;
use serde_json::Value;

pub(crate) use decision::decide;
pub use decision::{Authorization, Decision, ResourcePolicy, Statement};

use crate::names;
use crate::policy::{AccessRequest, Caller};
use crate::request::Request;
use crate::response::{ApiError, Protocol};
use crate::{Key, World};

/// A policy that IAM attaches to the caller's role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityPolicy {
    /// Its name.
    pub name: String,
    /// The policy document.
    pub document: Value,
}

impl IdentityPolicy {
    /// A policy with this name.
    pub fn new(name: &str, document: Value) -> IdentityPolicy {
        IdentityPolicy { name: name.to_owned(), document }
    }
}

/// The checks that the call requires, and the error of the first that fails. Without policies of the
/// caller, every call is authorized.
pub(crate) fn authorize(world: &World, request: &Request) -> (Vec<Authorization>, Option<ApiError>) {
    let Some(policies) = &world.caller_policies else {
        return (Vec::new(), None);
    };
    let mut records = Vec::new();
    let mut error = None;
    for access in required::access_requests(world, request) {
        let resource_policy = world.resource_policy(&access.resource);
        let decision = decide(policies, &access, &resource_policy);
        if !decision.is_allowed() && error.is_none() {
            error = Some(access_denied(world, request, &access, &decision));
        }
        let operation = format!("{}:{}", request.service, request.operation);
        records.push(Authorization { operation, request: access, resource_policy, decision });
    }
    (records, error)
}

/// The error that the service returns.
fn access_denied(world: &World, request: &Request, access: &AccessRequest, decision: &Decision) -> ApiError {
    let AccessRequest { action, resource, .. } = access;
    let reason = decision.denial_reason(action);
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {reason}",
        world.caller_role_arn
    );
    // A service that calls another one on the caller's behalf returns an error of its own.
    let of_another_service = !action.starts_with(&format!("{}:", required::prefix(&request.service)));
    match (request.protocol, of_another_service) {
        (Protocol::Json, false) => ApiError::new("AccessDeniedException", message),
        (Protocol::Json, true) => ApiError::new("InsufficientDependencyServiceAccessPermissionException", message),
        (Protocol::Rest { .. }, _) => ApiError::with_status(403, "AccessDenied", message),
        (Protocol::Query, false) => ApiError::with_status(403, "AuthorizationError", message),
        (Protocol::Query, true) => ApiError::new("KMSAccessDenied", message),
    }
}

impl World {
    /// The caller's request for access, with the condition keys that AWS derives from the resource.
    pub fn access_request(&self, action: &str, resource: &str) -> AccessRequest {
        let request = AccessRequest::new(Caller::Principal(self.caller_role_arn.clone()), action, resource)
            .with("aws:PrincipalArn", &self.caller_role_arn)
            .with("aws:PrincipalAccount", &self.account)
            .with("aws:PrincipalIsAWSService", "false")
            .with("aws:ViaAWSService", "false")
            .with("aws:SecureTransport", "true")
            .with("kms:CallerAccount", &self.account)
            .without(&["aws:SourceArn", "aws:SourceAccount"])
            // Keys with these prefixes are set here or by the caller of this function.
            .without_prefixes(&["kms:", "aws:RequestTag/", "aws:TagKeys"]);
        let request = match self.organizations.get(&self.account) {
            Some(organization) => request.with("aws:PrincipalOrgID", organization),
            None => request.without(&["aws:PrincipalOrgID"]),
        };
        let request = match &self.caller_function_arn {
            Some(function) => request.with("lambda:SourceFunctionArn", function),
            None => request.without(&["lambda:SourceFunctionArn"]),
        };
        match (self.keys.get(resource), self.trails.get(resource)) {
            (Some(key), _) => self.with_key_context(request, key, resource),
            (_, Some(trail)) => with_resource_tags(request, &trail.tags),
            _ => request,
        }
    }

    fn with_key_context(&self, request: AccessRequest, key: &Key, arn: &str) -> AccessRequest {
        let aliases = self.aliases.iter().filter(|(_, alias)| alias.target == arn);
        let names = aliases.filter_map(|(arn, _)| arn.splitn(6, ':').last());
        let request = request
            .with_all("kms:ResourceAliases", names)
            .with("kms:KeySpec", &key.spec)
            .with("kms:KeyUsage", &key.usage)
            .with("kms:KeyOrigin", &key.origin)
            .with("kms:MultiRegion", &key.multi_region.to_string());
        with_resource_tags(request, &key.tags)
    }

    /// The decision of all policies. Without policies of the caller, only the resource's policy counts.
    pub fn decide(&self, request: &AccessRequest) -> Decision {
        let policies = self.caller_policies.as_deref().unwrap_or_default();
        decide(policies, request, &self.resource_policy(&request.resource))
    }

    /// The policy of a resource in this account. The operations handle other accounts' resources:
    /// `describe_key`, `Bucket::of_account`.
    fn resource_policy(&self, resource: &str) -> ResourcePolicy {
        if let Some(key) = self.keys.get(resource).filter(|key| key.account == self.account) {
            return ResourcePolicy::Key(key.policy.clone());
        }
        let bucket = names::bucket_of(resource).and_then(|name| self.buckets.get(name));
        match bucket.filter(|bucket| bucket.owner == self.account).and_then(|bucket| bucket.policy.clone()) {
            Some(policy) => ResourcePolicy::Other(policy),
            None => ResourcePolicy::None,
        }
    }
}

fn with_resource_tags(request: AccessRequest, tags: &std::collections::BTreeMap<String, String>) -> AccessRequest {
    let request = request.without_prefixes(&["aws:ResourceTag/"]);
    tags.iter().fold(request, |request, (key, value)| request.with(&format!("aws:ResourceTag/{key}"), value))
}

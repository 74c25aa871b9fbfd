//! Key policies: reading, writing, and what KMS checks before it accepts one.

use serde_json::{Value, json};

use super::{ServiceRequest, not_found, validation};
use crate::World;
use crate::authorization::{ResourcePolicy, decide};
use crate::names::{self, Arn};
use crate::policy::{self, PolicyDecision, as_list};
use crate::response::{ApiError, Outcome};

/// The maximum size of a key policy.
const POLICY_BYTES: usize = 32_768;

pub(super) fn get_key_policy(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_key()?;
    default_only(request)?;
    Ok(json!({"Policy": request.key(&arn).policy, "PolicyName": "default"}))
}

pub(super) fn put_key_policy(request: &mut ServiceRequest<'_>) -> Outcome {
    let policy = request.required("Policy")?;
    let arn = request.own_changeable_key()?;
    default_only(request)?;
    let bypass = bypasses_lockout_check(request.input);
    check(request.world, &policy, &arn, bypass)?;
    let delay = request.world.delays.policy_effective_after;
    let key = request.key(&arn);
    key.policy = policy;
    key.lockout_check_bypassed |= bypass;
    key.policy_pending_calls = delay;
    request.world.deliver_for_key(&arn);
    Ok(json!({}))
}

/// A key has one policy, named `default`.
fn default_only(request: &ServiceRequest<'_>) -> Result<(), ApiError> {
    match request.text("PolicyName") {
        None | Some("default") => Ok(()),
        Some(name) => Err(not_found(format!("No such policy exists: {name}"))),
    }
}

pub(super) fn bypasses_lockout_check(input: &Value) -> bool {
    input["BypassPolicyLockoutSafetyCheck"] == true
}

/// Checks whether KMS accepts this policy from this caller, for an existing key or a new one (`key/*`).
pub(super) fn check(world: &World, policy: &str, key_arn: &str, bypass_lockout_check: bool) -> Result<(), ApiError> {
    if policy.len() > POLICY_BYTES {
        return Err(ApiError::new("LimitExceededException", "The policy is too long"));
    }
    if policy.is_empty() || !policy.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')) {
        return Err(validation(
            "Value at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\u0009\\u000A\\u000D\\u0020-\\u00FF]+",
        ));
    }
    let document: Value = serde_json::from_str(policy).map_err(|_| malformed("Policy contains invalid JSON"))?;
    let statements = as_list(&document["Statement"]);
    if statements.is_empty() {
        return Err(malformed("Policy has no statements"));
    }
    for statement in &statements {
        check_statement(world, statement)?;
    }
    match bypass_lockout_check || caller_can_update_policy(world, policy, key_arn) {
        true => Ok(()),
        false => Err(malformed("The new key policy will not allow you to update the key policy in the future.")),
    }
}

fn check_statement(world: &World, statement: &Value) -> Result<(), ApiError> {
    let has = |name: &str| !statement[name].is_null();
    let complete = (statement["Effect"] == "Allow" || statement["Effect"] == "Deny")
        && (has("Principal") || has("NotPrincipal"))
        && (has("Action") || has("NotAction"))
        && (has("Resource") || has("NotResource"));
    if !complete {
        return Err(malformed("A statement lacks Effect, Principal, Action or Resource"));
    }
    let principal = match &statement["Principal"] {
        Value::Null => &statement["NotPrincipal"],
        principal => principal,
    };
    let kinds = match principal {
        Value::String(text) if text == "*" => return Ok(()),
        Value::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(invalid_principals()),
    };
    let valid = kinds.iter().all(|(kind, values)| {
        let values = as_list(values);
        let each = |valid: &dyn Fn(&str) -> bool| {
            !values.is_empty() && values.iter().all(|value| value.as_str().is_some_and(valid))
        };
        match kind.as_str() {
            "AWS" => each(&|name| principal_exists(world, name)),
            "Service" => each(&|name| name.contains(".amazonaws.com") || name.ends_with(".amazonaws.eu")),
            "Federated" => true,
            _ => false,
        }
    });
    if valid { Ok(()) } else { Err(invalid_principals()) }
}

/// Accounts always exist, roles and users only if the world has them. The unique ID of a deleted one
/// (`AROA…`, `AIDA…`) does not.
fn principal_exists(world: &World, name: &str) -> bool {
    if name == "*" || names::is_account_id(name) {
        return true;
    }
    let Some(arn) = Arn::parse(name) else {
        return false;
    };
    if arn.partition != world.partition || !names::is_account_id(arn.account) {
        return false;
    }
    match (arn.service, arn.resource) {
        ("iam", "root") => true,
        ("iam", _) => world.principals.contains(name),
        ("sts", session) => {
            session.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next()).is_some_and(|role| {
                let suffix = format!("/{role}");
                let account = format!(":iam::{}:role/", arn.account);
                world.principals.iter().any(|known| known.contains(&account) && known.ends_with(&suffix))
            })
        }
        _ => false,
    }
}

/// The lockout check: whether this policy allows the caller to replace it, by a statement that names the
/// caller, or by delegation to the account if the caller's IAM policy allows it too.
fn caller_can_update_policy(world: &World, policy: &str, key_arn: &str) -> bool {
    let request = world.access_request("kms:PutKeyPolicy", key_arn).with("kms:BypassPolicyLockoutSafetyCheck", "false");
    if let Some(policies) = &world.caller_policies {
        return decide(policies, &request, &ResourcePolicy::Key(policy.to_owned())).is_allowed();
    }
    match policy::evaluate(policy, &request) {
        PolicyDecision::Allowed => true,
        PolicyDecision::Delegated => world.caller_iam_allows_put_key_policy,
        PolicyDecision::ImplicitDeny | PolicyDecision::ExplicitDeny(_) => false,
    }
}

fn malformed(message: &str) -> ApiError {
    ApiError::new("MalformedPolicyDocumentException", message)
}

fn invalid_principals() -> ApiError {
    malformed("Policy contains a statement with one or more invalid principals.")
}

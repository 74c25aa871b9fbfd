//! Key policies: reading, writing, and what KMS checks before it takes one.

use serde_json::{Value, json};

use super::{Asked, not_found, validation};
use crate::World;
use crate::answer::{Outcome, Refusal};
use crate::authority::{Guard, decide};
use crate::names::{self, Arn};
use crate::policy::{self, Verdict, listed};

/// The most bytes that a key policy may have.
const POLICY_BYTES: usize = 32_768;

pub(super) fn get_key_policy(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_key()?;
    default_only(asked)?;
    Ok(json!({"Policy": asked.key(&arn).policy, "PolicyName": "default"}))
}

pub(super) fn put_key_policy(asked: &mut Asked<'_>) -> Outcome {
    let policy = asked.required("Policy")?;
    let arn = asked.own_changeable_key()?;
    default_only(asked)?;
    let bypassed = bypasses_lockout_check(asked.input);
    check(asked.world, &policy, &arn, bypassed)?;
    let unsettled = asked.world.settle.policy_effective_after;
    let key = asked.key(&arn);
    key.policy = policy;
    key.lockout_check_bypassed |= bypassed;
    key.unsettled_tries = unsettled;
    asked.world.deliver_with(&arn);
    Ok(json!({}))
}

/// A key has one policy, and its name is `default`.
fn default_only(asked: &Asked<'_>) -> Result<(), Refusal> {
    match asked.text("PolicyName") {
        None | Some("default") => Ok(()),
        Some(name) => Err(not_found(format!("No such policy exists: {name}"))),
    }
}

pub(super) fn bypasses_lockout_check(input: &Value) -> bool {
    input["BypassPolicyLockoutSafetyCheck"] == true
}

/// Whether KMS takes this policy from this caller, for a key that is there or for a new one (`key/*`).
pub(super) fn check(world: &World, policy: &str, key_arn: &str, bypass_lockout_check: bool) -> Result<(), Refusal> {
    if policy.len() > POLICY_BYTES {
        return Err(Refusal::new("LimitExceededException", "The policy is too long"));
    }
    if policy.is_empty() || !policy.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')) {
        return Err(validation(
            "Value at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\u0009\\u000A\\u000D\\u0020-\\u00FF]+",
        ));
    }
    let document: Value = serde_json::from_str(policy).map_err(|_| malformed("Policy contains invalid JSON"))?;
    let statements = listed(&document["Statement"]);
    if statements.is_empty() {
        return Err(malformed("Policy has no statements"));
    }
    for statement in &statements {
        check_statement(world, statement)?;
    }
    match bypass_lockout_check || lets_caller_write(world, policy, key_arn) {
        true => Ok(()),
        false => Err(malformed("The new key policy will not allow you to update the key policy in the future.")),
    }
}

fn check_statement(world: &World, statement: &Value) -> Result<(), Refusal> {
    let has = |name: &str| !statement[name].is_null();
    let whole = (statement["Effect"] == "Allow" || statement["Effect"] == "Deny")
        && (has("Principal") || has("NotPrincipal"))
        && (has("Action") || has("NotAction"))
        && (has("Resource") || has("NotResource"));
    if !whole {
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
    let sound = kinds.iter().all(|(kind, values)| {
        let values = listed(values);
        let each = |sound: &dyn Fn(&str) -> bool| {
            !values.is_empty() && values.iter().all(|value| value.as_str().is_some_and(sound))
        };
        match kind.as_str() {
            "AWS" => each(&|name| principal_exists(world, name)),
            "Service" => each(&|name| name.contains(".amazonaws.com") || name.ends_with(".amazonaws.eu")),
            "Federated" => true,
            _ => false,
        }
    });
    if sound { Ok(()) } else { Err(invalid_principals()) }
}

/// Accounts always exist; roles and users only if the world has them. What IAM put in place of a
/// deleted one (`AROA…`, `AIDA…`) does not.
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
                let ending = format!("/{role}");
                let account = format!(":iam::{}:role/", arn.account);
                world.principals.iter().any(|known| known.contains(&account) && known.ends_with(&ending))
            })
        }
        _ => false,
    }
}

/// The lock-out check: may the caller write the next policy under this one? By a statement that names
/// it, or by delegation to the account, if the caller's own IAM policy allows it too.
fn lets_caller_write(world: &World, policy: &str, key_arn: &str) -> bool {
    let question = world.question("kms:PutKeyPolicy", key_arn).with("kms:BypassPolicyLockoutSafetyCheck", "false");
    if let Some(own) = &world.caller_policies {
        return decide(own, &question, &Guard::Key(policy.to_owned())).is_allowed();
    }
    match policy::ask(policy, &question) {
        Verdict::Allowed => true,
        Verdict::Delegated => world.caller_iam_allows_put_key_policy,
        Verdict::Silent | Verdict::Denied(_) => false,
    }
}

fn malformed(message: &str) -> Refusal {
    Refusal::new("MalformedPolicyDocumentException", message)
}

fn invalid_principals() -> Refusal {
    malformed("Policy contains a statement with one or more invalid principals.")
}

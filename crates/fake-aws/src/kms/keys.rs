//! CreateKey, DescribeKey, ListKeys.

use serde_json::{Value, json};

use super::{Asked, key_policy, not_found, tags, validation};
use crate::answer::{Outcome, Refusal, page};
use crate::names::{self, Arn};
use crate::policy::{self, Verdict};
use crate::{Key, KeyManager, KeyState};

const SPECS: [&str; 9] = [
    "SYMMETRIC_DEFAULT",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "HMAC_256",
    "SM2",
];

/// AWS managed keys that come to exist when somebody first describes their alias.
const AWS_ALIASES: [&str; 5] = ["alias/aws/s3", "alias/aws/sns", "alias/aws/sqs", "alias/aws/lambda", "alias/aws/ebs"];

pub(super) fn create_key(asked: &mut Asked<'_>) -> Outcome {
    let mut key = Key::new(asked.region);
    if let Some(spec) = asked.text("KeySpec").or_else(|| asked.text("CustomerMasterKeySpec")) {
        if !SPECS.contains(&spec) {
            return Err(validation(format!("Value '{spec}' at 'keySpec' is not a key spec")));
        }
        spec.clone_into(&mut key.spec);
    }
    match asked.text("KeyUsage") {
        Some(usage) => usage.clone_into(&mut key.usage),
        None if !key.is_symmetric() => {
            return Err(validation(
                "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
            ));
        }
        None => {}
    }
    if let Some(origin) = asked.text("Origin") {
        origin.clone_into(&mut key.origin);
        if origin == "EXTERNAL" {
            key.state = KeyState::PendingImport;
        }
    }
    asked.text("Description").unwrap_or_default().clone_into(&mut key.description);
    key.multi_region = asked.input["MultiRegion"] == true;
    key.tags = tags::read(&asked.input["Tags"])?;
    // Tags at creation need the permission to tag.
    if !key.tags.is_empty() && asked.world.denied.contains("kms:TagResource") {
        return Err(asked.denied());
    }
    if let Some(policy) = asked.text("Policy") {
        key.lockout_check_bypassed = key_policy::bypasses_lockout_check(asked.input);
        let unborn = asked.world.arn("kms", asked.region, "key/*");
        key_policy::check(asked.world, policy, &unborn, key.lockout_check_bypassed)?;
        policy.clone_into(&mut key.policy);
    }
    key.hidden_calls = asked.world.settle.key_visible_after;
    key.unsettled_tries = asked.world.settle.policy_effective_after;
    key.unindexed_calls = asked.world.settle.tag_index_after;
    let arn = asked.world.key(key);
    Ok(json!({"KeyMetadata": metadata(&arn, &asked.world.keys[&arn])}))
}

/// Takes ids, ARNs, alias names and alias ARNs; another account's key by ARN, if its policy lets the caller
/// or its account. (That the caller's own policies let it, too, was asked before.)
pub(super) fn describe_key(asked: &mut Asked<'_>) -> Outcome {
    let id = asked.required("KeyId")?;
    let arn = match id.starts_with("alias/") {
        true => asked.world.arn("kms", asked.region, &id),
        false => asked.key_arn(&id)?,
    };
    let is_alias = Arn::kms(&arn).is_some_and(|arn| arn.resource.starts_with("alias/"));
    let arn = if is_alias { behind_alias(asked, &arn)? } else { arn };
    let foreign = names::account_of(&arn) != asked.world.account;
    let (refused, question) = (asked.denied(), asked.world.question("kms:DescribeKey", &arn));
    let key = asked.seen(&arn)?;
    let let_in = matches!(policy::ask(&key.policy, &question), Verdict::Allowed | Verdict::Delegated);
    match foreign && !let_in {
        true => Err(refused),
        false => Ok(json!({"KeyMetadata": metadata(&arn, key)})),
    }
}

/// The key behind an alias; AWS's own aliases get their key when first described.
fn behind_alias(asked: &mut Asked<'_>, alias_arn: &str) -> Result<String, Refusal> {
    let missing = || not_found(format!("Alias {alias_arn} is not found."));
    if let Some(alias) = asked.world.aliases.get_mut(alias_arn) {
        if alias.hidden_calls > 0 {
            alias.hidden_calls -= 1;
            return Err(missing());
        }
        return Ok(alias.target.clone());
    }
    let name = Arn::kms(alias_arn).map(|arn| arn.resource).unwrap_or_default();
    if !AWS_ALIASES.contains(&name) || names::account_of(alias_arn) != asked.world.account {
        return Err(missing());
    }
    let key = asked.world.key(Key::new(asked.region).managed_by_aws());
    asked.world.alias(asked.region, name, &key);
    Ok(key)
}

pub(super) fn list_keys(asked: &Asked<'_>) -> Outcome {
    let visible = asked.world.keys.iter().filter(|(arn, key)| {
        names::region_of(arn) == asked.region && key.account == asked.world.account && key.hidden_calls == 0
    });
    let keys: Vec<Value> = visible.map(|(arn, key)| json!({"KeyArn": arn, "KeyId": key.id})).collect();
    listing("Keys", keys, asked)
}

pub(super) fn list_grants(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_key()?;
    let grant = |grantee: &String| json!({"KeyId": arn, "GranteePrincipal": grantee, "Operations": ["Decrypt"]});
    let grants = asked.world.keys[&arn].grants.iter().map(grant).collect();
    listing("Grants", grants, asked)
}

/// A page of a list in KMS's fashion.
pub(super) fn listing(name: &str, entries: Vec<Value>, asked: &Asked<'_>) -> Outcome {
    let limit = asked.input["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let size = limit.unwrap_or(asked.world.page_size).min(asked.world.page_size);
    let (entries, next) = page(entries, asked.text("Marker"), size)
        .ok_or_else(|| Refusal::new("InvalidMarkerException", "Invalid marker"))?;
    let mut answer = json!({name: entries, "Truncated": next.is_some()});
    if let Some(next) = next {
        answer["NextMarker"] = Value::String(next);
    }
    Ok(answer)
}

/// What DescribeKey says of a key: neither aliases nor tags, policy or rotation.
fn metadata(arn: &str, key: &Key) -> Value {
    let mut metadata = json!({
        "AWSAccountId": key.account,
        "KeyId": key.id,
        "Arn": arn,
        "CreationDate": key.created,
        "Enabled": key.state == KeyState::Enabled,
        "Description": key.description,
        "KeyUsage": key.usage,
        "KeyState": key.state,
        "Origin": key.origin,
        "KeyManager": key.manager,
        "KeySpec": key.spec,
        "CustomerMasterKeySpec": key.spec,
        "MultiRegion": key.multi_region,
    });
    if key.manager == KeyManager::Customer && key.is_symmetric() {
        metadata["EncryptionAlgorithms"] = json!(["SYMMETRIC_DEFAULT"]);
    }
    if let Some(date) = key.deletion_date {
        metadata["DeletionDate"] = json!(date);
    }
    metadata
}

//! CreateKey, DescribeKey, ListKeys, ListGrants.

use serde_json::{Value, json};

use super::{ServiceRequest, key_policy, not_found, tags, validation};
use crate::names::{self, Arn};
use crate::policy::{self, PolicyDecision};
use crate::response::{ApiError, Outcome, page};
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

/// Aliases of AWS managed keys. The first DescribeKey creates the key.
const AWS_ALIASES: [&str; 5] = ["alias/aws/s3", "alias/aws/sns", "alias/aws/sqs", "alias/aws/lambda", "alias/aws/ebs"];

pub(super) fn create_key(request: &mut ServiceRequest<'_>) -> Outcome {
    let mut key = Key::new(request.region);
    if let Some(spec) = request.text("KeySpec").or_else(|| request.text("CustomerMasterKeySpec")) {
        if !SPECS.contains(&spec) {
            return Err(validation(format!("Value '{spec}' at 'keySpec' is not a key spec")));
        }
        spec.clone_into(&mut key.spec);
    }
    match request.text("KeyUsage") {
        Some(usage) => usage.clone_into(&mut key.usage),
        None if !key.is_symmetric() => {
            return Err(validation(
                "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
            ));
        }
        None => {}
    }
    if let Some(origin) = request.text("Origin") {
        origin.clone_into(&mut key.origin);
        if origin == "EXTERNAL" {
            key.state = KeyState::PendingImport;
        }
    }
    request.text("Description").unwrap_or_default().clone_into(&mut key.description);
    key.multi_region = request.input["MultiRegion"] == true;
    key.tags = tags::read(&request.input["Tags"])?;
    // Tags at creation require the permission to tag.
    if !key.tags.is_empty() && request.world.denied.contains("kms:TagResource") {
        return Err(request.denied());
    }
    if let Some(policy) = request.text("Policy") {
        key.lockout_check_bypassed = key_policy::bypasses_lockout_check(request.input);
        let new_key_arn = request.world.arn("kms", request.region, "key/*");
        key_policy::check(request.world, policy, &new_key_arn, key.lockout_check_bypassed)?;
        policy.clone_into(&mut key.policy);
    }
    key.hidden_calls = request.world.delays.key_visible_after;
    key.policy_pending_calls = request.world.delays.policy_effective_after;
    key.unindexed_calls = request.world.delays.tag_index_after;
    let arn = request.world.key(key);
    Ok(json!({"KeyMetadata": metadata(&arn, &request.world.keys[&arn])}))
}

/// Accepts IDs, ARNs, alias names and alias ARNs. Another account's key requires its ARN and a policy that
/// allows the caller or its account. The caller's policies were evaluated before.
pub(super) fn describe_key(request: &mut ServiceRequest<'_>) -> Outcome {
    let id = request.required("KeyId")?;
    let arn = match id.starts_with("alias/") {
        true => request.world.arn("kms", request.region, &id),
        false => request.key_arn(&id)?,
    };
    let is_alias = Arn::kms(&arn).is_some_and(|arn| arn.resource.starts_with("alias/"));
    let arn = if is_alias { resolve_alias(request, &arn)? } else { arn };
    let foreign = names::account_of(&arn) != request.world.account;
    let (denied, access) = (request.denied(), request.world.access_request("kms:DescribeKey", &arn));
    let key = request.find(&arn)?;
    let allowed = matches!(policy::evaluate(&key.policy, &access), PolicyDecision::Allowed | PolicyDecision::Delegated);
    match foreign && !allowed {
        true => Err(denied),
        false => Ok(json!({"KeyMetadata": metadata(&arn, key)})),
    }
}

/// The alias's key. The key of an AWS managed alias is created when it is first described.
fn resolve_alias(request: &mut ServiceRequest<'_>, alias_arn: &str) -> Result<String, ApiError> {
    let missing = || not_found(format!("Alias {alias_arn} is not found."));
    if let Some(alias) = request.world.aliases.get_mut(alias_arn) {
        if alias.hidden_calls > 0 {
            alias.hidden_calls -= 1;
            return Err(missing());
        }
        return Ok(alias.target.clone());
    }
    let name = Arn::kms(alias_arn).map(|arn| arn.resource).unwrap_or_default();
    if !AWS_ALIASES.contains(&name) || names::account_of(alias_arn) != request.world.account {
        return Err(missing());
    }
    let key = request.world.key(Key::new(request.region).managed_by_aws());
    request.world.alias(request.region, name, &key);
    Ok(key)
}

pub(super) fn list_keys(request: &ServiceRequest<'_>) -> Outcome {
    let visible = request.world.keys.iter().filter(|(arn, key)| {
        names::region_of(arn) == request.region && key.account == request.world.account && key.hidden_calls == 0
    });
    let keys: Vec<Value> = visible.map(|(arn, key)| json!({"KeyArn": arn, "KeyId": key.id})).collect();
    listing("Keys", keys, request)
}

pub(super) fn list_grants(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_key()?;
    let grant = |grantee: &String| json!({"KeyId": arn, "GranteePrincipal": grantee, "Operations": ["Decrypt"]});
    let grants = request.world.keys[&arn].grants.iter().map(grant).collect();
    listing("Grants", grants, request)
}

/// A page of a list, with KMS's fields.
pub(super) fn listing(name: &str, entries: Vec<Value>, request: &ServiceRequest<'_>) -> Outcome {
    let limit = request.input["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let size = limit.unwrap_or(request.world.page_size).min(request.world.page_size);
    let (entries, next) = page(entries, request.text("Marker"), size)
        .ok_or_else(|| ApiError::new("InvalidMarkerException", "Invalid marker"))?;
    let mut output = json!({name: entries, "Truncated": next.is_some()});
    if let Some(next) = next {
        output["NextMarker"] = Value::String(next);
    }
    Ok(output)
}

/// A key's metadata: no aliases, tags, policy or rotation.
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
    if key.multi_region {
        let kind = if key.replica { "REPLICA" } else { "PRIMARY" };
        metadata["MultiRegionConfiguration"] = json!({"MultiRegionKeyType": kind, "ReplicaKeys": []});
    }
    if let Some(key_store) = &key.key_store {
        metadata["CustomKeyStoreId"] = json!(key_store);
    }
    // KMS deletes key material that expires, and returns neither field for a key without key material.
    if key.origin == "EXTERNAL" && key.state != KeyState::PendingImport {
        let model = if key.valid_to.is_some() { "KEY_MATERIAL_EXPIRES" } else { "KEY_MATERIAL_DOES_NOT_EXPIRE" };
        metadata["ExpirationModel"] = json!(model);
        if let Some(date) = key.valid_to {
            metadata["ValidTo"] = json!(date);
        }
    }
    if let Some(date) = key.deletion_date {
        metadata["DeletionDate"] = json!(date);
    }
    metadata
}

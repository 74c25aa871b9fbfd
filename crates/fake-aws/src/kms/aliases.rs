//! KMS's alias operations.

use serde_json::{Value, json};

use super::{ServiceRequest, invalid_state, keys, not_found};
use crate::names;
use crate::response::{ApiError, Outcome};
use crate::{AliasEntry, KeyManager, KeyState};

/// The quota of aliases for a key.
const ALIASES_PER_KEY: usize = 50;

pub(super) fn create_alias(request: &mut ServiceRequest<'_>) -> Outcome {
    let (name, arn) = own_alias(request)?;
    let target = request.own_key_in("TargetKeyId")?;
    let key = request.key(&target);
    if key.manager == KeyManager::Aws {
        return Err(request.denied());
    }
    // A disabled key can have an alias.
    if key.state == KeyState::PendingDeletion {
        return Err(invalid_state(&target, "pending deletion"));
    }
    if request.world.aliases.contains_key(&arn) {
        let message = format!("An alias with the name {arn} already exists");
        return Err(ApiError::new("AlreadyExistsException", message));
    }
    let existing = request.world.aliases.values().filter(|alias| alias.target == target);
    if existing.count() >= ALIASES_PER_KEY {
        return Err(ApiError::new("LimitExceededException", "Too many aliases on this key"));
    }
    request.world.alias(request.region, &name, &target);
    let hidden = request.world.delays.alias_visible_after;
    entry(request, &arn)?.hidden_calls = hidden;
    Ok(json!({}))
}

/// The alias moves to another key of the same type and usage.
pub(super) fn update_alias(request: &mut ServiceRequest<'_>) -> Outcome {
    let (_, arn) = own_alias(request)?;
    let target = request.own_key_in("TargetKeyId")?;
    let before = entry(request, &arn)?.target.clone();
    let new = request.key(&target);
    if new.state == KeyState::PendingDeletion {
        return Err(invalid_state(&target, "pending deletion"));
    }
    let kind = (new.is_symmetric(), new.usage.clone());
    if let Some(old) = request.world.keys.get(&before)
        && (old.is_symmetric(), old.usage.clone()) != kind
    {
        let message = "The current and the new key are of different types or usages";
        return Err(ApiError::new("KMSInvalidStateException", message));
    }
    entry(request, &arn)?.target = target;
    Ok(json!({}))
}

pub(super) fn delete_alias(request: &mut ServiceRequest<'_>) -> Outcome {
    let (_, arn) = own_alias(request)?;
    entry(request, &arn)?;
    request.world.aliases.remove(&arn);
    Ok(json!({}))
}

pub(super) fn list_aliases(request: &mut ServiceRequest<'_>) -> Outcome {
    let filter = match request.text("KeyId") {
        Some(_) => Some(request.own_key()?),
        None => None,
    };
    let visible = request.world.aliases.iter().filter(|(arn, alias)| {
        names::region_of(arn) == request.region
            && names::account_of(arn) == request.world.account
            && alias.hidden_calls == 0
            && filter.as_ref().is_none_or(|key| *key == alias.target)
    });
    let aliases: Vec<Value> = visible
        .map(|(arn, alias)| {
            json!({
                "AliasArn": arn,
                "AliasName": arn.splitn(6, ':').last(),
                "TargetKeyId": alias.target.rsplit('/').next(),
                "CreationDate": alias.created,
                "LastUpdatedDate": alias.created,
            })
        })
        .collect();
    keys::listing("Aliases", aliases, request)
}

/// The name in `AliasName`, if the customer may use it, and its ARN.
fn own_alias(request: &ServiceRequest<'_>) -> Result<(String, String), ApiError> {
    let name = request.required("AliasName")?;
    if !names::is_alias_name(&name) {
        return Err(ApiError::new("InvalidAliasNameException", format!("Invalid alias name {name}")));
    }
    if name.starts_with("alias/aws/") {
        let message = "Alias name cannot begin with the reserved prefix alias/aws/";
        return Err(ApiError::new("NotAuthorizedException", message));
    }
    let arn = request.world.arn("kms", request.region, &name);
    Ok((name, arn))
}

fn entry<'a>(request: &'a mut ServiceRequest<'_>, arn: &str) -> Result<&'a mut AliasEntry, ApiError> {
    let missing = || not_found(format!("Alias {arn} is not found."));
    request.world.aliases.get_mut(arn).ok_or_else(missing)
}

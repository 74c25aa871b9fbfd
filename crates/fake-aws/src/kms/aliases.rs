//! Aliases.

use serde_json::{Value, json};

use super::{Asked, invalid_state, keys, not_found};
use crate::answer::{Outcome, Refusal};
use crate::names;
use crate::{AliasEntry, KeyManager, KeyState};

/// How many aliases a key may have.
const ALIASES_PER_KEY: usize = 50;

pub(super) fn create_alias(asked: &mut Asked<'_>) -> Outcome {
    let (name, arn) = own_alias(asked)?;
    let target = asked.own_key_in("TargetKeyId")?;
    let key = asked.key(&target);
    if key.manager == KeyManager::Aws {
        return Err(asked.denied());
    }
    // A disabled key may well be given an alias.
    if key.state == KeyState::PendingDeletion {
        return Err(invalid_state(&target, "pending deletion"));
    }
    if asked.world.aliases.contains_key(&arn) {
        let message = format!("An alias with the name {arn} already exists");
        return Err(Refusal::new("AlreadyExistsException", message));
    }
    let of_key = asked.world.aliases.values().filter(|alias| alias.target == target);
    if of_key.count() >= ALIASES_PER_KEY {
        return Err(Refusal::new("LimitExceededException", "Too many aliases on this key"));
    }
    asked.world.alias(asked.region, &name, &target);
    let hidden = asked.world.settle.alias_visible_after;
    entry(asked, &arn)?.hidden_calls = hidden;
    Ok(json!({}))
}

/// The alias moves to another key of the same kind.
pub(super) fn update_alias(asked: &mut Asked<'_>) -> Outcome {
    let (_, arn) = own_alias(asked)?;
    let target = asked.own_key_in("TargetKeyId")?;
    let before = entry(asked, &arn)?.target.clone();
    let new = asked.key(&target);
    if new.state == KeyState::PendingDeletion {
        return Err(invalid_state(&target, "pending deletion"));
    }
    let kind = (new.is_symmetric(), new.usage.clone());
    if let Some(old) = asked.world.keys.get(&before)
        && (old.is_symmetric(), old.usage.clone()) != kind
    {
        let message = "The current and the new key are of different types or usages";
        return Err(Refusal::new("KMSInvalidStateException", message));
    }
    entry(asked, &arn)?.target = target;
    Ok(json!({}))
}

pub(super) fn delete_alias(asked: &mut Asked<'_>) -> Outcome {
    let (_, arn) = own_alias(asked)?;
    entry(asked, &arn)?;
    asked.world.aliases.remove(&arn);
    Ok(json!({}))
}

pub(super) fn list_aliases(asked: &mut Asked<'_>) -> Outcome {
    let of_key = match asked.text("KeyId") {
        Some(_) => Some(asked.own_key()?),
        None => None,
    };
    let visible = asked.world.aliases.iter().filter(|(arn, alias)| {
        names::region_of(arn) == asked.region
            && names::account_of(arn) == asked.world.account
            && alias.hidden_calls == 0
            && of_key.as_ref().is_none_or(|key| *key == alias.target)
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
    keys::listing("Aliases", aliases, asked)
}

/// The name in `AliasName`, which the customer may use, and its ARN.
fn own_alias(asked: &Asked<'_>) -> Result<(String, String), Refusal> {
    let name = asked.required("AliasName")?;
    if !names::is_alias_name(&name) {
        return Err(Refusal::new("InvalidAliasNameException", format!("Invalid alias name {name}")));
    }
    if name.starts_with("alias/aws/") {
        let message = "Alias name cannot begin with the reserved prefix alias/aws/";
        return Err(Refusal::new("NotAuthorizedException", message));
    }
    let arn = asked.world.arn("kms", asked.region, &name);
    Ok((name, arn))
}

fn entry<'a>(asked: &'a mut Asked<'_>, arn: &str) -> Result<&'a mut AliasEntry, Refusal> {
    let missing = || not_found(format!("Alias {arn} is not found."));
    asked.world.aliases.get_mut(arn).ok_or_else(missing)
}

//! Tags of keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Asked, invalid_state, keys};
use crate::KeyState;
use crate::answer::{Outcome, Refusal};
use crate::policy::listed;

/// Tags as given, checked.
pub(super) fn read(tags: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let refuse = |why: String| Refusal::new("TagException", why);
    let mut read = BTreeMap::new();
    for tag in listed(tags) {
        let name = tag["TagKey"].as_str().unwrap_or_default();
        let text = tag["TagValue"].as_str().unwrap_or_default();
        if name.is_empty() || name.len() > 128 || text.len() > 256 || name.starts_with("aws:") {
            return Err(refuse(format!("Invalid tag key or value: '{name}'")));
        }
        if read.insert(name.to_owned(), text.to_owned()).is_some() {
            return Err(refuse(format!("Duplicate tag key: '{name}'")));
        }
    }
    match read.len() {
        0..=50 => Ok(read),
        _ => Err(refuse("Too many tags".to_owned())),
    }
}

pub(super) fn tag_resource(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_changeable_key()?;
    let tags = read(&asked.input["Tags"])?;
    let key = asked.key(&arn);
    if key.state == KeyState::PendingDeletion {
        return Err(invalid_state(&arn, "pending deletion"));
    }
    key.tags.extend(tags);
    Ok(json!({}))
}

pub(super) fn untag_resource(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_changeable_key()?;
    let names = asked.input["TagKeys"].as_array().cloned().unwrap_or_default();
    let key = asked.key(&arn);
    if key.state == KeyState::PendingDeletion {
        return Err(invalid_state(&arn, "pending deletion"));
    }
    key.tags.retain(|name, _| !names.iter().any(|gone| gone == name));
    Ok(json!({}))
}

pub(super) fn list_resource_tags(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_key()?;
    let tags = asked.key(&arn).tags.clone();
    let tags = tags.into_iter().map(|(name, value)| json!({"TagKey": name, "TagValue": value}));
    keys::listing("Tags", tags.collect(), asked)
}

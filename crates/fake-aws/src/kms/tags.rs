//! KMS's tag operations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ServiceRequest, invalid_state, keys, validation};
use crate::KeyState;
use crate::policy::as_list;
use crate::response::{ApiError, Outcome};

/// The tags in a request, validated.
pub(super) fn read(tags: &Value) -> Result<BTreeMap<String, String>, ApiError> {
    let invalid = |message: String| ApiError::new("TagException", message);
    let mut read = BTreeMap::new();
    for tag in as_list(tags) {
        let name = tag["TagKey"].as_str().unwrap_or_default();
        let text = tag["TagValue"].as_str().unwrap_or_default();
        for (field, value, most) in [("tagKey", name, 128), ("tagValue", text, 256)] {
            if value.len() > most {
                return Err(validation(format!(
                    "1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: Member must have length less than or equal to {most}"
                )));
            }
        }
        if name.is_empty() {
            return Err(validation(
                "1 validation error detected: Value '' at 'tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ));
        }
        if name.starts_with("aws:") {
            return Err(invalid("Tags beginning with aws: are reserved".to_owned()));
        }
        if read.insert(name.to_owned(), text.to_owned()).is_some() {
            return Err(invalid("Duplicate tag keys".to_owned()));
        }
    }
    match read.len() {
        0..=50 => Ok(read),
        _ => Err(invalid("Too many tags".to_owned())),
    }
}

pub(super) fn tag_resource(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_changeable_key()?;
    let tags = read(&request.input["Tags"])?;
    let key = request.key(&arn);
    if key.state == KeyState::PendingDeletion {
        return Err(invalid_state(&arn, "pending deletion"));
    }
    key.tags.extend(tags);
    Ok(json!({}))
}

pub(super) fn untag_resource(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_changeable_key()?;
    let names = request.input["TagKeys"].as_array().cloned().unwrap_or_default();
    let key = request.key(&arn);
    if key.state == KeyState::PendingDeletion {
        return Err(invalid_state(&arn, "pending deletion"));
    }
    key.tags.retain(|name, _| !names.iter().any(|removed| removed == name));
    Ok(json!({}))
}

pub(super) fn list_resource_tags(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_key()?;
    let tags = request.key(&arn).tags.clone();
    let tags = tags.into_iter().map(|(name, value)| json!({"TagKey": name, "TagValue": value}));
    keys::listing("Tags", tags.collect(), request)
}

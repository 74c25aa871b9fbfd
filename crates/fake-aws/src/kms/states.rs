//! KMS's operations on a key's state and rotation.

use serde_json::{Value, json};

use super::{ServiceRequest, invalid_state, validation};
use crate::KeyState;
use crate::response::{ApiError, Outcome};

const DAY: u64 = 86_400;

pub(super) fn enable_key(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_changeable_key()?;
    let key = request.key(&arn);
    match key.state {
        KeyState::Enabled | KeyState::Disabled => {
            key.state = KeyState::Enabled;
            request.world.deliver_for_key(&arn);
            Ok(json!({}))
        }
        _ => Err(wrong_state(&arn, key.state)),
    }
}

pub(super) fn disable_key(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_changeable_key()?;
    let key = request.key(&arn);
    match key.state {
        KeyState::Enabled | KeyState::Disabled => {
            key.state = KeyState::Disabled;
            Ok(json!({}))
        }
        _ => Err(wrong_state(&arn, key.state)),
    }
}

pub(super) fn schedule_key_deletion(request: &mut ServiceRequest<'_>) -> Outcome {
    let days = request.input["PendingWindowInDays"].as_u64().unwrap_or(30);
    if !(7..=30).contains(&days) {
        return Err(validation("PendingWindowInDays is not between 7 and 30"));
    }
    let arn = request.own_changeable_key()?;
    let date = request.world.now + days * DAY;
    let key = request.key(&arn);
    if key.state == KeyState::PendingDeletion {
        return Err(wrong_state(&arn, key.state));
    }
    key.state = KeyState::PendingDeletion;
    key.deletion_date = Some(date);
    Ok(json!({"KeyId": arn, "DeletionDate": date, "KeyState": "PendingDeletion", "PendingWindowInDays": days}))
}

/// The key is disabled afterward, even if it was enabled before.
pub(super) fn cancel_key_deletion(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_changeable_key()?;
    let key = request.key(&arn);
    if key.state != KeyState::PendingDeletion {
        return Err(invalid_state(&arn, "not pending deletion"));
    }
    key.state = KeyState::Disabled;
    key.deletion_date = None;
    Ok(json!({"KeyId": arn}))
}

pub(super) fn enable_key_rotation(request: &mut ServiceRequest<'_>) -> Outcome {
    let days = request.input["RotationPeriodInDays"].as_u64().unwrap_or(365);
    if !(90..=2560).contains(&days) {
        return Err(validation("RotationPeriodInDays is not between 90 and 2560"));
    }
    let arn = rotatable(request)?;
    request.key(&arn).rotation_days = Some(days);
    Ok(json!({}))
}

pub(super) fn disable_key_rotation(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = rotatable(request)?;
    request.key(&arn).rotation_days = None;
    Ok(json!({}))
}

fn rotatable(request: &mut ServiceRequest<'_>) -> Result<String, ApiError> {
    let arn = request.own_changeable_key()?;
    let key = request.key(&arn);
    match key.state {
        _ if !key.is_symmetric() || key.origin != "AWS_KMS" || key.replica => {
            Err(ApiError::new("UnsupportedOperationException", format!("{arn} does not support rotation.")))
        }
        KeyState::Disabled => Err(ApiError::new("DisabledException", format!("{arn} is disabled."))),
        KeyState::Enabled => Ok(arn),
        state => Err(wrong_state(&arn, state)),
    }
}

pub(super) fn get_key_rotation_status(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.own_key()?;
    let key = request.key(&arn);
    if !key.is_symmetric() || key.origin != "AWS_KMS" {
        return Err(ApiError::new("UnsupportedOperationException", format!("{arn} does not support rotation.")));
    }
    // False while it is pending deletion; it rotates again when the deletion is canceled.
    let days = key.rotation_days.filter(|_| key.state != KeyState::PendingDeletion);
    let mut output = json!({"KeyId": arn, "KeyRotationEnabled": days.is_some()});
    if let Some(days) = days {
        output["RotationPeriodInDays"] = Value::from(days);
    }
    Ok(output)
}

fn wrong_state(arn: &str, state: KeyState) -> ApiError {
    match state {
        KeyState::PendingDeletion => invalid_state(arn, "pending deletion"),
        KeyState::PendingImport => invalid_state(arn, "pending import"),
        KeyState::Disabled => invalid_state(arn, "disabled"),
        other => invalid_state(arn, &format!("{other:?}")),
    }
}

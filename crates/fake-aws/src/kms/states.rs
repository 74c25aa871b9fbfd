//! Enabling, disabling, deleting, rotating.

use serde_json::{Value, json};

use super::{Asked, invalid_state, validation};
use crate::KeyState;
use crate::answer::{Outcome, Refusal};

const DAY: u64 = 86_400;

pub(super) fn enable_key(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_changeable_key()?;
    let key = asked.key(&arn);
    match key.state {
        KeyState::Enabled | KeyState::Disabled => {
            key.state = KeyState::Enabled;
            asked.world.deliver_with(&arn);
            Ok(json!({}))
        }
        _ => Err(wrong_state(&arn, key.state)),
    }
}

pub(super) fn disable_key(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_changeable_key()?;
    let key = asked.key(&arn);
    match key.state {
        KeyState::Enabled | KeyState::Disabled => {
            key.state = KeyState::Disabled;
            Ok(json!({}))
        }
        _ => Err(wrong_state(&arn, key.state)),
    }
}

pub(super) fn schedule_key_deletion(asked: &mut Asked<'_>) -> Outcome {
    let days = asked.input["PendingWindowInDays"].as_u64().unwrap_or(30);
    if !(7..=30).contains(&days) {
        return Err(validation("PendingWindowInDays is not between 7 and 30"));
    }
    let arn = asked.own_changeable_key()?;
    let date = asked.world.now + days * DAY;
    let key = asked.key(&arn);
    if key.state == KeyState::PendingDeletion {
        return Err(wrong_state(&arn, key.state));
    }
    key.state = KeyState::PendingDeletion;
    key.deletion_date = Some(date);
    Ok(json!({"KeyId": arn, "DeletionDate": date, "KeyState": "PendingDeletion", "PendingWindowInDays": days}))
}

/// The key is disabled afterwards, whatever it was before.
pub(super) fn cancel_key_deletion(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_changeable_key()?;
    let key = asked.key(&arn);
    if key.state != KeyState::PendingDeletion {
        return Err(invalid_state(&arn, "not pending deletion"));
    }
    key.state = KeyState::Disabled;
    key.deletion_date = None;
    Ok(json!({"KeyId": arn}))
}

pub(super) fn enable_key_rotation(asked: &mut Asked<'_>) -> Outcome {
    let days = asked.input["RotationPeriodInDays"].as_u64().unwrap_or(365);
    if !(90..=2560).contains(&days) {
        return Err(validation("RotationPeriodInDays is not between 90 and 2560"));
    }
    let arn = rotatable(asked)?;
    asked.key(&arn).rotation_days = Some(days);
    Ok(json!({}))
}

pub(super) fn disable_key_rotation(asked: &mut Asked<'_>) -> Outcome {
    let arn = rotatable(asked)?;
    asked.key(&arn).rotation_days = None;
    Ok(json!({}))
}

fn rotatable(asked: &mut Asked<'_>) -> Result<String, Refusal> {
    let arn = asked.own_changeable_key()?;
    let key = asked.key(&arn);
    match key.state {
        _ if !key.is_symmetric() || key.origin != "AWS_KMS" => {
            Err(Refusal::new("UnsupportedOperationException", format!("{arn} does not support rotation.")))
        }
        KeyState::Disabled => Err(Refusal::new("DisabledException", format!("{arn} is disabled."))),
        KeyState::Enabled => Ok(arn),
        state => Err(wrong_state(&arn, state)),
    }
}

pub(super) fn get_key_rotation_status(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.own_key()?;
    let key = asked.key(&arn);
    let mut answer = json!({"KeyId": arn, "KeyRotationEnabled": key.rotation_days.is_some()});
    if let Some(days) = key.rotation_days {
        answer["RotationPeriodInDays"] = Value::from(days);
    }
    Ok(answer)
}

fn wrong_state(arn: &str, state: KeyState) -> Refusal {
    match state {
        KeyState::PendingDeletion => invalid_state(arn, "pending deletion"),
        other => invalid_state(arn, &format!("{other:?}")),
    }
}

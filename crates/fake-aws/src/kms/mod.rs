//! KMS: from an operation's name to its rules, and from what a caller calls a key to the key.

mod aliases;
mod key_policy;
mod keys;
mod states;
mod tags;

use serde_json::Value;

use crate::answer::{Outcome, Protocol, Refusal};
use crate::names::{self, Arn};
use crate::server::{denied, unknown_operation};
use crate::{Key, KeyManager, World};

pub(crate) fn perform(world: &mut World, region: &str, operation: &str, input: &Value) -> Outcome {
    let mut asked = Asked { world, region, operation, input };
    match operation {
        "CreateKey" => keys::create_key(&mut asked),
        "DescribeKey" => keys::describe_key(&mut asked),
        "ListKeys" => keys::list_keys(&asked),
        "ListGrants" => keys::list_grants(&mut asked),
        "GetKeyPolicy" => key_policy::get_key_policy(&mut asked),
        "PutKeyPolicy" => key_policy::put_key_policy(&mut asked),
        "CreateAlias" => aliases::create_alias(&mut asked),
        "UpdateAlias" => aliases::update_alias(&mut asked),
        "DeleteAlias" => aliases::delete_alias(&mut asked),
        "ListAliases" => aliases::list_aliases(&mut asked),
        "EnableKey" => states::enable_key(&mut asked),
        "DisableKey" => states::disable_key(&mut asked),
        "ScheduleKeyDeletion" => states::schedule_key_deletion(&mut asked),
        "CancelKeyDeletion" => states::cancel_key_deletion(&mut asked),
        "EnableKeyRotation" => states::enable_key_rotation(&mut asked),
        "DisableKeyRotation" => states::disable_key_rotation(&mut asked),
        "GetKeyRotationStatus" => states::get_key_rotation_status(&mut asked),
        "TagResource" => tags::tag_resource(&mut asked),
        "UntagResource" => tags::untag_resource(&mut asked),
        "ListResourceTags" => tags::list_resource_tags(&mut asked),
        _ => Err(unknown_operation(operation)),
    }
}

/// One call to KMS.
struct Asked<'a> {
    world: &'a mut World,
    region: &'a str,
    operation: &'a str,
    input: &'a Value,
}

impl Asked<'_> {
    /// A text field of the input.
    fn text(&self, name: &str) -> Option<&str> {
        self.input[name].as_str()
    }

    /// A text field that must be there.
    fn required(&self, name: &str) -> Result<String, Refusal> {
        self.text(name).map(str::to_owned).ok_or_else(|| {
            validation(format!("1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"))
        })
    }

    /// The ARN of the key in the field `KeyId`: an id or ARN of this account's. All operations but DescribeKey.
    fn own_key(&mut self) -> Result<String, Refusal> {
        self.own_key_in("KeyId")
    }

    /// The same, for another field.
    fn own_key_in(&mut self, field: &str) -> Result<String, Refusal> {
        let id = self.required(field)?;
        if id.starts_with("alias/") {
            return Err(not_found(format!("Invalid keyId '{id}'")));
        }
        let arn = self.key_arn(&id)?;
        if Arn::kms(&arn).is_some_and(|arn| arn.resource.starts_with("alias/")) {
            return Err(Refusal::new("InvalidArnException", format!("{arn} is not a key ARN")));
        }
        self.seen(&arn)?;
        match names::account_of(&arn) == self.world.account {
            true => Ok(arn),
            false => Err(self.denied()),
        }
    }

    /// The same, of a key that the customer may change.
    fn own_changeable_key(&mut self) -> Result<String, Refusal> {
        let arn = self.own_key()?;
        match self.world.keys[&arn].manager {
            KeyManager::Customer => Ok(arn),
            KeyManager::Aws => Err(self.denied()),
        }
    }

    /// An id or ARN as an ARN in the call's Region.
    fn key_arn(&self, id: &str) -> Result<String, Refusal> {
        if !id.starts_with("arn:") {
            return match names::is_key_id(id) {
                true => Ok(self.world.arn("kms", self.region, &format!("key/{id}"))),
                false => Err(not_found(format!("Invalid keyId '{id}'"))),
            };
        }
        let arn = Arn::kms(id).ok_or_else(|| Refusal::new("InvalidArnException", format!("Invalid arn {id}")))?;
        match arn.region == self.region {
            true => Ok(id.to_owned()),
            false => Err(not_found(format!("Invalid arn {}", arn.region))),
        }
    }

    /// The key exists, is visible by now, and nothing refuses this operation on it.
    fn seen(&mut self, arn: &str) -> Result<&mut Key, Refusal> {
        let missing = || not_found(format!("Key '{arn}' does not exist"));
        let name = format!("kms:{}", self.operation);
        let refused = self.denied();
        let key = self.world.keys.get_mut(arn).ok_or_else(missing)?;
        if key.hidden_calls > 0 {
            key.hidden_calls -= 1;
            return Err(missing());
        }
        if key.denied.contains(&name) {
            return Err(refused);
        }
        Ok(self.key(arn))
    }

    /// A key that was found before.
    fn key(&mut self, arn: &str) -> &mut Key {
        self.world.keys.get_mut(arn).expect("a key that was just found")
    }

    fn denied(&self) -> Refusal {
        let name = format!("kms:{}", self.operation);
        denied(Protocol::Json, &self.world.caller_role_arn, &name)
    }
}

fn not_found(message: String) -> Refusal {
    Refusal::new("NotFoundException", message)
}

fn validation(message: impl Into<String>) -> Refusal {
    Refusal::new("ValidationException", message)
}

/// What KMS says when a key is not in a state for an operation.
fn invalid_state(arn: &str, what: &str) -> Refusal {
    Refusal::new("KMSInvalidStateException", format!("{arn} is {what}."))
}

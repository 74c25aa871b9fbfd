//! KMS: its operations, and which key an ID, ARN or alias means.

mod aliases;
mod key_policy;
mod keys;
mod states;
mod tags;

use serde_json::Value;

use crate::names::{self, Arn};
use crate::response::{ApiError, Outcome, Protocol};
use crate::server::{denied, unknown_operation};
use crate::{Key, KeyManager, World};

pub(crate) fn perform(world: &mut World, region: &str, operation: &str, input: &Value) -> Outcome {
    let mut request = ServiceRequest { world, region, operation, input };
    match operation {
        "CreateKey" => keys::create_key(&mut request),
        "DescribeKey" => keys::describe_key(&mut request),
        "ListKeys" => keys::list_keys(&request),
        "ListGrants" => keys::list_grants(&mut request),
        "GetKeyPolicy" => key_policy::get_key_policy(&mut request),
        "PutKeyPolicy" => key_policy::put_key_policy(&mut request),
        "CreateAlias" => aliases::create_alias(&mut request),
        "UpdateAlias" => aliases::update_alias(&mut request),
        "DeleteAlias" => aliases::delete_alias(&mut request),
        "ListAliases" => aliases::list_aliases(&mut request),
        "EnableKey" => states::enable_key(&mut request),
        "DisableKey" => states::disable_key(&mut request),
        "ScheduleKeyDeletion" => states::schedule_key_deletion(&mut request),
        "CancelKeyDeletion" => states::cancel_key_deletion(&mut request),
        "EnableKeyRotation" => states::enable_key_rotation(&mut request),
        "DisableKeyRotation" => states::disable_key_rotation(&mut request),
        "GetKeyRotationStatus" => states::get_key_rotation_status(&mut request),
        "TagResource" => tags::tag_resource(&mut request),
        "UntagResource" => tags::untag_resource(&mut request),
        "ListResourceTags" => tags::list_resource_tags(&mut request),
        _ => Err(unknown_operation(operation)),
    }
}

/// A request to KMS.
struct ServiceRequest<'a> {
    world: &'a mut World,
    region: &'a str,
    operation: &'a str,
    input: &'a Value,
}

impl ServiceRequest<'_> {
    /// A string field of the input.
    fn text(&self, name: &str) -> Option<&str> {
        self.input[name].as_str()
    }

    /// A required string field.
    fn required(&self, name: &str) -> Result<String, ApiError> {
        self.text(name).map(str::to_owned).ok_or_else(|| {
            validation(format!("1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"))
        })
    }

    /// The ARN of this account's key in the field `KeyId`, an ID or ARN. For all operations but DescribeKey.
    fn own_key(&mut self) -> Result<String, ApiError> {
        self.own_key_in("KeyId")
    }

    /// The same, for another field.
    fn own_key_in(&mut self, field: &str) -> Result<String, ApiError> {
        let id = self.required(field)?;
        if id.starts_with("alias/") {
            return Err(not_found(format!("Invalid keyId '{id}'")));
        }
        let arn = self.key_arn(&id)?;
        if Arn::kms(&arn).is_some_and(|arn| arn.resource.starts_with("alias/")) {
            return Err(ApiError::new("InvalidArnException", format!("{arn} is not a key ARN")));
        }
        self.find(&arn)?;
        match names::account_of(&arn) == self.world.account {
            true => Ok(arn),
            false => Err(self.denied()),
        }
    }

    /// The same, for a customer managed key.
    fn own_changeable_key(&mut self) -> Result<String, ApiError> {
        let arn = self.own_key()?;
        match self.world.keys[&arn].manager {
            KeyManager::Customer => Ok(arn),
            KeyManager::Aws => Err(self.denied()),
        }
    }

    /// The ARN of a key ID or ARN in the request's Region.
    fn key_arn(&self, id: &str) -> Result<String, ApiError> {
        if !id.starts_with("arn:") {
            return match names::is_key_id(id) {
                true => Ok(self.world.arn("kms", self.region, &format!("key/{id}"))),
                false => Err(not_found(format!("Invalid keyId '{id}'"))),
            };
        }
        let arn = Arn::kms(id).ok_or_else(|| ApiError::new("InvalidArnException", format!("Invalid arn {id}")))?;
        match arn.region == self.region {
            true => Ok(id.to_owned()),
            false => Err(not_found(format!("Invalid arn {}", arn.region))),
        }
    }

    /// The key, if it exists, is visible, and does not deny this operation.
    fn find(&mut self, arn: &str) -> Result<&mut Key, ApiError> {
        let missing = || not_found(format!("Key '{arn}' does not exist"));
        let name = format!("kms:{}", self.operation);
        let denied = self.denied();
        let key = self.world.keys.get_mut(arn).ok_or_else(missing)?;
        if key.hidden_calls > 0 {
            key.hidden_calls -= 1;
            return Err(missing());
        }
        if key.denied.contains(&name) {
            return Err(denied);
        }
        Ok(self.key(arn))
    }

    /// A key that exists.
    fn key(&mut self, arn: &str) -> &mut Key {
        self.world.keys.get_mut(arn).expect("the key exists")
    }

    fn denied(&self) -> ApiError {
        let name = format!("kms:{}", self.operation);
        denied(Protocol::Json, &self.world.caller_role_arn, &name)
    }
}

fn not_found(message: String) -> ApiError {
    ApiError::new("NotFoundException", message)
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

/// The error for a key whose state does not allow the operation.
fn invalid_state(arn: &str, what: &str) -> ApiError {
    ApiError::new("KMSInvalidStateException", format!("{arn} is {what}."))
}

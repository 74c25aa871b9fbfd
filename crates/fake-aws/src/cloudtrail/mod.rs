//! CloudTrail: its operations, and which trail a name or ARN means.

mod check;
mod delivery;
mod reads;
mod writes;

use serde_json::Value;

use crate::names::{self, Arn};
use crate::response::{ApiError, Outcome, Protocol};
use crate::server::{denied, unknown_operation};
use crate::{Trail, World};

pub(crate) fn perform(world: &mut World, region: &str, operation: &str, input: &Value) -> Outcome {
    let mut request = ServiceRequest { world, region, operation, input };
    match operation {
        "GetTrail" => reads::get_trail(&request),
        "GetTrailStatus" => reads::get_trail_status(&request),
        "DescribeTrails" => reads::describe_trails(&request),
        "ListTrails" => reads::list_trails(&request),
        "ListTags" => reads::list_tags(&request),
        "CreateTrail" => writes::create_trail(&mut request),
        "UpdateTrail" => writes::update_trail(&mut request),
        "DeleteTrail" => writes::delete_trail(&mut request),
        "StartLogging" => writes::set_logging(&mut request, true),
        "StopLogging" => writes::set_logging(&mut request, false),
        "AddTags" => writes::add_tags(&mut request),
        _ => Err(unknown_operation(operation)),
    }
}

/// A request to CloudTrail.
struct ServiceRequest<'a> {
    world: &'a mut World,
    region: &'a str,
    operation: &'a str,
    input: &'a Value,
}

impl ServiceRequest<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.input[name].as_str()
    }

    /// Resolves a name or ARN to an ARN. A bare name means this account's trail in the request's Region.
    fn arn_of(&self, name: &str) -> Result<String, ApiError> {
        if name.starts_with("arn:") {
            let arn = Arn::trail(name).ok_or_else(|| invalid_arn(format!("Trail ARN is invalid: {name}")))?;
            return match arn.partition == self.world.partition {
                true => Ok(name.to_owned()),
                false => Err(invalid_arn(format!("Trail ARN is invalid: {name}"))),
            };
        }
        match names::is_trail_name(name) {
            true => Ok(self.world.trail_arn(self.region, name)),
            false => Err(ApiError::new("InvalidTrailNameException", format!("Trail name is invalid: {name}"))),
        }
    }

    /// The trail in the field `Name`. A multi-Region trail is visible in every Region, a single-Region trail
    /// only in its home Region (undocumented; elsewhere, this fake does not find it).
    fn trail(&self) -> Result<(String, &Trail), ApiError> {
        let arn = self.arn_of(self.text("Name").unwrap_or_default())?;
        let trail = self.find(&arn)?;
        match trail.multi_region || trail.home_region == self.region {
            true => Ok((arn, trail)),
            false => Err(self.unknown_trail(&arn)),
        }
    }

    /// The trail with this ARN, in any Region.
    fn find(&self, arn: &str) -> Result<&Trail, ApiError> {
        let Some(trail) = self.world.trails.get(arn) else {
            return match names::account_of(arn) == self.world.account {
                true => Err(self.unknown_trail(arn)),
                false => Err(self.wrong_account()),
            };
        };
        // Another account's trail is visible only if it is the organization's.
        if trail.owner != self.world.account && !trail.organization {
            return Err(self.wrong_account());
        }
        match trail.denied.contains(&format!("cloudtrail:{}", self.operation)) {
            true => Err(self.denied()),
            false => Ok(trail),
        }
    }

    /// The ARN of the trail in the field `Name`, if this account may change it in this Region.
    fn writable_trail(&self) -> Result<String, ApiError> {
        let arn = self.arn_of(self.text("Name").unwrap_or_default())?;
        let trail = self.find(&arn)?;
        if trail.owner != self.world.account && !self.world.delegated_admin {
            return Err(ApiError::new(
                "NotOrganizationMasterAccountException",
                "The specified account is not the organization's management account or a delegated administrator.",
            ));
        }
        match trail.home_region == self.region {
            true => Ok(arn),
            false => Err(ApiError::new(
                "InvalidHomeRegionException",
                format!("Trail {arn} can only be changed in its home Region {}", trail.home_region),
            )),
        }
    }

    fn unknown_trail(&self, arn: &str) -> ApiError {
        let account = &self.world.account;
        ApiError::new("TrailNotFoundException", format!("Unknown trail: {arn} for the user: {account}"))
    }

    fn wrong_account(&self) -> ApiError {
        invalid_arn(format!(
            "AccountID in ARN is wrong, you can only access resources with AccountID {}",
            self.world.account
        ))
    }

    fn denied(&self) -> ApiError {
        let name = format!("cloudtrail:{}", self.operation);
        denied(Protocol::Json, &self.world.caller_role_arn, &name)
    }
}

fn invalid_arn(message: String) -> ApiError {
    ApiError::new("CloudTrailARNInvalidException", message)
}

/// Sets a field of an output, if it has a value. CloudTrail omits empty fields.
fn put(output: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        output[name] = Value::String(value.to_owned());
    }
}

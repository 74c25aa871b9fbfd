//! CloudTrail: from an operation's name to its rules, and from a name or ARN to the trail.

mod check;
mod delivery;
mod reads;
mod writes;

use serde_json::Value;

use crate::answer::{Outcome, Protocol, Refusal};
use crate::names::{self, Arn};
use crate::server::{denied, unknown_operation};
use crate::{Trail, World};

pub(crate) fn perform(world: &mut World, region: &str, operation: &str, input: &Value) -> Outcome {
    let mut asked = Asked { world, region, operation, input };
    match operation {
        "GetTrail" => reads::get_trail(&asked),
        "GetTrailStatus" => reads::get_trail_status(&asked),
        "DescribeTrails" => reads::describe_trails(&asked),
        "ListTrails" => reads::list_trails(&asked),
        "ListTags" => reads::list_tags(&asked),
        "CreateTrail" => writes::create_trail(&mut asked),
        "UpdateTrail" => writes::update_trail(&mut asked),
        "DeleteTrail" => writes::delete_trail(&mut asked),
        "StartLogging" => writes::set_logging(&mut asked, true),
        "StopLogging" => writes::set_logging(&mut asked, false),
        "AddTags" => writes::add_tags(&mut asked),
        _ => Err(unknown_operation(operation)),
    }
}

/// One call to CloudTrail.
struct Asked<'a> {
    world: &'a mut World,
    region: &'a str,
    operation: &'a str,
    input: &'a Value,
}

impl Asked<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.input[name].as_str()
    }

    /// The ARN that a name or ARN means. A bare name means this account's trail in the call's Region.
    fn arn_of(&self, name: &str) -> Result<String, Refusal> {
        if name.starts_with("arn:") {
            let arn = Arn::trail(name).ok_or_else(|| invalid_arn(format!("Trail ARN is invalid: {name}")))?;
            return match arn.partition == self.world.partition {
                true => Ok(name.to_owned()),
                false => Err(invalid_arn(format!("Trail ARN is invalid: {name}"))),
            };
        }
        match names::is_trail_name(name) {
            true => Ok(self.world.trail_arn(self.region, name)),
            false => Err(Refusal::new("InvalidTrailNameException", format!("Trail name is invalid: {name}"))),
        }
    }

    /// The trail of the field `Name`, as it is seen from the call's Region: a multi-Region trail from
    /// everywhere, a single-Region trail only at home (choice of this fake: elsewhere it is not found).
    fn trail(&self) -> Result<(String, &Trail), Refusal> {
        let arn = self.arn_of(self.text("Name").unwrap_or_default())?;
        let trail = self.known(&arn)?;
        match trail.multi_region || trail.home_region == self.region {
            true => Ok((arn, trail)),
            false => Err(self.unknown_trail(&arn)),
        }
    }

    /// The trail of an ARN, wherever its home.
    fn known(&self, arn: &str) -> Result<&Trail, Refusal> {
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

    /// The ARN of the trail of the field `Name`, which this account may change from this Region.
    fn writable_trail(&self) -> Result<String, Refusal> {
        let arn = self.arn_of(self.text("Name").unwrap_or_default())?;
        let trail = self.known(&arn)?;
        if trail.owner != self.world.account && !self.world.delegated_admin {
            return Err(Refusal::new(
                "NotOrganizationMasterAccountException",
                "The specified account is not the organization's management account or a delegated administrator.",
            ));
        }
        match trail.home_region == self.region {
            true => Ok(arn),
            false => Err(Refusal::new(
                "InvalidHomeRegionException",
                format!("Trail {arn} can only be changed in its home Region {}", trail.home_region),
            )),
        }
    }

    fn unknown_trail(&self, arn: &str) -> Refusal {
        let account = &self.world.account;
        Refusal::new("TrailNotFoundException", format!("Unknown trail: {arn} for the user: {account}"))
    }

    fn wrong_account(&self) -> Refusal {
        invalid_arn(format!(
            "AccountID in ARN is wrong, you can only access resources with AccountID {}",
            self.world.account
        ))
    }

    fn denied(&self) -> Refusal {
        let name = format!("cloudtrail:{}", self.operation);
        denied(Protocol::Json, &self.world.caller_role_arn, &name)
    }
}

fn invalid_arn(message: String) -> Refusal {
    Refusal::new("CloudTrailARNInvalidException", message)
}

/// Sets a field of an answer, if there is something to say: CloudTrail leaves out what is empty.
fn put(answer: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        answer[name] = Value::String(value.to_owned());
    }
}

//! EventBridge events: which trail or key a CloudTrail event names, and why an event is ignored.
//! Forms: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>.

use serde_json::Value;

use super::{DeploymentTool, InvalidInput, Origin, SWEEP, Target, TrailRef, Trigger, parse, string, trail_ref};
use crate::ids::{AccountId, FunctionArn, Region, TrailArn, shorten};

const TRAIL_EVENTS: [&str; 4] = ["CreateTrail", "UpdateTrail", "StopLogging", "StartLogging"];
const KEY_EVENTS: [&str; 4] = ["DisableKey", "DisableKeyRotation", "ScheduleKeyDeletion", "PutKeyPolicy"];

/// An EventBridge event: the part of the envelope that trailseal reads, and the event's own content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// What `detail` contains.
    pub detail_type: String,
    /// The service that sent it.
    pub source: String,
    /// The event's ID.
    pub id: Option<String>,
    /// The account in which it occurred.
    pub account: Option<String>,
    /// The Region in which it occurred.
    pub region: Option<String>,
    /// A CloudTrail record, in the events that matter.
    pub detail: Value,
}

impl Trigger {
    /// Reads an EventBridge event. Only events of the function's own account count.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] for an event that is neither a schedule nor a CloudTrail event, and for a
    /// malformed name or Region in an event that is not ignored.
    pub fn from_event(event: &Event, function_arn: &FunctionArn) -> Result<Self, InvalidInput> {
        let (origin, account) = (event.origin(), function_arn.account());
        if event.detail_type == "Scheduled Event" && event.source == "aws.events" {
            let target = event.foreign_account(account).map_or(Target::Sweep, Target::Ignored);
            return Ok(Self { origin: Origin { kind: SWEEP.into(), ..origin }, target });
        }
        if event.detail_type != "AWS API Call via CloudTrail" && event.other_type().is_none() {
            let (detail_type, source) = (shorten(&event.detail_type, 60), shorten(&event.source, 60));
            return Err(InvalidInput::new(format!("an EventBridge event `{detail_type}` from `{source}`")));
        }
        if let Some(reason) = event.reason_to_ignore(account) {
            return Ok(Self { origin, target: Target::Ignored(reason) });
        }
        let region = event.region()?;
        let target = match event.source.as_str() {
            "aws.kms" => event.key(region.as_ref(), function_arn)?,
            _ => event.trail(region.as_ref(), function_arn)?,
        };
        Ok(Self { origin, target })
    }
}

impl Event {
    /// A text in the record, at a JSON pointer. A field that is null or of another type than documented counts as
    /// absent, so that it cannot hide another one. So does an empty text: some services send one for a parameter that
    /// was not given.
    fn text(&self, pointer: &str) -> Option<&str> {
        present(self.detail.pointer(pointer)?.as_str())
    }

    /// The trail that the call named, or else the trail that the response names.
    fn trail(&self, region: Option<&Region>, function_arn: &FunctionArn) -> Result<Target, InvalidInput> {
        let response = self.text("/responseElements/trailARN");
        // Of any type, because a trail that was named must not be mistaken for an absent one.
        let Some(name) = self.detail.pointer("/requestParameters/name").filter(|name| !name.is_null()) else {
            return match response {
                Some(arn) => Ok(Target::Trails(vec![TrailRef::Arn(parse(arn, "responseElements.trailARN")?)])),
                None => Ok(Target::Ignored("the event names no trail".into())),
            };
        };
        let field = "requestParameters.name";
        let trail = trail_ref(string(Some(name), field)?, region, function_arn, field)?;
        // An organization trail that its delegated administrator names belongs to the management account.
        if let (TrailRef::Name { name, .. }, Some(Ok(arn))) = (&trail, response.map(str::parse::<TrailArn>))
            && arn.name() == name
        {
            return Ok(Target::Trails(vec![TrailRef::Arn(arn)]));
        }
        Ok(Target::Trails(vec![trail]))
    }

    /// The key that the call used: by its ARN, or by its bare ID in the event's Region.
    fn key(&self, region: Option<&Region>, function_arn: &FunctionArn) -> Result<Target, InvalidInput> {
        let fields = ["/resources/0/ARN", "/requestParameters/keyId", "/responseElements/keyId"];
        let rotation = self.text("/eventName") == Some("DisableKeyRotation");
        let named: Vec<&str> = fields.into_iter().filter_map(|field| self.text(field)).collect();
        if let Some(arn) = named.iter().find_map(|text| text.parse().ok()) {
            return Ok(Target::Key { key: arn, rotation });
        }
        let Some(id) = named.first() else { return Ok(Target::Ignored("the event names no key".into())) };
        let Some(region) = region else { return Ok(Target::Ignored("the event names no Region".into())) };
        let arn = format!("arn:{}:kms:{region}:{}:key/{id}", function_arn.partition(), function_arn.account());
        Ok(Target::Key { key: parse(&arn, "requestParameters.keyId")?, rotation })
    }

    /// Why the event is ignored, if it is.
    fn reason_to_ignore(&self, account: &AccountId) -> Option<String> {
        if let Some(kind) = self.other_type() {
            return Some(format!("eventType is `{}`, not `AwsApiCall`", shorten(kind, 60)));
        }
        if let Some(reason) = self.foreign_account(account) {
            return Some(reason);
        }
        if let Some(code) = self.text("/errorCode") {
            return Some(format!("the call failed with `{}` and changed nothing", shorten(code, 80)));
        }
        let name = self.text("/eventName").unwrap_or_default();
        let source = self.text("/eventSource").unwrap_or_default();
        match (self.source.as_str(), source) {
            ("aws.cloudtrail", "cloudtrail.amazonaws.com") if TRAIL_EVENTS.contains(&name) => None,
            ("aws.kms", "kms.amazonaws.com") if KEY_EVENTS.contains(&name) => None,
            _ => Some(format!("trailseal does not act on `{}` of `{}`", shorten(name, 60), shorten(source, 60))),
        }
    }

    /// The record's type, if it is not that of an API call.
    fn other_type(&self) -> Option<&str> {
        self.text("/eventType").filter(|kind| *kind != "AwsApiCall")
    }

    /// The reason to ignore another account's event.
    fn foreign_account(&self, account: &AccountId) -> Option<String> {
        let accounts = [present(self.account.as_deref()), self.text("/recipientAccountId")];
        let other = accounts.into_iter().flatten().find(|id| *id != account.as_str())?;
        Some(format!("the event belongs to account `{}`, not to `{account}`", shorten(other, 20)))
    }

    fn region(&self) -> Result<Option<Region>, InvalidInput> {
        let region = self.text("/awsRegion").or(present(self.region.as_deref()));
        region.map(|text| parse(text, "awsRegion")).transpose()
    }

    fn origin(&self) -> Origin {
        // Services and users of IAM Identity Center have no ARN. Forms:
        // <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>.
        let names = ["arn", "invokedBy", "onBehalfOf/userId", "userName", "principalId", "accountId", "type"];
        let actor = names.into_iter().find_map(|name| self.text(&format!("/userIdentity/{name}")));
        let clients = ["/userAgent", "/sourceIPAddress", "/userIdentity/invokedBy"].into_iter();
        Origin {
            kind: shorten(self.text("/eventName").unwrap_or("unnamed"), 60),
            event_id: self.text("/eventID").or(present(self.id.as_deref())).map(|id| shorten(id, 100)),
            actor: actor.map(|actor| shorten(actor, 300)),
            user_agent: self.text("/userAgent").map(|agent| shorten(agent, 200)),
            deployed_with: DeploymentTool::named_in(clients.filter_map(|field| self.text(field))),
            region: self.region().unwrap_or(None),
            is_command: false,
        }
    }
}

impl Origin {
    /// Whether an event about a trail started the invocation.
    pub fn is_trail_event(&self) -> bool {
        TRAIL_EVENTS.contains(&self.kind.as_str())
    }
}

fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

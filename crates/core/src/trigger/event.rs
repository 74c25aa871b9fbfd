//! EventBridge events: which trail or key a CloudTrail event names, and why an event is ignored.
//! Forms: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{EXPECTED, InvalidInput, Origin, SWEEP, Target, TrailRef, Trigger, parse, string, trail_ref};
use crate::ids::{AccountId, FunctionArn, Region, TrailArn, shorten};

const TRAIL_EVENTS: [&str; 4] = ["CreateTrail", "UpdateTrail", "StopLogging", "StartLogging"];
const KEY_EVENTS: [&str; 3] = ["DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy"];

/// An EventBridge event: the part of the envelope that trailseal reads, and the event's own content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// What `detail` contains.
    pub detail_type: String,
    /// The service that sent it.
    pub source: String,
    /// The event's id.
    pub id: Option<String>,
    /// The account in which it occurred.
    pub account: Option<String>,
    /// The Region in which it occurred.
    pub region: Option<String>,
    /// A CloudTrail record, in the events that matter.
    pub detail: Value,
}

/// A field with the type's default where it is absent, null or of another type than documented, so
/// that no field can hide another one.
#[derive(Debug, Default)]
struct Lenient<T>(T);

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(Value::deserialize(deserializer)?).unwrap_or_default()))
    }
}

impl Lenient<String> {
    fn text(&self) -> Option<&str> {
        present(Some(&self.0))
    }
}

/// An empty text counts as absent: some services send one for a parameter that was not given.
fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The part of a CloudTrail record that trailseal reads.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Detail {
    event_type: Lenient<String>,
    event_source: Lenient<String>,
    event_name: Lenient<String>,
    error_code: Lenient<String>,
    recipient_account_id: Lenient<String>,
    aws_region: Lenient<String>,
    #[serde(rename = "eventID")]
    event_id: Lenient<String>,
    user_agent: Lenient<String>,
    user_identity: Value,
    request_parameters: Lenient<RequestParameters>,
    response_elements: Lenient<ResponseElements>,
    resources: Lenient<Vec<Lenient<Resource>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestParameters {
    /// The trail. Of any type, because a trail that was named must not be mistaken for an absent one.
    name: Option<Value>,
    key_id: Lenient<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResponseElements {
    #[serde(rename = "trailARN")]
    trail_arn: Lenient<String>,
    key_id: Lenient<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    #[serde(rename = "ARN")]
    arn: Lenient<String>,
}

impl Trigger {
    /// Reads an EventBridge event. Only events of the function's own account count.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] for an event that is neither a schedule nor a CloudTrail event, and for a
    /// malformed name or Region in an event that is not ignored.
    pub fn from_event(event: &Event, function_arn: &FunctionArn) -> Result<Self, InvalidInput> {
        let detail = Detail::deserialize(&event.detail).unwrap_or_default();
        let record = Record { event, detail: &detail };
        let (origin, account) = (record.origin(), function_arn.account());
        if event.detail_type == "Scheduled Event" && event.source == "aws.events" {
            let target = record.foreign_account(account).map_or(Target::Sweep, Target::Ignored);
            return Ok(Self { origin: Origin { kind: SWEEP.into(), ..origin }, target });
        }
        let event_type = detail.event_type.text();
        if event.detail_type != "AWS API Call via CloudTrail" && event_type.is_none_or(|kind| kind == "AwsApiCall") {
            return Err(InvalidInput(format!(
                "{EXPECTED}; received an EventBridge event `{}` from `{}`",
                shorten(&event.detail_type, 60),
                shorten(&event.source, 60)
            )));
        }
        if let Some(reason) = record.reason_to_ignore(account) {
            return Ok(Self { origin, target: Target::Ignored(reason) });
        }
        let region = record.region()?;
        let target = match event.source.as_str() {
            "aws.kms" => record.key(region.as_ref(), function_arn)?,
            _ => record.trail(region.as_ref(), function_arn)?,
        };
        Ok(Self { origin, target })
    }
}

/// A CloudTrail record in its envelope.
struct Record<'a> {
    event: &'a Event,
    detail: &'a Detail,
}

impl Record<'_> {
    /// The trail that the call named, or else the trail that the response names.
    fn trail(&self, region: Option<&Region>, function_arn: &FunctionArn) -> Result<Target, InvalidInput> {
        let response = self.detail.response_elements.0.trail_arn.text();
        let Some(name) = &self.detail.request_parameters.0.name else {
            return match response {
                Some(arn) => Ok(Target::Trail(TrailRef::Arn(parse(arn, "responseElements.trailARN")?))),
                None => Ok(Target::Ignored("the event names no trail".into())),
            };
        };
        let field = "requestParameters.name";
        let trail = trail_ref(string(Some(name), field)?, region, function_arn, field)?;
        // An organization trail that its delegated administrator names belongs to the management account.
        if let (TrailRef::Name { name, .. }, Some(Ok(arn))) = (&trail, response.map(str::parse::<TrailArn>))
            && arn.name() == name
        {
            return Ok(Target::Trail(TrailRef::Arn(arn)));
        }
        Ok(Target::Trail(trail))
    }

    /// The key that the call used: by its ARN, or by its bare id in the event's Region.
    fn key(&self, region: Option<&Region>, function_arn: &FunctionArn) -> Result<Target, InvalidInput> {
        let Detail { resources, request_parameters, response_elements, .. } = self.detail;
        let resource = resources.0.first().and_then(|resource| resource.0.arn.text());
        let named = [resource, request_parameters.0.key_id.text(), response_elements.0.key_id.text()];
        if let Some(arn) = named.into_iter().flatten().find_map(|text| text.parse().ok()) {
            return Ok(Target::Key(arn));
        }
        let Some(id) = named.into_iter().flatten().next() else {
            return Ok(Target::Ignored("the event names no key".into()));
        };
        let Some(region) = region else { return Ok(Target::Ignored("the event names no Region".into())) };
        let arn = format!("arn:{}:kms:{region}:{}:key/{id}", function_arn.partition(), function_arn.account());
        parse(&arn, "requestParameters.keyId").map(Target::Key)
    }

    /// Why the event is ignored, if it is.
    fn reason_to_ignore(&self, account: &AccountId) -> Option<String> {
        let Detail { event_type, event_source, event_name, error_code, .. } = self.detail;
        if let Some(kind) = event_type.text().filter(|kind| *kind != "AwsApiCall") {
            return Some(format!("eventType is `{}`, not `AwsApiCall`", shorten(kind, 60)));
        }
        if let Some(reason) = self.foreign_account(account) {
            return Some(reason);
        }
        if let Some(code) = error_code.text() {
            return Some(format!("the call failed with `{}` and changed nothing", shorten(code, 80)));
        }
        let (name, source) = (event_name.0.as_str(), event_source.0.as_str());
        match (self.event.source.as_str(), source) {
            ("aws.cloudtrail", "cloudtrail.amazonaws.com") if TRAIL_EVENTS.contains(&name) => None,
            ("aws.kms", "kms.amazonaws.com") if KEY_EVENTS.contains(&name) => None,
            _ => Some(format!("trailseal does not act on `{}` of `{}`", shorten(name, 60), shorten(source, 60))),
        }
    }

    /// That another account's event was received, if so.
    fn foreign_account(&self, account: &AccountId) -> Option<String> {
        let accounts = [present(self.event.account.as_deref()), self.detail.recipient_account_id.text()];
        let other = accounts.into_iter().flatten().find(|id| *id != account.as_str())?;
        Some(format!("the event belongs to account `{}`, not to `{account}`", shorten(other, 20)))
    }

    fn region(&self) -> Result<Option<Region>, InvalidInput> {
        let region = self.detail.aws_region.text().or(present(self.event.region.as_deref()));
        region.map(|text| parse(text, "awsRegion")).transpose()
    }

    fn origin(&self) -> Origin {
        let Detail { event_name, event_id, user_agent, .. } = self.detail;
        Origin {
            kind: shorten(event_name.text().unwrap_or("unnamed"), 60),
            event_id: event_id.text().or(present(self.event.id.as_deref())).map(|id| shorten(id, 100)),
            actor: self.actor(),
            user_agent: user_agent.text().map(|agent| shorten(agent, 200)),
            region: self.region().unwrap_or(None),
        }
    }

    /// The caller's ARN, or the best name for it: services and users of IAM Identity Center have no ARN.
    /// Forms: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>.
    fn actor(&self) -> Option<String> {
        ["/arn", "/invokedBy", "/onBehalfOf/userId", "/userName", "/principalId", "/accountId", "/type"]
            .into_iter()
            .find_map(|path| present(self.detail.user_identity.pointer(path)?.as_str()))
            .map(|actor| shorten(actor, 300))
    }
}

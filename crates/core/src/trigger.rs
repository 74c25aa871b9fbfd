//! What started this invocation: the Lambda's input, reduced to *which* trail to look at and whom to
//! name in the report. Nothing here decides anything about a trail.

use serde_json::Value;
use thiserror::Error;

use crate::ids::{AccountId, FunctionArn, KeyArn, Region, TrailArn, TrailName, shorten};

/// What started this invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// For the report only.
    pub origin: Origin,
    /// What to look at.
    pub target: Target,
}

/// Who or what asked; carried to the report, never to a decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The event's name, `sweep` or `request`.
    pub kind: String,
    /// CloudTrail's `eventID`, else EventBridge's `id`.
    pub event_id: Option<String>,
    /// Who made the call that the event tells of: an ARN where there is one.
    pub actor: Option<String>,
    /// With what the call was made.
    pub user_agent: Option<String>,
    /// The event's Region.
    pub region: Option<Region>,
}

/// What a trigger asks to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One trail.
    Trail(TrailRef),
    /// Every trail that uses that key.
    Key(KeyArn),
    /// Every trail.
    Sweep,
    /// Nothing, and why.
    Ignored(String),
}

/// A trail as the trigger names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailRef {
    /// By its ARN.
    Arn(TrailArn),
    /// By a bare name, which means something in one Region of our account only.
    Name {
        /// The trail's name.
        name: TrailName,
        /// The Region in which that name was used.
        region: Region,
    },
}

impl TrailRef {
    /// The ARN that CloudTrail makes of this reference when `home` calls.
    pub fn arn(&self, home: &FunctionArn) -> TrailArn {
        match self {
            Self::Arn(arn) => arn.clone(),
            Self::Name { name, region } => TrailArn::new(home.partition(), region, home.account(), name),
        }
    }
}

/// An input that is neither an event nor a request: what was expected and what came.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot tell what to look at: {0}")]
pub struct InvalidInput(String);

impl InvalidInput {
    /// An input that is no JSON at all.
    pub fn not_json(cause: &impl std::fmt::Display) -> Self {
        Self(format!("the input is not JSON: {cause}; {EXPECTED}"))
    }
}

const EXPECTED: &str = "expected an EventBridge event of CloudTrail, `{\"sweep\": {}}` or \
     `{\"trail\": \"NAME or ARN\", \"region\": \"HOME REGION\"}`";

const TRAIL_EVENTS: [&str; 4] = ["CreateTrail", "UpdateTrail", "StopLogging", "StartLogging"];
const KEY_EVENTS: [&str; 3] = ["DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy"];

impl Trigger {
    /// Reads the function's input. `home` is the function's own ARN: whose events count.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] for whatever is neither an event nor a request, and for a malformed name or
    /// Region in one that would count.
    pub fn parse(input: &Value, home: &FunctionArn) -> Result<Self, InvalidInput> {
        let Value::Object(fields) = input else {
            return Err(InvalidInput(format!("{EXPECTED}; got {}", kind_of(input))));
        };
        if fields.contains_key("detail-type") && fields.contains_key("source") {
            return Event(input).trigger(home);
        }
        match fields.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["sweep"] if input.get("sweep").is_some_and(Value::is_object) => Ok(sweep()),
            ["trail"] | ["region", "trail"] => request(input, home),
            [] => Err(InvalidInput(format!("{EXPECTED}; got an empty object"))),
            keys => Err(InvalidInput(format!("{EXPECTED}; got an object with {}", quoted(keys)))),
        }
    }
}

/// How the report names a sweep.
pub const SWEEP: &str = "sweep";

fn sweep() -> Trigger {
    Trigger { origin: Origin { kind: SWEEP.into(), ..Origin::default() }, target: Target::Sweep }
}

fn request(input: &Value, home: &FunctionArn) -> Result<Trigger, InvalidInput> {
    let trail = required_text(input, "/trail", "trail")?;
    let region = match input.get("region") {
        None | Some(Value::Null) => None,
        Some(_) => Some(parsed::<Region>(required_text(input, "/region", "region")?, "region")?),
    };
    let trail = trail_ref(trail, region.as_ref(), home, "trail")?;
    if let (TrailRef::Arn(arn), Some(region)) = (&trail, &region)
        && arn.region() != region
    {
        return Err(InvalidInput(format!("`region` is `{region}`, but `trail` is in `{}`", arn.region())));
    }
    let origin = Origin { kind: "request".into(), region, ..Origin::default() };
    Ok(Trigger { origin, target: Target::Trail(trail) })
}

/// A name or an ARN, as CloudTrail takes it.
fn trail_ref(text: &str, region: Option<&Region>, home: &FunctionArn, field: &str) -> Result<TrailRef, InvalidInput> {
    if text.starts_with("arn:") {
        let arn: TrailArn = parsed(text, field)?;
        if arn.partition() != home.partition() {
            return Err(InvalidInput(format!(
                "`{field}` is in partition `{}`, this function in `{}`",
                arn.partition(),
                home.partition()
            )));
        }
        return Ok(TrailRef::Arn(arn));
    }
    let name = parsed(text, field)?;
    match region {
        Some(region) => Ok(TrailRef::Name { name, region: region.clone() }),
        None => Err(InvalidInput(format!(
            "`{field}` is the bare name `{name}`, which needs its home Region beside it: `\"region\": \"eu-west-1\"`, or give the trail's ARN"
        ))),
    }
}

/// An EventBridge event. Read by path, so that no field that is absent, null or of another type
/// than usual can get in the way of one that matters.
struct Event<'a>(&'a Value);

impl<'a> Event<'a> {
    fn text(&self, path: &str) -> Option<&'a str> {
        self.0.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn trigger(&self, home: &FunctionArn) -> Result<Trigger, InvalidInput> {
        let detail_type = self.text("/detail-type").unwrap_or_default();
        if detail_type == "Scheduled Event" && self.text("/source") == Some("aws.events") {
            let origin = Origin { kind: SWEEP.into(), ..self.origin() };
            let target = self.anothers(home.account()).map_or(Target::Sweep, Target::Ignored);
            return Ok(Trigger { origin, target });
        }
        let event_type = self.text("/detail/eventType");
        if detail_type != "AWS API Call via CloudTrail" && event_type.is_none_or(|kind| kind == "AwsApiCall") {
            return Err(InvalidInput(format!(
                "{EXPECTED}; got an EventBridge event `{}` from `{}`",
                shorten(detail_type, 60),
                shorten(self.text("/source").unwrap_or_default(), 60)
            )));
        }
        if let Some(reason) = self.not_ours(home.account()) {
            return Ok(self.ignored(reason));
        }
        if self.text("/source") == Some("aws.kms") {
            let origin = Origin { region: self.region()?, ..self.origin() };
            return Ok(Trigger { target: self.key(origin.region.as_ref(), home)?, origin });
        }
        let trail = match self.0.pointer("/detail/requestParameters/name") {
            Some(Value::Null) | None => match self.text("/detail/responseElements/trailARN") {
                Some(arn) => parsed(arn, "responseElements.trailARN").map(TrailRef::Arn)?,
                None => return Ok(self.ignored("the event names no trail".into())),
            },
            Some(_) => {
                let field = "requestParameters.name";
                let name = required_text(self.0, "/detail/requestParameters/name", field)?;
                let trail = trail_ref(name, self.region()?.as_ref(), home, field)?;
                self.answered_arn(&trail).unwrap_or(trail)
            }
        };
        Ok(Trigger { origin: Origin { region: self.region()?, ..self.origin() }, target: Target::Trail(trail) })
    }

    /// The key that the call was about: its ARN, or its bare id in the event's Region.
    fn key(&self, region: Option<&Region>, home: &FunctionArn) -> Result<Target, InvalidInput> {
        let paths = ["/detail/resources/0/ARN", "/detail/requestParameters/keyId", "/detail/responseElements/keyId"];
        let named: Vec<&str> = paths.into_iter().filter_map(|path| self.text(path)).collect();
        if let Some(arn) = named.iter().find_map(|text| text.parse().ok()) {
            return Ok(Target::Key(arn));
        }
        let Some(id) = named.first() else { return Ok(Target::Ignored("the event names no key".into())) };
        let Some(region) = region else { return Ok(Target::Ignored("the event names no Region".into())) };
        let arn = format!("arn:{}:kms:{region}:{}:key/{id}", home.partition(), home.account());
        parsed(&arn, "requestParameters.keyId").map(Target::Key)
    }

    /// The ARN that CloudTrail answered for a bare name: an organization trail that its delegated
    /// administrator names belongs to the management account.
    fn answered_arn(&self, trail: &TrailRef) -> Option<TrailRef> {
        let TrailRef::Name { name, .. } = trail else { return None };
        let arn: TrailArn = self.text("/detail/responseElements/trailARN")?.parse().ok()?;
        (arn.name() == name).then_some(TrailRef::Arn(arn))
    }

    /// Why the event is none of our business, if it is not.
    fn not_ours(&self, account: &AccountId) -> Option<String> {
        let name = self.text("/detail/eventName").unwrap_or_default();
        let source = self.text("/detail/eventSource").unwrap_or_default();
        if let Some(kind) = self.text("/detail/eventType").filter(|kind| *kind != "AwsApiCall") {
            return Some(format!("eventType is `{}`, not `AwsApiCall`", shorten(kind, 60)));
        }
        if let Some(reason) = self.anothers(account) {
            return Some(reason);
        }
        if let Some(code) = self.text("/detail/errorCode") {
            return Some(format!("the call failed with `{}` and changed nothing", shorten(code, 80)));
        }
        match (self.text("/source"), source) {
            (Some("aws.cloudtrail"), "cloudtrail.amazonaws.com") if TRAIL_EVENTS.contains(&name) => None,
            (Some("aws.kms"), "kms.amazonaws.com") if KEY_EVENTS.contains(&name) => None,
            _ => {
                Some(format!("`{}` of `{}` is no event that trailseal acts on", shorten(name, 60), shorten(source, 60)))
            }
        }
    }

    /// That it is another account's event, if it is.
    fn anothers(&self, account: &AccountId) -> Option<String> {
        let mut told = ["/account", "/detail/recipientAccountId"].into_iter().filter_map(|path| self.text(path));
        let other = told.find(|id| *id != account.as_str())?;
        Some(format!("the event is of account `{}`, not of `{account}`", shorten(other, 20)))
    }

    fn region(&self) -> Result<Option<Region>, InvalidInput> {
        ["/detail/awsRegion", "/region"]
            .into_iter()
            .find_map(|path| self.text(path))
            .map(|text| parsed(text, "awsRegion"))
            .transpose()
    }

    fn origin(&self) -> Origin {
        Origin {
            kind: shorten(self.text("/detail/eventName").unwrap_or("unnamed"), 60),
            event_id: self.text("/detail/eventID").or(self.text("/id")).map(|id| shorten(id, 100)),
            actor: self.actor(),
            user_agent: self.text("/detail/userAgent").map(|agent| shorten(agent, 200)),
            region: self.region().unwrap_or(None),
        }
    }

    /// The ARN of who called; a service has none, nor has a person of IAM Identity Center.
    /// Forms: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>.
    fn actor(&self) -> Option<String> {
        let named = ["arn", "invokedBy", "onBehalfOf/userId", "userName", "principalId", "accountId", "type"];
        named
            .into_iter()
            .find_map(|field| self.text(&format!("/detail/userIdentity/{field}")))
            .map(|actor| shorten(actor, 300))
    }

    fn ignored(&self, reason: String) -> Trigger {
        Trigger { origin: self.origin(), target: Target::Ignored(reason) }
    }
}

fn required_text<'a>(input: &'a Value, path: &str, field: &str) -> Result<&'a str, InvalidInput> {
    match input.pointer(path) {
        Some(Value::String(text)) => Ok(text),
        other => Err(InvalidInput(format!("`{field}` must be a text; got {}", other.map_or("nothing", kind_of)))),
    }
}

fn parsed<T: std::str::FromStr<Err = crate::ids::Malformed>>(text: &str, field: &str) -> Result<T, InvalidInput> {
    text.parse().map_err(|malformed| InvalidInput(format!("`{field}`: {malformed}")))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn quoted(keys: &[&str]) -> String {
    let mut names: Vec<String> = keys.iter().take(8).map(|key| format!("`{}`", shorten(key, 40))).collect();
    if keys.len() > names.len() {
        names.push("…".into());
    }
    names.join(", ")
}

//! What started the invocation: the input reduced to *which* trail to reconcile, and to what the report
//! says about its origin. No decision about a trail is made here.

mod deployment;
mod event;

pub use deployment::DeploymentTool;
pub use event::Event;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::ids::{FunctionArn, KeyArn, Malformed, Region, TrailArn, TrailName, shorten};

/// What started the invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// For the report only.
    pub origin: Origin,
    /// What to reconcile.
    pub target: Target,
}

/// Who or what started the invocation. The report contains it; no decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The event's name, `sweep` or `request`.
    pub kind: String,
    /// CloudTrail's `eventID`, or EventBridge's `id`.
    pub event_id: Option<String>,
    /// The caller: an ARN, if the event has one.
    pub actor: Option<String>,
    /// The caller's user agent.
    pub user_agent: Option<String>,
    /// The infrastructure as code that made the call, if any.
    pub deployed_with: Option<DeploymentTool>,
    /// The event's Region.
    pub region: Option<Region>,
    /// Whether the command line runs, and not the function.
    pub is_command: bool,
}

/// What to reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// These trails.
    Trails(Vec<TrailRef>),
    /// Every trail that uses a key.
    Key {
        /// The key.
        key: KeyArn,
        /// Whether the event may have turned its rotation off.
        rotation: bool,
    },
    /// Every trail.
    Sweep,
    /// Nothing, for this reason.
    Ignored(String),
}

impl Target {
    /// Whether the rotation of keys is read. Not for every event, because it takes one more call for each key.
    pub fn includes_rotation(&self) -> bool {
        matches!(self, Self::Sweep | Self::Key { rotation: true, .. })
    }
}

/// A trail as the trigger names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailRef {
    /// By its ARN.
    Arn(TrailArn),
    /// By its bare name, which is unique in one Region of one account only.
    Name {
        /// The trail's name.
        name: TrailName,
        /// The Region in which the caller used that name.
        region: Region,
    },
}

impl TrailRef {
    /// The ARN that CloudTrail resolves this reference to in the function's account.
    pub fn arn(&self, function_arn: &FunctionArn) -> TrailArn {
        match self {
            Self::Arn(arn) => arn.clone(),
            Self::Name { name, region } => {
                TrailArn::new(function_arn.partition(), region, function_arn.account(), name.clone())
            }
        }
    }
}

/// An input that is neither an event nor a request: what was expected and what was received.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid input: {0}")]
pub struct InvalidInput(String);

impl InvalidInput {
    /// `received` is neither an event nor a request.
    pub fn new(received: impl std::fmt::Display) -> Self {
        Self(format!("{EXPECTED}; received {received}"))
    }
}

const EXPECTED: &str = "expected an EventBridge event from CloudTrail, `{\"sweep\": {}}` or \
     `{\"trail\": \"NAME or ARN\", \"region\": \"HOME REGION\"}`";

/// A sweep's `kind` in the report.
pub const SWEEP: &str = "sweep";

/// A request's `kind` in the report.
pub const REQUEST: &str = "request";

impl Trigger {
    /// Reads a request: `{"sweep": {}}` or `{"trail": …, "region": …}`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] for any other input, and for a malformed name or Region.
    pub fn from_request(input: &Value, function_arn: &FunctionArn) -> Result<Self, InvalidInput> {
        let Value::Object(fields) = input else {
            return Err(InvalidInput::new(json_type(input)));
        };
        match fields.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["sweep"] if fields.get("sweep").is_some_and(Value::is_object) => {
                let origin = Origin { kind: SWEEP.into(), ..Origin::default() };
                Ok(Self { origin, target: Target::Sweep })
            }
            ["trail"] | ["region", "trail"] => trail_request(fields, function_arn),
            [] => Err(InvalidInput::new("an empty object")),
            keys => Err(InvalidInput::new(format!("an object with {}", quoted(keys)))),
        }
    }
}

fn trail_request(fields: &Map<String, Value>, function_arn: &FunctionArn) -> Result<Trigger, InvalidInput> {
    let region = match fields.get("region") {
        None | Some(Value::Null) => None,
        region => Some(parse::<Region>(string(region, "region")?, "region")?),
    };
    let trail = trail_ref(string(fields.get("trail"), "trail")?, region.as_ref(), function_arn, "trail")?;
    if let (TrailRef::Arn(arn), Some(region)) = (&trail, &region)
        && arn.region() != region
    {
        return Err(InvalidInput(format!("`region` is `{region}`, but `trail` is in `{}`", arn.region())));
    }
    let origin = Origin { kind: REQUEST.into(), region, ..Origin::default() };
    Ok(Trigger { origin, target: Target::Trails(vec![trail]) })
}

/// A trail's name or ARN. CloudTrail accepts both in its requests.
fn trail_ref(
    text: &str,
    region: Option<&Region>,
    function_arn: &FunctionArn,
    field: &str,
) -> Result<TrailRef, InvalidInput> {
    if text.starts_with("arn:") {
        let arn: TrailArn = parse(text, field)?;
        let (arn_partition, function_partition) = (arn.partition(), function_arn.partition());
        if arn_partition != function_partition {
            let message =
                format!("`{field}` is in partition `{arn_partition}`, but this function is in `{function_partition}`");
            return Err(InvalidInput(message));
        }
        return Ok(TrailRef::Arn(arn));
    }
    let name = parse(text, field)?;
    let Some(region) = region.cloned() else {
        return Err(InvalidInput(format!(
            "`{field}` is the bare name `{name}`, which requires its home Region (`\"region\": \"eu-west-1\"`); add it or use the trail's ARN"
        )));
    };
    Ok(TrailRef::Name { name, region })
}

fn parse<T: std::str::FromStr<Err = Malformed>>(text: &str, field: &str) -> Result<T, InvalidInput> {
    text.parse().map_err(|malformed| InvalidInput(format!("`{field}`: {malformed}")))
}

fn string<'a>(value: Option<&'a Value>, field: &str) -> Result<&'a str, InvalidInput> {
    let received = value.map_or("nothing", json_type);
    let text = value.and_then(Value::as_str);
    text.ok_or_else(|| InvalidInput(format!("`{field}` must be a string; received {received}")))
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn quoted(keys: &[&str]) -> String {
    let names: Vec<String> = keys.iter().take(8).map(|key| format!("`{}`", shorten(key, 40))).collect();
    let more = if keys.len() > names.len() { ", …" } else { "" };
    names.join(", ") + more
}

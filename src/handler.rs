//! From the Lambda input to the answer.

use std::fmt;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::ids::FunctionArn;
use trailseal_core::report::Answer;
use trailseal_core::trigger::{Event, InvalidInput, Trigger};

use crate::aws::Aws;
use crate::invocation::Invocation;
use crate::logging::log_answer;
use crate::reconcile::reconcile;

/// The input as received. Deserializing it never fails, so that malformed input gets our own error.
#[derive(Debug)]
pub struct Input(Result<Box<RawValue>, String>);

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer).map_err(|error| error.to_string())))
    }
}

/// Why an invocation failed. Lambda receives the variant's name as `errorType`.
pub enum InvocationError {
    /// The input is neither an event nor a request. A retry cannot help.
    InvalidInput(String),
    /// A retry can help.
    Transient(String),
}

impl InvocationError {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::InvalidInput(message) => ("InvalidInput", message),
            Self::Transient(message) => ("Transient", message),
        }
    }
}

/// The runtime writes this to the log.
impl fmt::Debug for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (error_type, message) = self.parts();
        write!(f, "{error_type}: {message}")
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let (error_type, error_message) = error.parts();
        Self { error_type: error_type.into(), error_message: error_message.into() }
    }
}

/// Handles one invocation.
///
/// # Errors
///
/// [`InvocationError`], so that Lambda retries the event or moves it to the failure queue. The answer is logged
/// before that.
pub async fn handle(aws: &Aws, config: &Config, event: LambdaEvent<Input>) -> Result<Answer, InvocationError> {
    let LambdaEvent { payload, context: invocation, .. } = event;
    let function_arn = invocation
        .invoked_function_arn
        .parse()
        .map_err(|malformed| InvocationError::InvalidInput(format!("cannot determine the account: {malformed}")))?;
    let context = Context { config: config.clone(), function_arn };
    let trigger = parse_trigger(payload, &context.function_arn)
        .map_err(|error| InvocationError::InvalidInput(error.to_string()))?;
    let answer = reconcile(aws, &context, trigger, Invocation::new(&invocation)).await;
    log_answer(&answer, &invocation.request_id);
    match answer.transient_failure() {
        Some(unfinished) => Err(InvocationError::Transient(format!("{unfinished}; Lambda retries the event"))),
        None => Ok(answer),
    }
}

fn parse_trigger(input: Input, function_arn: &FunctionArn) -> Result<Trigger, InvalidInput> {
    let value = input.0.and_then(|raw| serde_json::from_str(raw.get()).map_err(|error| error.to_string()));
    match value.map_err(|cause| InvalidInput::new(format!("text that is not JSON: {cause}")))? {
        Value::Object(fields) if fields.contains_key("detail-type") && fields.contains_key("source") => {
            let malformed = |error| InvalidInput::new(format!("an event with a malformed envelope: {error}"));
            Trigger::from_event(&envelope(fields).map_err(malformed)?, function_arn)
        }
        request => Trigger::from_request(&request, function_arn),
    }
}

/// Reads an event's envelope. A field that the event does not need counts as absent if it is malformed.
fn envelope(mut fields: Map<String, Value>) -> Result<Event, serde_json::Error> {
    let detail = fields.remove("detail").unwrap_or_default();
    let required = ["detail-type", "source"];
    fields.retain(|name, value| required.contains(&name.as_str()) || is_well_formed(name, value));
    fields.insert("detail".into(), detail);
    let EventBridgeEvent { detail_type, source, id, account, region, detail, .. } =
        serde_json::from_value(fields.into())?;
    Ok(Event { detail_type, source, id, account, region, detail })
}

/// Whether an envelope that is otherwise minimal deserializes with this field.
fn is_well_formed(name: &str, value: &Value) -> bool {
    let envelope = serde_json::json!({ "detail-type": "", "source": "", "detail": null, name: value });
    EventBridgeEvent::<Value>::deserialize(envelope).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trailseal_core::trigger::Target;

    use super::*;

    fn read(input: &str) -> Result<Trigger, InvalidInput> {
        let function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
        parse_trigger(serde_json::from_str(input).unwrap(), &function_arn)
    }

    fn event() -> Value {
        serde_json::from_str(include_str!("../events/update-trail-by-name.json")).unwrap()
    }

    fn trail() -> Target {
        read(&event().to_string()).unwrap().target
    }

    #[test]
    fn a_malformed_optional_envelope_field_is_ignored() {
        for (field, malformed) in [
            ("version", json!(0)),
            ("id", json!(["x"])),
            ("account", json!(123_456_789_012_u64)),
            ("time", json!("not a date")),
            ("time", json!(1_700_000_000)),
            ("region", json!({})),
            ("resources", json!("arn:aws:s3:::audit-logs")),
            ("resources", json!([{ "ARN": "x" }])),
            ("replay-name", json!(7)),
        ] {
            let mut event = event();
            event[field] = malformed.clone();
            assert_eq!(read(&event.to_string()).unwrap().target, trail(), "{field}: {malformed}");
        }
    }

    #[test]
    fn an_absent_or_null_envelope_field_is_ignored() {
        for field in ["version", "id", "account", "time", "region", "resources"] {
            let mut event = event();
            event[field] = Value::Null;
            assert_eq!(read(&event.to_string()).unwrap().target, trail(), "{field} is null");
            event.as_object_mut().unwrap().remove(field);
            assert_eq!(read(&event.to_string()).unwrap().target, trail(), "{field} is absent");
        }
    }

    #[test]
    fn well_formed_envelope_fields_are_kept_beside_malformed_ones() {
        let mut event = event();
        event["time"] = json!("not a date");
        event["account"] = json!("210987654321");
        event["detail"]["recipientAccountId"] = Value::Null;
        let Target::Ignored(reason) = read(&event.to_string()).unwrap().target else { panic!("not ignored") };
        assert!(reason.contains("account `210987654321`"), "{reason}");
    }

    #[test]
    fn a_schedule_without_detail_is_a_sweep() {
        let event = r#"{"detail-type": "Scheduled Event", "source": "aws.events", "time": 0}"#;
        assert_eq!(read(event).unwrap().target, Target::Sweep);
        assert_eq!(read(r#"{"sweep": {}}"#).unwrap().target, Target::Sweep);
    }

    #[test]
    fn an_input_with_half_an_envelope_is_a_request() {
        for input in [r#"{"source": "aws.events"}"#, r#"{"detail-type": "Scheduled Event"}"#] {
            let error = read(input).unwrap_err().to_string();
            assert!(!error.contains("envelope"), "{error}");
        }
    }

    #[test]
    fn a_malformed_required_envelope_field_is_an_error() {
        for field in ["detail-type", "source"] {
            let mut event = event();
            event[field] = json!(7);
            let error = read(&event.to_string()).unwrap_err().to_string();
            assert!(error.contains("malformed envelope: invalid type: integer `7`"), "{error}");
        }
    }
}

//! Requests and events: read without a panic, and the parts of an event that only the report contains decide nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use trailseal_core::ids::FunctionArn;
use trailseal_core::trigger::{Event, Target, TrailRef, Trigger};

fn text(input: &Value, name: &str) -> Option<String> {
    input.get(name)?.as_str().map(str::to_owned)
}

fn event(input: &Value) -> Event {
    Event {
        detail_type: text(input, "detail-type").unwrap_or_default(),
        source: text(input, "source").unwrap_or_default(),
        id: text(input, "id"),
        account: text(input, "account"),
        region: text(input, "region"),
        detail: input.get("detail").cloned().unwrap_or_default(),
    }
}

fn target(event: &Event, function_arn: &FunctionArn) -> Option<Target> {
    match Trigger::from_event(event, function_arn) {
        Ok(trigger) => Some(trigger.target),
        Err(error) => {
            assert!(error.to_string().chars().count() < 700);
            None
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(input) = serde_json::from_slice::<Value>(data) else { return };
    let function_arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
    if let Err(error) = Trigger::from_request(&input, &function_arn) {
        assert!(error.to_string().chars().count() < 700);
    }
    let event = event(&input);
    let decided = target(&event, &function_arn);
    if let Some(Target::Trails(trails)) = &decided {
        for trail in trails {
            let arn = trail.arn(&function_arn);
            assert_eq!(arn.partition(), function_arn.partition());
            assert!(matches!(trail, TrailRef::Arn(_)) || arn.account() == function_arn.account());
            assert_eq!(Ok(&arn), arn.as_str().parse().as_ref(), "an ARN is read as it is written");
        }
    }
    let mut retold = event.clone();
    retold.id = Some("another".to_owned());
    if let Some(detail) = retold.detail.as_object_mut() {
        detail.insert("userAgent".to_owned(), json!("another"));
        detail.insert("eventID".to_owned(), json!("another"));
        detail.insert("unheardOf".to_owned(), json!(["another"]));
        detail.insert("eventTime".to_owned(), json!("2026-01-01T00:00:00Z"));
    }
    assert_eq!(decided, target(&retold, &function_arn), "what only the report contains decides nothing");
    let foreign = Event { account: Some("210987654321".to_owned()), ..event };
    let foreign = target(&foreign, &function_arn);
    assert!(foreign.is_none_or(|target| matches!(target, Target::Ignored(_))), "another account's event is ignored");
});

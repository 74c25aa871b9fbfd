//! What each file in `events/` triggers. A file without an expectation fails.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use trailseal_core::ids::FunctionArn;
use trailseal_core::trigger::{DeploymentTool, Event, InvalidInput, Target, Trigger};

enum Expected {
    /// The trail's ARN, the kind, the actor.
    Trail(&'static str, &'static str, Option<&'static str>),
    /// The key's ARN, the kind, the actor.
    Key(&'static str, &'static str, Option<&'static str>),
    /// Every trail.
    Sweep,
    /// Part of the reason.
    Ignored(&'static str),
    /// Part of the error.
    Invalid(&'static str),
}
use Expected::{Ignored, Invalid, Key, Sweep, Trail};

const AUDIT: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ANN: Option<&str> = Some("arn:aws:iam::123456789012:user/ops/ann");
const DEPLOYER: Option<&str> = Some("arn:aws:sts::123456789012:assumed-role/deployer/deploy");

const EXPECTATIONS: &[(&str, Expected)] = &[
    ("create-trail-terraform", Trail(AUDIT, "CreateTrail", ANN)),
    (
        "create-trail-console-empty-key",
        Trail(AUDIT, "CreateTrail", Some("arn:aws:sts::123456789012:assumed-role/admin/ann")),
    ),
    ("create-trail-with-key", Trail(AUDIT, "CreateTrail", DEPLOYER)),
    ("update-trail-console-by-arn", Trail(AUDIT, "UpdateTrail", Some("arn:aws:iam::123456789012:root"))),
    ("update-trail-by-name", Trail(AUDIT, "UpdateTrail", DEPLOYER)),
    ("update-trail-parameters-left-out", Trail(AUDIT, "UpdateTrail", DEPLOYER)),
    ("update-trail-parameters-null", Trail(AUDIT, "UpdateTrail", DEPLOYER)),
    ("update-trail-nothing-named", Ignored("names no trail")),
    (
        "update-trail-organization",
        Trail(
            "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization",
            "UpdateTrail",
            Some("cloudtrail.amazonaws.com"),
        ),
    ),
    ("stop-logging-by-name", Trail(AUDIT, "StopLogging", Some("94482488-3041-7045-1234-example00001"))),
    ("stop-logging-by-arn", Trail(AUDIT, "StopLogging", ANN)),
    ("start-logging-by-service", Trail(AUDIT, "StartLogging", Some("cloudtrail.amazonaws.com"))),
    ("stop-logging-failed", Ignored("`TrailNotFoundException`")),
    ("update-trail-denied", Ignored("`AccessDenied`")),
    ("update-trail-vpc-endpoint", Ignored("eventType is `AwsVpceEvent`")),
    ("update-trail-other-account", Ignored("account `210987654321`")),
    ("delete-trail", Ignored("`DeleteTrail`")),
    ("put-event-selectors", Ignored("`PutEventSelectors`")),
    ("get-trail", Ignored("`GetTrail`")),
    ("run-instances", Ignored("`RunInstances`")),
    ("disable-key", Key(KEY, "DisableKey", ANN)),
    ("disable-key-rotation", Key(KEY, "DisableKeyRotation", ANN)),
    ("schedule-key-deletion", Key(KEY, "ScheduleKeyDeletion", ANN)),
    ("put-key-policy", Key(KEY, "PutKeyPolicy", ANN)),
    ("update-trail-malformed-name", Invalid("`../../etc/passwd` is not a trail name")),
    ("update-trail-malformed-arn", Invalid("is not a trail ARN")),
    ("update-trail-malformed-region", Invalid("`atlantis` is not an AWS Region")),
    ("scheduled-event", Sweep),
    ("console-sign-in", Ignored("eventType is `AwsConsoleSignIn`")),
    ("ec2-state-change", Invalid("`EC2 Instance State-change Notification` from `aws.ec2`")),
    (
        "create-trail-by-delegated-administrator",
        Trail("arn:aws:cloudtrail:eu-west-1:999999999999:trail/organization", "CreateTrail", ANN),
    ),
    ("sweep", Sweep),
    ("request-by-name", Trail(AUDIT, "request", None)),
    ("request-by-arn", Trail(AUDIT, "request", None)),
];

fn function_arn() -> FunctionArn {
    "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap()
}

/// Reads an input as the handler does, which deserializes the envelope.
fn read(input: &Value, function_arn: &FunctionArn) -> Result<Trigger, InvalidInput> {
    let text = |field: &str| input.get(field).and_then(Value::as_str).map(str::to_owned);
    let (Some(detail_type), Some(source)) = (text("detail-type"), text("source")) else {
        return Trigger::from_request(input, function_arn);
    };
    let (id, account, region) = (text("id"), text("account"), text("region"));
    let event = Event { detail_type, source, id, account, region, detail: input["detail"].clone() };
    Trigger::from_event(&event, function_arn)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

fn event(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_event_file_triggers_what_is_expected() {
    for (name, expected) in EXPECTATIONS {
        let parsed = read(&event(name), &function_arn());
        match (expected, parsed) {
            (Trail(arn, kind, actor), Ok(Trigger { origin, target: Target::Trails(trails) })) => {
                let [trail] = trails.as_slice() else { panic!("{name}: {trails:?}") };
                assert_eq!(trail.arn(&function_arn()).as_str(), *arn, "{name}");
                assert_eq!(origin.kind, *kind, "{name}");
                assert_eq!(origin.actor.as_deref(), *actor, "{name}");
            }
            (Key(arn, kind, actor), Ok(Trigger { origin, target: Target::Key { key, rotation } })) => {
                assert_eq!(rotation, *kind == "DisableKeyRotation", "{name}");
                assert_eq!(key.as_str(), *arn, "{name}");
                assert_eq!((origin.kind.as_str(), origin.actor.as_deref()), (*kind, *actor), "{name}");
            }
            (Sweep, Ok(Trigger { origin, target: Target::Sweep })) => assert_eq!(origin.kind, "sweep", "{name}"),
            (Ignored(part), Ok(Trigger { target: Target::Ignored(reason), .. })) => {
                assert!(reason.contains(part), "{name}: {reason}");
            }
            (Invalid(part), Err(error)) => assert!(error.to_string().contains(part), "{name}: {error}"),
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn every_event_file_has_an_expectation() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let expected: BTreeSet<String> = EXPECTATIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, expected);
}

#[test]
fn the_event_only_names_the_trail() {
    let mut event = event("update-trail-by-name");
    let before = read(&event, &function_arn()).unwrap();
    event["detail"]["responseElements"]["kmsKeyId"] = json!("arn:aws:kms:eu-west-1:123456789012:key/1");
    event["detail"]["requestParameters"]["kmsKeyId"] = json!("alias/any");
    assert_eq!(read(&event, &function_arn()).unwrap(), before);
}

#[test]
fn a_key_is_named_by_its_arn_or_by_id_and_region() {
    let mut event = event("disable-key");
    event["detail"]["resources"] = json!(null);
    event["detail"]["requestParameters"]["keyId"] = json!("1234abcd-12ab-34cd-56ef-1234567890ab");
    assert_eq!(
        read(&event, &function_arn()).unwrap().target,
        Target::Key { key: KEY.parse().unwrap(), rotation: false }
    );
    event["detail"]["requestParameters"]["keyId"] = json!("../../x");
    assert!(read(&event, &function_arn()).is_err());
    event["detail"]["requestParameters"] = json!(null);
    assert!(matches!(read(&event, &function_arn()).unwrap().target, Target::Ignored(_)));
}

#[test]
fn other_inputs_are_errors_that_name_what_was_received() {
    for (input, part) in [
        (json!(null), "received null"),
        (json!(true), "received a boolean"),
        (json!(42), "received a number"),
        (json!("audit"), "received a string"),
        (json!([{ "sweep": {} }]), "received an array"),
        (json!({}), "received an empty object"),
        (json!({ "key1": "value1" }), "received an object with `key1`"),
        (json!({ "sweep": {}, "trail": "audit" }), "received an object with `sweep`, `trail`"),
        (json!({ "sweep": true }), "received an object with `sweep`"),
        (json!({ "trail": "audit" }), "requires its home Region"),
        (json!({ "trail": "audit", "region": 7 }), "`region` must be a string; received a number"),
        (json!({ "trail": ["audit"], "region": "eu-west-1" }), "`trail` must be a string; received an array"),
        (json!({ "trail": "audit", "region": "Ireland" }), "`Ireland` is not an AWS Region"),
        (json!({ "trail": AUDIT, "region": "us-east-1" }), "`region` is `us-east-1`, but `trail` is in `eu-west-1`"),
        (json!({ "trail": "arn:aws-cn:cloudtrail:cn-north-1:123456789012:trail/audit" }), "partition `aws-cn`"),
    ] {
        let error = read(&input, &function_arn()).unwrap_err().to_string();
        assert!(error.contains(part), "{input}: {error}");
        assert!(error.starts_with("invalid input: "), "{error}");
    }
}

#[test]
fn a_field_of_another_type_counts_as_absent() {
    let mut event = event("update-trail-by-name");
    event["detail"]["resources"] = json!("none");
    event["detail"]["responseElements"] = json!(["none"]);
    event["detail"]["userIdentity"] = json!(null);
    event["detail"]["userAgent"] = json!(7);
    event["detail"]["errorCode"] = json!(null);
    event["detail"]["eventID"] = json!([]);
    let Trigger { origin, target } = read(&event, &function_arn()).unwrap();
    assert!(matches!(target, Target::Trails(_)));
    assert_eq!((origin.actor, origin.user_agent), (None, None));
    assert_eq!(origin.event_id.as_deref(), event["id"].as_str());
}

#[test]
fn an_event_of_256_kb_is_read_and_its_texts_shortened() {
    let mut event = event("update-trail-by-name");
    event["detail"]["userAgent"] = json!("x".repeat(256 * 1024));
    event["detail"]["userIdentity"]["arn"] = json!("y".repeat(10_000));
    let origin = read(&event, &function_arn()).unwrap().origin;
    assert!(origin.user_agent.unwrap().len() < 300 && origin.actor.unwrap().len() < 400);
}

#[test]
fn a_trail_name_of_another_type_is_an_error() {
    let mut event = event("update-trail-by-name");
    event["detail"]["requestParameters"]["name"] = json!(7);
    let error = read(&event, &function_arn()).unwrap_err().to_string();
    assert!(error.contains("`requestParameters.name` must be a string; received a number"), "{error}");
}

#[test]
fn infrastructure_as_code_is_recognized() {
    let tool = |change: &dyn Fn(&mut Value)| {
        let mut event = event("update-trail-by-name");
        change(&mut event["detail"]);
        read(&event, &function_arn()).unwrap().origin.deployed_with
    };
    assert_eq!(tool(&|_| {}), None);
    let agent = "APN/1.0 HashiCorp/1.0 Terraform/1.13.0 ".to_owned() + &"x".repeat(300) + " APN/1.0 Pulumi/1.0";
    assert_eq!(tool(&|detail| detail["userAgent"] = json!(agent)), Some(DeploymentTool::Pulumi));
    let service = json!("cloudformation.amazonaws.com");
    for field in ["userAgent", "sourceIPAddress"] {
        assert_eq!(tool(&|detail| detail[field] = service.clone()), Some(DeploymentTool::CloudFormation), "{field}");
    }
    let invoked_by = |detail: &mut Value| detail["userIdentity"]["invokedBy"] = service.clone();
    assert_eq!(tool(&invoked_by), Some(DeploymentTool::CloudFormation));
    assert_eq!(tool(&|detail| detail["userAgent"] = json!(["Terraform"])), None);
}

#[test]
fn only_a_sweep_or_lost_rotation_reads_rotation() {
    let target = |name: &str| read(&event(name), &function_arn()).unwrap().target.includes_rotation();
    assert!(target("disable-key-rotation") && target("scheduled-event"));
    assert!(!target("disable-key") && !target("update-trail-by-name"));
    let sweep = Trigger::from_request(&json!({ "sweep": {} }), &function_arn()).unwrap();
    assert!(sweep.target.includes_rotation());
}

#[test]
fn an_object_with_many_members_is_quoted_in_part() {
    let error = |count: usize| {
        let members: serde_json::Map<String, Value> = (0..count).map(|it| (format!("m{it}"), json!(1))).collect();
        Trigger::from_request(&members.into(), &function_arn()).unwrap_err().to_string()
    };
    assert!(error(8).ends_with("`m7`") && error(9).ends_with("`m7`, …"), "{} {}", error(8), error(9));
    assert!(error(1).ends_with("an object with `m0`"), "{}", error(1));
}

#[test]
fn a_schedule_comes_from_eventbridge_only() {
    let mut other = event("scheduled-event");
    other["source"] = json!("my.app");
    assert!(read(&other, &function_arn()).is_err());
}

#[test]
fn another_services_call_of_that_name_is_ignored() {
    for (name, field, value) in [
        ("disable-key", "eventName", "DescribeKey"),
        ("update-trail-by-name", "eventName", "DisableKey"),
        ("update-trail-by-name", "eventSource", "kms.amazonaws.com"),
    ] {
        let mut event = event(name);
        event["detail"][field] = json!(value);
        assert!(matches!(read(&event, &function_arn()).unwrap().target, Target::Ignored(_)), "{value}");
    }
}

#[test]
fn a_request_names_its_region_in_the_report() {
    let request = |region: Value| {
        let trigger = Trigger::from_request(&json!({ "trail": "audit", "region": region }), &function_arn());
        trigger.unwrap().origin.region.unwrap().to_string()
    };
    assert_eq!(request(json!("us-east-1")), "us-east-1");
}

//! Sweeps: a failure of one Region or trail does not affect the others.

use std::time::Duration;

use fake_aws::{Bucket, Fault, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Scenario, add_sealing_key, event, logged_answers, sealing_policy};

pub const HERE: &str = "eu-west-1";
pub const THERE: &str = "us-east-1";

/// An account with a log bucket in each of two Regions.
pub fn account() -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", HERE);
    world.rate_limits = true;
    for region in [HERE, THERE] {
        world.add_bucket(Bucket::new(&format!("logs-{region}"), region));
    }
    world
}

pub fn trail(name: &str, region: &str) -> Trail {
    Trail::new(name, region, &format!("logs-{region}"))
}

/// No response within any deadline.
pub fn hang() -> Fault {
    Fault::Hang(Duration::from_secs(60))
}

fn outcome<'a>(answer: &'a Value, arn: &str) -> &'a str {
    let trails = answer["trails"].as_array().unwrap();
    trails.iter().find(|trail| trail["trail_arn"] == arn).unwrap()["outcome"].as_str().unwrap()
}

pub fn sweep_within(scenario: &mut Scenario, deadline: Duration) -> Value {
    scenario.function.invoke_within(json!({ "sweep": {} }).to_string().as_bytes(), deadline).outcome.unwrap()
}

#[test]
fn a_key_is_repaired_while_a_region_is_unresponsive() {
    let mut world = account();
    let key = add_sealing_key(&mut world, HERE);
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let sealed = world.add_trail(trail("sealed", HERE).encrypted_with(&key));
    let silent = world.add_trail(trail("silent", THERE));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(hang));
    let mut event = event("disable-key");
    event["detail"]["requestParameters"]["keyId"] = json!(key);
    event["detail"]["resources"] = json!([{ "ARN": key }]);
    let invocation = scenario.function.invoke_within(event.to_string().as_bytes(), Duration::from_secs(9));
    assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Enabled);
    let answer = logged_answers(&invocation).remove(0);
    assert_eq!((outcome(&answer, &sealed), outcome(&answer, &silent)), ("remediated", "failed"));
    assert_eq!(invocation.outcome.unwrap_err().error_type, "Transient", "the unread trail may use the key");
    // A Region whose trails cannot be listed is not read again.
    let read_again = scenario.aws.calls().iter().any(|call| call.region == THERE && call.operation == "GetTrailStatus");
    assert!(!read_again);
}

#[test]
fn a_bucket_region_unreadable_in_one_region_is_retried() {
    for fault in [hang(), Fault::error(403, "AccessDenied", "no")] {
        let mut world = account();
        let key = add_sealing_key(&mut world, THERE);
        let from_here = world.add_trail(Trail::new("from-here", HERE, &format!("logs-{THERE}")));
        let from_there = world.add_trail(trail("from-there", THERE));
        let mut scenario = Scenario::enforce(world);
        scenario.aws.before(move |call, _| {
            let matches = call.operation == "HeadBucket" && call.region == HERE;
            matches.then(|| fault.clone())
        });
        let answer = sweep_within(&mut scenario, Duration::from_secs(8));
        assert_eq!((outcome(&answer, &from_here), outcome(&answer, &from_there)), ("failed", "remediated"));
        assert_eq!(scenario.aws.world().trails[&from_there].kms_key_id, Some(key));
    }
}

#[test]
fn an_unresponsive_kms_region_does_not_delay_others() {
    let mut world = account();
    let key = add_sealing_key(&mut world, THERE);
    let here = world.add_trail(trail("here", HERE));
    let crossing = world.add_trail(Trail::new("crossing", HERE, &format!("logs-{THERE}")));
    let there = world.add_trail(trail("there", THERE));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.service == "kms" && call.operation == "CreateKey").then(hang));
    let answer = sweep_within(&mut scenario, Duration::from_secs(8));
    let outcomes = [&here, &crossing, &there].map(|arn| outcome(&answer, arn));
    assert_eq!(outcomes, ["failed", "remediated", "remediated"]);
    let world = scenario.aws.snapshot();
    assert_eq!([&crossing, &there].map(|arn| world.trails[arn].kms_key_id.clone()), [Some(key.clone()), Some(key)]);
}

#[test]
fn a_hanging_restart_does_not_delay_other_trails() {
    let mut world = account();
    let [key, sealed_with] = [THERE, HERE].map(|region| add_sealing_key(&mut world, region));
    let stopped = world.add_trail(trail("stopped", HERE).encrypted_with(&sealed_with).stopped(1_780_000_500));
    let plain = world.add_trail(trail("plain", THERE));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    scenario.aws.before(|call, _| (call.operation == "StartLogging").then(hang));
    let answer = sweep_within(&mut scenario, Duration::from_secs(8));
    assert_eq!((outcome(&answer, &stopped), outcome(&answer, &plain)), ("failed", "remediated"));
    assert_eq!(scenario.aws.world().trails[&plain].kms_key_id, Some(key));
}

#[test]
fn a_key_assigned_during_a_sweep_is_not_replaced() {
    let mut world = account();
    for region in [HERE, THERE] {
        add_sealing_key(&mut world, region);
    }
    let theirs = world.key(Key::new(THERE).policy(&sealing_policy()));
    let slow = world.add_trail(trail("slow", HERE));
    let overtaken = world.add_trail(trail("overtaken", THERE));
    let mut scenario = Scenario::enforce(world);
    let (arn, key) = (overtaken.clone(), theirs.clone());
    let mut hung = false;
    scenario.aws.before(move |call, world| {
        if hung || (call.operation.as_str(), call.region.as_str()) != ("GetBucketPolicy", HERE) {
            return None;
        }
        hung = true;
        world.trails.get_mut(&arn).unwrap().kms_key_id = Some(key.clone());
        Some(Fault::Hang(Duration::from_secs(3)))
    });
    let answer = sweep_within(&mut scenario, Duration::from_secs(30));
    assert_eq!((outcome(&answer, &slow), outcome(&answer, &overtaken)), ("remediated", "compliant"));
    assert_eq!(scenario.aws.world().trails[&overtaken].kms_key_id, Some(theirs));
}

#[test]
fn a_key_assigned_while_trails_are_listed_is_not_replaced() {
    let mut world = account();
    let [_, sealed_with] = [THERE, HERE].map(|region| add_sealing_key(&mut world, region));
    let theirs = world.key(Key::new(THERE).policy(&sealing_policy()));
    world.add_trail(trail("slow", HERE).encrypted_with(&sealed_with));
    let overtaken = world.add_trail(trail("overtaken", THERE));
    let mut scenario = Scenario::enforce(world);
    let (arn, key) = (overtaken.clone(), theirs.clone());
    let mut listed = false;
    scenario.aws.after(move |call, world| {
        match (call.operation.as_str(), call.region.as_str()) {
            ("DescribeTrails", THERE) => listed = true,
            ("GetTrailStatus", THERE) if listed => {
                world.trails.get_mut(&arn).unwrap().kms_key_id = Some(key.clone());
            }
            _ => {}
        }
        None
    });
    let mut hung = false;
    scenario.aws.before(move |call, _| {
        let hangs = (call.operation.as_str(), call.region.as_str()) == ("DescribeTrails", HERE);
        (hangs && !std::mem::replace(&mut hung, true)).then(|| Fault::Hang(Duration::from_secs(3)))
    });
    let answer = sweep_within(&mut scenario, Duration::from_secs(30));
    assert_eq!(outcome(&answer, &overtaken), "compliant", "{answer:#}");
    assert_eq!(scenario.aws.world().trails[&overtaken].kms_key_id, Some(theirs));
}

#[test]
fn an_organization_trail_in_a_denied_region_is_no_failure() {
    let mut world = account();
    let arn = world.add_trail(trail("organization", THERE).multi_region().organization("999999999999"));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(Fault::access_denied));
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!(outcome(&answer, &arn), "out-of-scope");
    let detail = answer["trails"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("belongs to account `999999999999`") && detail.contains("cannot be read from this account"),
        "{detail}"
    );
    assert_eq!((&answer["warnings"], scenario.aws.world().published.len()), (&json!([]), 0));
}

#[test]
fn a_stray_is_alerted_once_for_several_trails() {
    let mut world = account();
    let theirs = world.key(Key::new(HERE).policy(&sealing_policy()).state(KeyState::PendingDeletion));
    for name in ["one", "two", "three"] {
        world.add_trail(trail(name, HERE).encrypted_with(&theirs));
    }
    let mut scenario = Scenario::enforce(world);
    let mut raced = false;
    scenario.aws.before(move |call, world| {
        if call.operation == "CreateAlias" && !std::mem::replace(&mut raced, true) {
            add_sealing_key(world, HERE);
        }
        None
    });
    let mut event = event("schedule-key-deletion");
    event["detail"]["requestParameters"]["keyId"] = json!(theirs);
    event["detail"]["resources"] = json!([{ "ARN": theirs }]);
    let answer = scenario.invoke(&event);
    assert_eq!((&answer["summary"], &answer["alerts"]["sent"]), (&json!({ "remediated": 3 }), &json!(3)));
    let command = answer["strays"][0]["command"].as_str().unwrap();
    let published = scenario.aws.snapshot().published;
    let alerts = published.iter().map(|alert| alert.message.contains(command));
    assert_eq!(alerts.collect::<Vec<_>>(), [true, false, false]);
}

/// An account with a compliant trail, and a trailseal key that no trail uses.
fn with_a_stray() -> (World, String) {
    let mut world = account();
    let key = add_sealing_key(&mut world, HERE);
    world.add_trail(trail("well", HERE).encrypted_with(&key));
    let stray = world.key(Key::new(HERE).policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    (world, stray)
}

#[test]
fn a_key_possibly_in_use_is_a_warning_not_a_stray() {
    let (mut world, perhaps) = with_a_stray();
    let closed = world.add_trail(trail("closed", THERE).encrypted_with(&perhaps));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(Fault::access_denied));
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!((outcome(&answer, &closed), &answer["strays"]), ("failed", &json!([])));
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[0]["id"]), (1, &json!("key-unreadable")), "{warnings:#?}");
    let detail = warnings[0]["detail"].as_str().unwrap();
    for part in [&perhaps, "Do not delete it yet", "read the trails of `us-east-1`", "cloudtrail:DescribeTrails"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let message = scenario.only_alert().message;
    assert!(message.contains(detail) && !message.contains("schedule-key-deletion"), "{message}");
}

#[test]
fn an_unreadable_foreign_trail_does_not_hide_strays() {
    let (mut world, stray) = with_a_stray();
    let theirs = world.add_trail(trail("organization", THERE).multi_region().organization("999999999999"));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(Fault::access_denied));
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!(outcome(&answer, &theirs), "out-of-scope");
    assert_eq!((&answer["strays"][0]["key_arn"], &answer["warnings"]), (&json!(stray), &json!([])));
    assert!(scenario.only_alert().message.contains("schedule-key-deletion"));
}

#[test]
fn an_unreadable_tag_index_is_one_warning_for_all_regions() {
    let (mut world, _) = with_a_stray();
    let key = add_sealing_key(&mut world, THERE);
    world.add_trail(trail("there", THERE).encrypted_with(&key));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "GetResources").then(Fault::access_denied));
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!((&answer["summary"], &answer["strays"]), (&json!({ "compliant": 2 }), &json!([])));
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[0]["id"]), (1, &json!("key-unreadable")), "{warnings:#?}");
    let detail = warnings[0]["detail"].as_str().unwrap();
    for part in ["`eu-west-1`, `us-east-1`", "allow `tag:GetResources`"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert!(scenario.only_alert().message.contains(detail));
    scenario.aws.clear_hooks();
    scenario.aws.before(|call, _| (call.operation == "GetResources" && call.region == THERE).then(Fault::throttled));
    let answer = sweep_within(&mut scenario, Duration::from_secs(9));
    assert_eq!(
        (&answer["warnings"], answer["strays"].as_array().unwrap().len()),
        (&json!([]), 1),
        "a transient error is left to the next sweep"
    );
}

#[test]
fn an_unreadable_trailseal_key_is_a_warning() {
    let (world, unread) = with_a_stray();
    let mut scenario = Scenario::enforce(world);
    let key = json!(unread);
    scenario.aws.before(move |call, _| (call.input["KeyId"] == key).then(Fault::access_denied));
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!((&answer["warnings"][0]["id"], &answer["strays"]), (&json!("key-unreadable"), &json!([])));
    let detail = answer["warnings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(&unread) && detail.contains("Do not delete it yet"), "{detail}");
}

#[test]
fn a_malformed_trail_does_not_stop_the_sweep() {
    let (mut world, perhaps) = with_a_stray();
    let sealed_with = world.alias_target(HERE, "alias/trailseal").unwrap().to_owned();
    let plain = world.add_trail(trail("plain", HERE));
    let malformed = world.add_trail(trail("o dd", HERE));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!(answer["summary"], json!({ "compliant": 1, "failed": 1, "remediated": 1 }), "{answer:#}");
    assert_eq!((outcome(&answer, &malformed), &answer["error"]), ("failed", &Value::Null));
    assert_eq!(scenario.aws.world().trails[&plain].kms_key_id, Some(sealed_with));
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!("cloudtrail:ListTrails")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("`{malformed}` is not a trail ARN")), "{message}");
    // The malformed trail may use the key.
    assert_eq!((&answer["strays"], &answer["warnings"][0]["id"]), (&json!([]), &json!("key-unreadable")));
    assert!(answer["warnings"][0]["detail"].as_str().unwrap().contains(&perhaps));
    let alert = scenario.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: 1 failed, 1 remediated of 3 trails"));
    assert!(alert.message.contains(message));
    let mut event = event("disable-key");
    event["detail"]["requestParameters"]["keyId"] = json!(perhaps);
    event["detail"]["resources"] = json!([{ "ARN": perhaps }]);
    let answer = scenario.invoke(&event);
    let ignored = answer["ignored"].as_str().unwrap();
    assert!(ignored.contains("no trail uses key") && ignored.contains("could be read"), "{answer:#}");
    assert!(answer["warnings"][0]["detail"].as_str().unwrap().contains(&malformed), "{answer:#}");
}

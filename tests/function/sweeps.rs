//! Sweeps over all trails and Regions, and events about keys.

use std::time::Duration;

use fake_aws::{Bucket, Fault, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{
    ACCOUNT, AUDIT, Scenario, add_sealing_key, event, findings, sealed_account, sealing_policy, steps, writes,
};

const REGIONS: [&str; 6] = ["eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "us-east-1", "us-west-2"];

fn sweep() -> Value {
    json!({ "sweep": {} })
}

/// Trails in six Regions, in every state.
fn mixed_account() -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.rate_limits = true;
    for region in REGIONS {
        world.add_bucket(Bucket::new(&format!("logs-{region}"), region));
    }
    let foreign = world.key(Key::new("us-west-2").policy(&sealing_policy()));
    let broken = world.key(Key::new("eu-west-2").state(KeyState::Disabled));
    let key = add_sealing_key(&mut world, "us-east-1");
    world.add_trail(Trail::new("plain", "eu-central-1", "logs-eu-central-1").multi_region());
    world.add_trail(Trail::new("elsewhere", "eu-north-1", "logs-eu-central-1"));
    world.add_trail(Trail::new("exempt", "eu-west-1", "logs-eu-west-1").tag("trailseal:exempt", "SEC-42"));
    world.add_trail(Trail::new("broken", "eu-west-2", "logs-eu-west-2").encrypted_with(&broken));
    world.add_trail(Trail::new("well", "us-east-1", "logs-us-east-1").encrypted_with(&key));
    world.add_trail(Trail::new("stopped", "us-east-1", "logs-us-east-1").encrypted_with(&key).stopped(1_780_000_500));
    world.add_trail(Trail::new("theirs", "us-west-2", "logs-us-west-2").encrypted_with(&foreign));
    world.add_trail(Trail::new("lost", "us-west-2", "no-such-bucket"));
    world
}

fn outcomes(answer: &Value) -> Vec<String> {
    let trails = answer["trails"].as_array().unwrap();
    let name = |trail: &Value| trail["trail_arn"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    trails.iter().map(|it| format!("{} {}", name(it), it["outcome"].as_str().unwrap())).collect()
}

#[test]
fn a_sweep_remediates_and_sends_one_digest() {
    let mut scenario = Scenario::enforce(mixed_account());
    let answer = scenario.invoke(&sweep());
    assert_eq!(
        outcomes(&answer),
        [
            "plain remediated",
            "elsewhere remediated",
            "exempt exempt",
            "broken remediated",
            "stopped noted",
            "well compliant",
            "lost failed",
            "theirs compliant",
        ],
        "{answer:#}"
    );
    let world = scenario.aws.snapshot();
    let key_of =
        |name: &str| world.trails.values().find(|trail| trail.name == name).unwrap().kms_key_id.clone().unwrap();
    assert_eq!(key_of("plain"), key_of("elsewhere"), "one bucket Region, one key");
    assert!(key_of("broken").contains(":eu-west-2:"));
    let alert = scenario.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: 1 failed, 3 remediated, 1 noted of 8 trails"));
    for part in ["trail/lost", "trail/plain", "trail/stopped", "the bucket does not exist"] {
        assert!(alert.message.contains(part), "{part}: {}", alert.message);
    }
    assert!(!alert.message.contains("trail/well"));
    let throttled = scenario.aws.calls().iter().any(|call| call.error.as_deref() == Some("ThrottlingException"));
    assert!(!throttled, "below CloudTrail's rates");

    scenario.aws.clear_calls();
    let before = scenario.aws.snapshot();
    let again = scenario.invoke(&sweep());
    assert_eq!(again["summary"], json!({ "compliant": 5, "exempt": 1, "failed": 1, "noted": 1 }));
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert_eq!((scenario.aws.snapshot().trails, scenario.aws.snapshot().keys), (before.trails, before.keys));
}

#[test]
fn a_dry_run_sweep_writes_only_its_digest() {
    let world = mixed_account();
    let mut scenario = Scenario::builder(world.clone()).dry_run().start();
    let answer = scenario.invoke(&sweep());
    assert_eq!(answer["summary"]["planned"], 3, "{answer:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert_eq!((scenario.aws.snapshot().trails, scenario.aws.snapshot().keys), (world.trails, world.keys));
}

#[test]
fn a_scheduled_event_of_this_account_starts_a_sweep() {
    let (world, _) = sealed_account();
    let mut scenario = Scenario::enforce(world);
    let mut scheduled = event("scheduled-event");
    let answer = scenario.invoke(&scheduled);
    assert_eq!((answer["trigger"]["kind"].as_str(), &answer["summary"]), (Some("sweep"), &json!({ "compliant": 1 })));
    assert_eq!((&answer["trigger"]["event_id"], &answer["trigger"]["region"]), (&scheduled["id"], &json!("eu-west-1")));
    scenario.aws.clear_calls();
    scheduled["account"] = json!("210987654321");
    let ignored = scenario.invoke(&scheduled);
    assert!(ignored["ignored"].as_str().unwrap().contains("account `210987654321`"), "{ignored:#}");
    assert_eq!(scenario.take_calls(), [""; 0]);
}

#[test]
fn shadow_trails_and_shared_keys_are_read_once() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("logs", "eu-west-1"));
    let key = add_sealing_key(&mut world, "eu-west-1");
    for name in ["one", "two", "three"] {
        world.add_trail(Trail::new(name, "eu-west-1", "logs").multi_region().encrypted_with(&key));
    }
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&sweep());
    assert_eq!(answer["summary"], json!({ "compliant": 3 }));
    let mut calls = scenario.take_calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            "cloudtrail:DescribeTrails",
            "cloudtrail:GetTrailStatus",
            "cloudtrail:GetTrailStatus",
            "cloudtrail:GetTrailStatus",
            "cloudtrail:ListTrails",
            "kms:DescribeKey",
            "kms:GetKeyPolicy",
            "kms:GetKeyRotationStatus",
            "kms:ListResourceTags",
            "tagging:GetResources",
        ]
    );
    assert_eq!(scenario.aws.world().published.len(), 0);
}

#[test]
fn a_failing_region_does_not_stop_the_sweep() {
    let mut scenario = Scenario::enforce(mixed_account());
    scenario.aws.before(|call, _| {
        (call.region == "eu-central-1" && call.service == "cloudtrail")
            .then(|| Fault::error(400, "UnrecognizedClientException", "no"))
    });
    let answer = scenario.invoke(&sweep());
    let outcomes = outcomes(&answer);
    assert!(
        outcomes.contains(&"plain failed".into()) && outcomes.contains(&"elsewhere remediated".into()),
        "{outcomes:?}"
    );
    assert!(answer["trails"][0]["error"]["remedy"].as_str().unwrap().contains("that `eu-central-1` is enabled"));
}

#[test]
fn a_trail_that_times_out_does_not_stop_the_sweep() {
    let mut scenario = Scenario::enforce(mixed_account());
    scenario.aws.before(|call, _| {
        let hangs = call.region == "us-west-2" && call.operation == "GetTrailStatus";
        hangs.then_some(Fault::Hang(Duration::from_secs(20)))
    });
    let invocation = scenario.function.invoke_within(sweep().to_string().as_bytes(), Duration::from_secs(8));
    let answer = invocation.outcome.unwrap();
    let outcomes = outcomes(&answer);
    assert!(
        outcomes.contains(&"plain remediated".into()) && outcomes.contains(&"theirs failed".into()),
        "{outcomes:?}"
    );
    let theirs =
        answer["trails"].as_array().unwrap().iter().find(|it| it["trail_arn"].as_str().unwrap().ends_with("/theirs"));
    let error = &theirs.unwrap()["error"];
    assert_eq!(error["class"], "transient");
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with("trail/theirs` in `us-west-2`: its share of the invocation's time ran out"), "{message}");
}

#[test]
fn a_transient_error_does_not_fail_the_sweep() {
    let (world, _) = sealed_account();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "GetTrailStatus").then(Fault::throttled));
    let answer = scenario.invoke(&sweep());
    assert_eq!(answer["trails"][0]["error"]["class"], "transient", "{answer:#}");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
}

#[test]
fn a_denied_list_of_trails_is_alerted_with_a_remedy() {
    let (world, _) = sealed_account();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::access_denied));
    let answer = scenario.invoke(&sweep());
    assert!(answer["error"]["remedy"].as_str().unwrap().contains("cloudtrail:ListTrails"), "{answer:#}");
    assert!(scenario.only_alert().subject.unwrap().contains("could not be listed"));
}

#[test]
fn a_denied_list_after_a_key_event_names_the_actor() {
    let mut scenario = Scenario::enforce(sealed_account().0);
    scenario.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::access_denied));
    let answer = scenario.invoke(&event("disable-key"));
    assert_eq!((answer["error"]["class"].as_str(), &answer["trails"]), (Some("terminal"), &json!([])));
    let message = scenario.only_alert().message;
    assert!(message.contains("Caused by: arn:aws:iam::123456789012:user/ops/ann"), "{message}");
}

#[test]
fn a_throttled_list_of_trails_fails_the_sweep() {
    let (world, _) = sealed_account();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::throttled));
    let sweep = sweep().to_string();
    let error = scenario.function.invoke_within(sweep.as_bytes(), Duration::from_secs(3)).outcome.unwrap_err();
    assert_eq!(error.error_type, "Transient");
    assert!(
        error.error_message.contains("Rate exceeded") || error.error_message.contains("ThrottlingException"),
        "{error}"
    );
    assert_eq!(scenario.aws.world().published.len(), 0);
}

#[test]
fn an_account_without_a_logging_trail_gets_a_warning() {
    let (mut world, _) = sealed_account();
    world.trails.get_mut(AUDIT).unwrap().logging = false;
    let mut empty = world.clone();
    empty.trails.clear();
    let mut stopped = world.clone();
    stopped.trails.get_mut(AUDIT).unwrap().stopped_at = Some(1_780_000_500);
    for world in [world, empty] {
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke(&sweep());
        assert_eq!(answer["warnings"][0]["id"], "no-logging-trail", "{answer:#}");
        let alert = scenario.only_alert();
        assert!(alert.message.contains("no-logging-trail"));
        assert_eq!(alert.attributes["outcome"], "noted", "subscriptions that filter on outcomes receive it");
    }
    let mut scenario = Scenario::builder(stopped).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    assert_eq!(scenario.invoke(&sweep())["warnings"], json!([]), "restarted");
}

#[test]
fn every_sweep_reports_existing_strays() {
    let (mut world, _) = sealed_account();
    let stray = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    let mut scenario = Scenario::enforce(world);
    for _ in 0..2 {
        let answer = scenario.invoke(&sweep());
        assert_eq!(answer["summary"], json!({ "compliant": 1 }));
        assert_eq!(answer["strays"][0]["key_arn"], json!(stray), "{answer:#}");
        assert!(answer["strays"][0]["command"].as_str().unwrap().starts_with("aws kms schedule-key-deletion"));
    }
    let alert = scenario.aws.world().published[1].clone();
    assert!(alert.message.contains(&stray));
    assert_eq!(alert.attributes["outcome"], "noted", "subscriptions that filter on outcomes receive it");
    scenario.aws.world().keys.get_mut(&stray).unwrap().state = KeyState::PendingDeletion;
    assert_eq!(scenario.invoke(&sweep())["strays"], json!([]));
}

#[test]
fn a_failed_trail_does_not_hide_a_stray_in_its_region() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*",
        "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "AES256" } } });
    let policy = world.bucket_policy("logs", &[deny]);
    world.add_bucket(Bucket::new("logs", "eu-central-1").policy(&policy));
    world.add_trail(Trail::new("audit", "eu-west-1", "logs"));
    add_sealing_key(&mut world, "eu-central-1");
    let stray = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&sweep());
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!((answer["strays"].as_array().unwrap().len(), &answer["strays"][0]["key_arn"]), (1, &json!(stray)));
    assert!(scenario.only_alert().message.contains(&stray));
}

#[test]
fn a_key_that_dry_run_plans_to_adopt_is_not_a_stray() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("logs", "eu-west-1"));
    world.add_trail(Trail::new("audit", "eu-west-1", "logs"));
    let key = Key::new("eu-west-1").policy(&sealing_policy()).tag("managed-by", "trailseal");
    let key = world.key(key.created(1));
    let mut scenario = Scenario::builder(world).dry_run().start();
    let answer = scenario.invoke(&sweep());
    assert_eq!((&answer["trails"][0]["key_arn"], &steps(&answer)[0]), (&json!(key), &"adopt-key planned".into()));
    assert_eq!(answer["strays"], json!([]));
    assert!(!scenario.only_alert().message.contains("schedule-key-deletion"));
}

/// The event file, with this key.
fn key_event(name: &str, key: &str) -> Value {
    let mut event = event(name);
    event["detail"]["requestParameters"]["keyId"] = json!(key);
    event["detail"]["resources"] = json!([{ "ARN": key }]);
    event
}

#[test]
fn a_key_event_repairs_the_key_for_its_trails() {
    for (name, state) in [("disable-key", KeyState::Disabled), ("schedule-key-deletion", KeyState::PendingDeletion)] {
        let (mut world, key) = sealed_account();
        world.keys.get_mut(&key).unwrap().state = state;
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke(&key_event(name, &key));
        assert_eq!(
            (answer["summary"].clone(), steps(&answer)),
            (json!({ "remediated": 1 }), vec!["restore-key done".into()])
        );
        assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Enabled);
        assert!(scenario.only_alert().message.contains("ops/ann"));
    }
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = world.default_key_policy(ACCOUNT);
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&key_event("put-key-policy", &key));
    assert_eq!((findings(&answer), steps(&answer)), (vec!["key-policy-gap"], vec!["extend-key-policy done".into()]));
}

#[test]
fn a_key_event_names_the_regions_that_it_could_not_read() {
    let malformed = || Fault::Raw { status: 200, body: "{}".into() };
    let faults: [(&[&str], Fault); 3] = [
        (&["us-west-2"], Fault::error(400, "UnrecognizedClientException", "no")),
        (&["us-west-2", "eu-north-1"], Fault::access_denied()),
        (&["eu-west-1"], malformed()),
    ];
    for (regions, fault) in faults {
        let mut scenario = Scenario::enforce(mixed_account());
        scenario.aws.before(move |call, _| {
            (call.operation == "DescribeTrails" && regions.contains(&call.region.as_str())).then(|| fault.clone())
        });
        let answer = scenario.invoke(&event("disable-key"));
        let ignored = answer["ignored"].as_str().unwrap();
        assert!(ignored.contains("in the Regions that could be read: `eu-central-1`"), "{answer:#}");
        let (id, detail) = (&answer["warnings"][0]["id"], answer["warnings"][0]["detail"].as_str().unwrap());
        assert_eq!((answer["warnings"].as_array().unwrap().len(), id), (1, &json!("key-unreadable")));
        for region in regions {
            let region = format!("`{region}`");
            assert!(detail.contains(&region) && !ignored.contains(&region), "{answer:#}");
        }
        assert_eq!(scenario.aws.world().published.len(), 0);
    }
}

#[test]
fn a_key_event_that_reads_no_region_says_so() {
    let (world, _) = sealed_account();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "DescribeTrails").then(Fault::access_denied));
    let answer = scenario.invoke(&event("disable-key"));
    assert!(answer["ignored"].as_str().unwrap().starts_with("no trail could be read"), "{answer:#}");
    assert!(answer["warnings"][0]["detail"].as_str().unwrap().contains("cloudtrail:DescribeTrails"), "{answer:#}");
}

#[test]
fn a_repair_after_a_key_event_names_the_unread_regions() {
    let mut world = mixed_account();
    let key = world.alias_target("us-east-1", "alias/trailseal").unwrap().to_owned();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| {
        (call.operation == "DescribeTrails" && call.region == "eu-west-2").then(Fault::access_denied)
    });
    let answer = scenario.invoke(&key_event("disable-key", &key));
    assert_eq!(answer["summary"], json!({ "remediated": 2 }), "{answer:#}");
    assert!(
        answer["warnings"][0]["detail"].as_str().unwrap().contains("any trail in `eu-west-2` uses key"),
        "{answer:#}"
    );
}

#[test]
fn an_event_about_an_unused_key_costs_two_calls() {
    let (mut world, _) = sealed_account();
    let unused = world.key(Key::new("eu-west-1").state(KeyState::Disabled));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&key_event("disable-key", &unused));
    assert!(answer["ignored"].as_str().unwrap().contains("no trail uses key"), "{answer:#}");
    assert_eq!(scenario.take_calls(), ["cloudtrail:ListTrails", "cloudtrail:DescribeTrails"]);
}

#[test]
fn a_denied_control_tower_trail_has_its_own_remedy() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("logs", "eu-west-1"));
    let arn = world.add_trail(Trail::new("aws-controltower-BaselineCloudTrail", "eu-west-1", "logs").multi_region());
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "UpdateTrail").then(Fault::access_denied));
    let answer = scenario.invoke(&json!({ "trail": arn }));
    let error = &answer["trails"][0]["error"];
    assert!(error["remedy"].as_str().unwrap().contains("landing zone settings"), "{error:#}");
}

#[test]
fn every_partition_gets_its_own_arns() {
    for (partition, region) in [
        ("aws", "eu-west-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-eusc", "eusc-de-east-1"),
    ] {
        let mut world = World::in_partition(ACCOUNT, partition).topic("alerts", region);
        world.add_bucket(Bucket::new("logs", region));
        let arn = world.add_trail(Trail::new("audit", region, "logs").multi_region());
        let mut scenario = Scenario::builder(world)
            .function_arn(&format!("arn:{partition}:lambda:{region}:{ACCOUNT}:function:trailseal"))
            .env("TRAILSEAL_ROLE_ARN", &format!("arn:{partition}:iam::{ACCOUNT}:role/trailseal"))
            .env("TRAILSEAL_ALERT_TOPIC_ARN", &format!("arn:{partition}:sns:{region}:{ACCOUNT}:alerts"))
            .env("TRAILSEAL_LOG_READERS", "210987654321,account")
            .start();
        let answer = scenario.invoke(&sweep());
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{partition}: {answer:#}");
        let world = scenario.aws.snapshot();
        assert_eq!(world.check_delivery(&arn), Ok(()), "{partition}");
        let whole = answer.to_string() + &world.keys.values().next().unwrap().policy + &world.published[0].message;
        if partition != "aws" {
            assert!(!whole.contains("arn:aws:"), "{partition}: {whole}");
        }
        assert_eq!(scenario.invoke(&sweep())["summary"], json!({ "compliant": 1 }), "{partition}");
    }
}

#[test]
fn only_the_owner_remediates_an_organization_trail() {
    let mut member = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    member.add_bucket(Bucket::new("org-logs", "us-east-1"));
    let trail = || Trail::new("organization", "us-east-1", "org-logs").multi_region();
    member.add_trail(trail().organization("999999999999"));
    let mut scenario = Scenario::enforce(member);
    let answer = scenario.invoke(&sweep());
    assert_eq!((answer["summary"].clone(), findings(&answer)), (json!({ "out-of-scope": 1 }), vec!["no-cmk"]));
    assert_eq!(writes(&scenario.aws.calls()), [""; 0], "every member account would send the same alert");

    let mut management = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    management.add_bucket(Bucket::new("org-logs", "us-east-1"));
    let arn = management.add_trail(trail().organization(ACCOUNT));
    let mut scenario = Scenario::enforce(management.clone());
    assert_eq!(scenario.invoke(&sweep())["summary"], json!({ "remediated": 1 }));
    assert_eq!(scenario.aws.snapshot().check_delivery(&arn), Ok(()));

    let mut scenario = Scenario::enforce(management);
    let code = "InsufficientDependencyServiceAccessPermissionException";
    scenario.aws.before(move |call, _| (call.operation == "UpdateTrail").then(|| Fault::error(400, code, "no")));
    let answer = scenario.invoke(&sweep());
    let remedy = answer["trails"][0]["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("organizations:ListAWSServiceAccessForOrganization"), "{remedy}");
}

//! Every trail, every Region: sweeps, and events about keys.

use std::time::Duration;

use fake_aws::{Bucket, Fault, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{
    ACCOUNT, AUDIT, Scene, Setting, event, findings, sealed, sealing_policy, steps, with_sealing_key, writes,
};

const REGIONS: [&str; 6] = ["eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "us-east-1", "us-west-2"];

fn sweep() -> Value {
    json!({ "sweep": {} })
}

/// Trails in six Regions, in every state that there is.
fn estate() -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.rate_limits = true;
    for region in REGIONS {
        world.add_bucket(Bucket::new(&format!("logs-{region}"), region));
    }
    let foreign = world.key(Key::new("us-west-2").policy(&sealing_policy()));
    let broken = world.key(Key::new("eu-west-2").state(KeyState::Disabled));
    let key = with_sealing_key(&mut world, "us-east-1");
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
fn a_sweep_mends_every_trail_that_can_be_mended_and_reports_the_others_in_one_digest() {
    let mut scene = Scene::enforcing(estate());
    let answer = scene.answer(&sweep());
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
    let world = scene.aws.snapshot();
    let key_of =
        |name: &str| world.trails.values().find(|trail| trail.name == name).unwrap().kms_key_id.clone().unwrap();
    assert_eq!(key_of("plain"), key_of("elsewhere"), "one bucket Region, one key");
    assert!(key_of("broken").contains(":eu-west-2:"));
    let alert = scene.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: 1 failed, 3 remediated, 1 noted of 8 trails"));
    for part in ["trail/lost", "trail/plain", "trail/stopped", "no such bucket"] {
        assert!(alert.message.contains(part), "{part}: {}", alert.message);
    }
    assert!(!alert.message.contains("trail/well"));
    let throttled = scene.aws.calls().iter().any(|call| call.error.as_deref() == Some("ThrottlingException"));
    assert!(!throttled, "below CloudTrail's rates by design");

    scene.aws.clear_calls();
    let before = scene.aws.snapshot();
    let again = scene.answer(&sweep());
    assert_eq!(again["summary"], json!({ "compliant": 5, "exempt": 1, "failed": 1, "noted": 1 }));
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert_eq!((scene.aws.snapshot().trails, scene.aws.snapshot().keys), (before.trails, before.keys));
}

#[test]
fn in_dry_run_a_sweep_writes_nothing_but_its_digest() {
    let world = estate();
    let mut scene = Setting::new(world.clone()).dry_run().start();
    let answer = scene.answer(&sweep());
    assert_eq!(answer["summary"]["planned"], 3, "{answer:#}");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert_eq!((scene.aws.snapshot().trails, scene.aws.snapshot().keys), (world.trails, world.keys));
}

#[test]
fn a_schedules_event_starts_a_sweep_and_is_named_in_the_answer_and_anothers_is_ignored() {
    let (world, _) = sealed();
    let mut scene = Scene::enforcing(world);
    let mut scheduled = event("scheduled-event");
    let answer = scene.answer(&scheduled);
    assert_eq!((answer["trigger"]["kind"].as_str(), &answer["summary"]), (Some("sweep"), &json!({ "compliant": 1 })));
    assert_eq!((&answer["trigger"]["event_id"], &answer["trigger"]["region"]), (&scheduled["id"], &json!("eu-west-1")));
    scene.aws.clear_calls();
    scheduled["account"] = json!("210987654321");
    let ignored = scene.answer(&scheduled);
    assert!(ignored["ignored"].as_str().unwrap().contains("account `210987654321`"), "{ignored:#}");
    assert_eq!(scene.calls(), [""; 0]);
}

#[test]
fn shadow_copies_are_visited_once_and_what_trails_share_is_read_once() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("logs", "eu-west-1"));
    let key = with_sealing_key(&mut world, "eu-west-1");
    for name in ["one", "two", "three"] {
        world.add_trail(Trail::new(name, "eu-west-1", "logs").multi_region().encrypted_with(&key));
    }
    let mut scene = Scene::enforcing(world);
    let answer = scene.answer(&sweep());
    assert_eq!(answer["summary"], json!({ "compliant": 3 }));
    let mut calls = scene.calls();
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
            "tagging:GetResources",
        ]
    );
    assert_eq!(scene.aws.world().published.len(), 0);
}

#[test]
fn one_regions_trouble_stops_no_other_and_the_sweep_succeeds() {
    let mut scene = Scene::enforcing(estate());
    scene.aws.before(|call, _| {
        (call.region == "eu-central-1" && call.service == "cloudtrail")
            .then(|| Fault::error(400, "UnrecognizedClientException", "no"))
    });
    let answer = scene.answer(&sweep());
    let outcomes = outcomes(&answer);
    assert!(
        outcomes.contains(&"plain failed".into()) && outcomes.contains(&"elsewhere remediated".into()),
        "{outcomes:?}"
    );
    assert!(answer["trails"][0]["error"]["remedy"].as_str().unwrap().contains("whether the Region is enabled"));
}

#[test]
fn what_a_sweep_did_not_get_to_is_listed_as_such_and_the_rest_is_done() {
    let mut scene = Scene::enforcing(estate());
    scene.aws.before(|call, _| {
        let hangs = call.region == "us-west-2" && call.operation == "GetTrailStatus";
        hangs.then_some(Fault::Hang(Duration::from_secs(20)))
    });
    let invocation = scene.function.invoke_within(sweep().to_string().as_bytes(), Duration::from_secs(8));
    let answer = invocation.outcome.unwrap();
    let told = outcomes(&answer);
    assert!(told.contains(&"plain remediated".into()) && told.contains(&"theirs failed".into()), "{told:?}");
    let theirs =
        answer["trails"].as_array().unwrap().iter().find(|it| it["trail_arn"].as_str().unwrap().ends_with("/theirs"));
    let error = &theirs.unwrap()["error"];
    assert_eq!(error["class"], "transient");
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with("trail/theirs` in `us-west-2`: its share of the invocation's time ran out"), "{message}");
}

#[test]
fn trouble_that_passes_is_listed_as_such_and_does_not_fail_the_sweep() {
    let (world, _) = sealed();
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "GetTrailStatus").then(Fault::throttled));
    let answer = scene.answer(&sweep());
    assert_eq!(answer["trails"][0]["error"]["class"], "transient", "{answer:#}");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
}

#[test]
fn trails_that_cannot_be_listed_are_said_with_what_to_do() {
    let (world, _) = sealed();
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::access_denied));
    let answer = scene.answer(&sweep());
    assert!(answer["error"]["remedy"].as_str().unwrap().contains("cloudtrail:ListTrails"), "{answer:#}");
    assert!(scene.only_alert().subject.unwrap().contains("could not be listed"));
}

#[test]
fn whose_key_event_could_not_be_followed_up_is_said() {
    let mut scene = Scene::enforcing(sealed().0);
    scene.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::access_denied));
    let answer = scene.answer(&event("disable-key"));
    assert_eq!((answer["error"]["class"].as_str(), &answer["trails"]), (Some("terminal"), &json!([])));
    let message = scene.only_alert().message;
    assert!(message.contains("Caused by: arn:aws:iam::123456789012:user/ops/ann"), "{message}");
}

#[test]
fn a_sweep_that_could_not_even_list_the_trails_is_tried_again_if_that_passes() {
    let (world, _) = sealed();
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::throttled));
    let sweep = sweep().to_string();
    let error = scene.function.invoke_within(sweep.as_bytes(), Duration::from_secs(3)).outcome.unwrap_err();
    assert_eq!(error.error_type, "Transient");
    assert!(
        error.error_message.contains("Rate exceeded") || error.error_message.contains("ThrottlingException"),
        "{error}"
    );
    assert_eq!(scene.aws.world().published.len(), 0);
}

#[test]
fn an_account_without_a_logging_trail_is_warned() {
    let (mut world, _) = sealed();
    world.trails.get_mut(AUDIT).unwrap().logging = false;
    let mut empty = world.clone();
    empty.trails.clear();
    let mut stopped = world.clone();
    stopped.trails.get_mut(AUDIT).unwrap().stopped_at = Some(1_780_000_500);
    for world in [world, empty] {
        let mut scene = Scene::enforcing(world);
        let answer = scene.answer(&sweep());
        assert_eq!(answer["warnings"][0]["id"], "no-logging-trail", "{answer:#}");
        let alert = scene.only_alert();
        assert!(alert.message.contains("no-logging-trail"));
        assert_eq!(alert.attributes["outcome"], "noted", "a filter on outcomes lets it through");
    }
    let mut scene = Setting::new(stopped).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    assert_eq!(scene.answer(&sweep())["warnings"], json!([]), "it logs again");
}

#[test]
fn every_sweep_reports_strays_until_they_are_gone() {
    let (mut world, _) = sealed();
    let stray = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    let mut scene = Scene::enforcing(world);
    for _ in 0..2 {
        let answer = scene.answer(&sweep());
        assert_eq!(answer["summary"], json!({ "compliant": 1 }));
        assert_eq!(answer["strays"][0]["key_arn"], json!(stray), "{answer:#}");
        assert!(answer["strays"][0]["command"].as_str().unwrap().starts_with("aws kms schedule-key-deletion"));
    }
    let told = scene.aws.world().published[1].clone();
    assert!(told.message.contains(&stray));
    assert_eq!(told.attributes["outcome"], "noted", "a filter on outcomes lets it through");
    scene.aws.world().keys.get_mut(&stray).unwrap().state = KeyState::PendingDeletion;
    assert_eq!(scene.answer(&sweep())["strays"], json!([]));
}

#[test]
fn a_stray_is_also_found_where_a_trail_has_its_bucket_and_gets_no_key() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    let refusal = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*",
        "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "AES256" } } }] });
    world.add_bucket(Bucket::new("logs", "eu-central-1").policy(&refusal.to_string()));
    world.add_trail(Trail::new("audit", "eu-west-1", "logs"));
    with_sealing_key(&mut world, "eu-central-1");
    let stray = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    let mut scene = Scene::enforcing(world);
    let answer = scene.answer(&sweep());
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!((answer["strays"].as_array().unwrap().len(), &answer["strays"][0]["key_arn"]), (1, &json!(stray)));
    assert!(scene.only_alert().message.contains(&stray));
}

#[test]
fn a_key_that_a_dry_run_would_finish_is_not_called_a_stray() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("logs", "eu-west-1"));
    world.add_trail(Trail::new("audit", "eu-west-1", "logs"));
    let key = Key::new("eu-west-1").policy(&sealing_policy()).tag("managed-by", "trailseal");
    let key = world.key(key.created(1));
    let mut scene = Setting::new(world).dry_run().start();
    let answer = scene.answer(&sweep());
    assert_eq!((&answer["trails"][0]["key_arn"], &steps(&answer)[0]), (&json!(key), &"adopt-key planned".into()));
    assert_eq!(answer["strays"], json!([]));
    assert!(!scene.only_alert().message.contains("schedule-key-deletion"));
}

/// An event about that key.
fn key_event(name: &str, key: &str) -> Value {
    let mut event = event(name);
    event["detail"]["requestParameters"]["keyId"] = json!(key);
    event["detail"]["resources"] = json!([{ "ARN": key }]);
    event
}

#[test]
fn whoever_breaks_a_key_has_it_mended_for_the_trails_that_use_it() {
    for (name, state) in [("disable-key", KeyState::Disabled), ("schedule-key-deletion", KeyState::PendingDeletion)] {
        let (mut world, key) = sealed();
        world.keys.get_mut(&key).unwrap().state = state;
        let mut scene = Scene::enforcing(world);
        let answer = scene.answer(&key_event(name, &key));
        assert_eq!(
            (answer["summary"].clone(), steps(&answer)),
            (json!({ "remediated": 1 }), vec!["restore-key done".into()])
        );
        assert_eq!(scene.aws.world().keys[&key].state, KeyState::Enabled);
        assert!(scene.only_alert().message.contains("ops/ann"));
    }
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().policy = world.default_key_policy(ACCOUNT);
    let mut scene = Scene::enforcing(world);
    let answer = scene.answer(&key_event("put-key-policy", &key));
    assert_eq!((findings(&answer), steps(&answer)), (vec!["key-policy-gap"], vec!["extend-key-policy done".into()]));
}

#[test]
fn an_event_about_some_key_says_nothing_of_regions_that_cannot_be_read() {
    let mut scene = Scene::enforcing(estate());
    scene.aws.before(|call, _| {
        let refused = call.region == "us-west-2" && call.operation == "DescribeTrails";
        refused.then(|| Fault::error(400, "UnrecognizedClientException", "no"))
    });
    let answer = scene.answer(&event("disable-key"));
    assert!(answer["ignored"].as_str().unwrap().contains("no trail uses key"), "{answer:#}");
    assert_eq!(scene.aws.world().published.len(), 0);
}

#[test]
fn a_key_that_no_trail_uses_costs_two_calls() {
    let (mut world, _) = sealed();
    let unused = world.key(Key::new("eu-west-1").state(KeyState::Disabled));
    let mut scene = Scene::enforcing(world);
    let answer = scene.answer(&key_event("disable-key", &unused));
    assert!(answer["ignored"].as_str().unwrap().contains("no trail uses key"), "{answer:#}");
    assert_eq!(scene.calls(), ["cloudtrail:ListTrails", "cloudtrail:DescribeTrails"]);
}

#[test]
fn a_denial_on_control_towers_own_trail_is_explained() {
    let mut world = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("logs", "eu-west-1"));
    let arn = world.add_trail(Trail::new("aws-controltower-BaselineCloudTrail", "eu-west-1", "logs").multi_region());
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "UpdateTrail").then(Fault::access_denied));
    let answer = scene.answer(&json!({ "trail": arn }));
    let error = &answer["trails"][0]["error"];
    assert!(error["remedy"].as_str().unwrap().contains("settings of the landing zone"), "{error:#}");
}

#[test]
fn every_partition_gets_keys_policies_and_answers_of_its_own() {
    for (partition, region) in [
        ("aws", "eu-west-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-eusc", "eusc-de-east-1"),
    ] {
        let mut world = World::in_partition(ACCOUNT, partition).topic("alerts", region);
        world.add_bucket(Bucket::new("logs", region));
        let arn = world.add_trail(Trail::new("audit", region, "logs").multi_region());
        let mut scene = Setting::new(world)
            .function_arn(&format!("arn:{partition}:lambda:{region}:{ACCOUNT}:function:trailseal"))
            .with("TRAILSEAL_ROLE_ARN", &format!("arn:{partition}:iam::{ACCOUNT}:role/trailseal"))
            .with("TRAILSEAL_ALERT_TOPIC_ARN", &format!("arn:{partition}:sns:{region}:{ACCOUNT}:alerts"))
            .with("TRAILSEAL_LOG_READERS", "210987654321,account")
            .start();
        let answer = scene.answer(&sweep());
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{partition}: {answer:#}");
        let world = scene.aws.snapshot();
        assert_eq!(world.check_delivery(&arn), Ok(()), "{partition}");
        let whole = answer.to_string() + &world.keys.values().next().unwrap().policy + &world.published[0].message;
        if partition != "aws" {
            assert!(!whole.contains("arn:aws:"), "{partition}: {whole}");
        }
        assert_eq!(scene.answer(&sweep())["summary"], json!({ "compliant": 1 }), "{partition}");
    }
}

#[test]
fn an_organizations_trail_is_left_to_its_owner_in_silence_and_mended_by_the_owner() {
    let mut member = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    member.add_bucket(Bucket::new("org-logs", "us-east-1"));
    let trail = || Trail::new("organization", "us-east-1", "org-logs").multi_region();
    member.add_trail(trail().organization("999999999999"));
    let mut scene = Scene::enforcing(member);
    let answer = scene.answer(&sweep());
    assert_eq!((answer["summary"].clone(), findings(&answer)), (json!({ "out-of-scope": 1 }), vec!["no-cmk"]));
    assert_eq!(writes(&scene.aws.calls()), [""; 0], "a thousand accounts would say the same every day");

    let mut management = World::new(ACCOUNT).topic("alerts", "eu-west-1");
    management.add_bucket(Bucket::new("org-logs", "us-east-1"));
    let arn = management.add_trail(trail().organization(ACCOUNT));
    let mut scene = Scene::enforcing(management.clone());
    assert_eq!(scene.answer(&sweep())["summary"], json!({ "remediated": 1 }));
    assert_eq!(scene.aws.snapshot().check_delivery(&arn), Ok(()));

    let mut scene = Scene::enforcing(management);
    let code = "InsufficientDependencyServiceAccessPermissionException";
    scene.aws.before(move |call, _| (call.operation == "UpdateTrail").then(|| Fault::error(400, code, "no")));
    let answer = scene.answer(&sweep());
    let remedy = answer["trails"][0]["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("organizations:ListAWSServiceAccessForOrganization"), "{remedy}");
}

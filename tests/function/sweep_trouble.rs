//! Where many trails are looked at, one Region's or trail's trouble stays its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fake_aws::{Bucket, Fault, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Scene, Setting, event, logged, sealing_policy, with_sealing_key};

const HERE: &str = "eu-west-1";
const THERE: &str = "us-east-1";

/// An account with a bucket for logs in two Regions.
fn account() -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", HERE);
    world.rate_limits = true;
    for region in [HERE, THERE] {
        world.add_bucket(Bucket::new(&format!("logs-{region}"), region));
    }
    world
}

fn trail(name: &str, region: &str) -> Trail {
    Trail::new(name, region, &format!("logs-{region}"))
}

/// Silence beyond any deadline.
fn silence() -> Fault {
    Fault::Hang(Duration::from_secs(60))
}

fn outcome<'a>(answer: &'a Value, arn: &str) -> &'a str {
    let trails = answer["trails"].as_array().unwrap();
    trails.iter().find(|trail| trail["trail_arn"] == arn).unwrap()["outcome"].as_str().unwrap()
}

fn sweep_within(scene: &mut Scene, deadline: Duration) -> Value {
    scene.function.invoke_within(json!({ "sweep": {} }).to_string().as_bytes(), deadline).outcome.unwrap()
}

#[test]
fn a_broken_key_is_mended_although_another_region_does_not_answer() {
    let mut world = account();
    let key = with_sealing_key(&mut world, HERE);
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let sealed = world.add_trail(trail("sealed", HERE).encrypted_with(&key));
    let silent = world.add_trail(trail("silent", THERE));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(silence));
    let mut event = event("disable-key");
    event["detail"]["requestParameters"]["keyId"] = json!(key);
    event["detail"]["resources"] = json!([{ "ARN": key }]);
    let invocation = scene.function.invoke_within(event.to_string().as_bytes(), Duration::from_secs(9));
    assert_eq!(scene.aws.world().keys[&key].state, KeyState::Enabled);
    let answer = logged(&invocation).remove(0);
    assert_eq!((outcome(&answer, &sealed), outcome(&answer, &silent)), ("remediated", "failed"));
    assert_eq!(invocation.outcome.unwrap_err().error_type, "Transient", "it may use the key, too");
    // What could not be listed is not asked for again.
    let asked = scene.aws.calls().iter().any(|call| call.region == THERE && call.operation == "GetTrailStatus");
    assert!(!asked);
}

#[test]
fn regions_that_do_not_answer_keep_no_trail_from_being_looked_at() {
    let mut world = account();
    let key = with_sealing_key(&mut world, THERE);
    let silent = ["ap-south-1", "eu-central-1", "eu-north-1", "eu-west-2", "eu-west-3", "sa-east-1"];
    for region in silent {
        for name in ["one", "two", "three", "four", "five"] {
            world.add_trail(Trail::new(name, region, "logs-us-east-1"));
        }
    }
    let plain = world.add_trail(trail("plain", THERE));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(move |call, _| {
        (call.operation == "GetTrailStatus" && silent.contains(&call.region.as_str())).then(silence)
    });
    let answer = sweep_within(&mut scene, Duration::from_secs(12));
    assert_eq!(answer["summary"], json!({ "failed": 30, "remediated": 1 }), "{answer:#}");
    assert_eq!(scene.aws.world().trails[&plain].kms_key_id, Some(key));
}

#[test]
fn trails_whose_key_is_missing_wait_for_the_second_look_together_and_take_it_once() {
    let mut world = account();
    let key = with_sealing_key(&mut world, HERE);
    let missing = format!("arn:aws:kms:{HERE}:{ACCOUNT}:key/00000000-0000-4000-8000-00000000dead");
    let homes = ["eu-central-1", "eu-north-1", HERE, "eu-west-2", THERE];
    for region in homes {
        for name in ["one", "two", "three", "four", "five"] {
            world.add_trail(Trail::new(name, region, "logs-eu-west-1").encrypted_with(&missing));
        }
    }
    let mut scene = Scene::enforcing(world);
    let answer = sweep_within(&mut scene, Duration::from_secs(150));
    assert_eq!(answer["summary"], json!({ "remediated": 25 }), "{answer:#}");
    assert!(scene.aws.world().trails.values().all(|trail| trail.kms_key_id.as_ref() == Some(&key)));
    let asked = scene.aws.calls().iter().filter(|call| call.input["KeyId"] == json!(missing)).count();
    assert_eq!(asked, 4, "DescribeKey and GetKeyPolicy, twice each");
}

#[test]
fn never_more_than_twenty_calls_are_under_way_at_once() {
    let mut world = World::new(ACCOUNT).topic("alerts", HERE);
    world.rate_limits = true;
    let areas = ["ap-south", "ap-east", "ca-west", "eu-north", "eu-south", "eu-west", "sa-east", "us-east"];
    for region in areas.iter().flat_map(|area| (1..=4).map(move |number| format!("{area}-{number}"))) {
        let bucket = format!("logs-{region}");
        world.add_bucket(Bucket::new(&bucket, &region));
        with_sealing_key(&mut world, &region);
        for name in ["one", "two", "three"] {
            world.add_trail(Trail::new(name, &region, &bucket));
        }
    }
    let mut scene = Scene::enforcing(world);
    scene.aws.set_latency(Duration::from_millis(50));
    let answer = sweep_within(&mut scene, Duration::from_secs(60));
    assert_eq!(answer["summary"], json!({ "remediated": 96 }), "{answer:#}");
    let calls = scene.aws.calls();
    let mut turns: Vec<_> = calls.iter().flat_map(|call| [(call.started, 1), (call.ended, -1)]).collect();
    turns.sort();
    let under_way = turns.iter().scan(0, |under_way, (_, change)| {
        *under_way += change;
        Some(*under_way)
    });
    assert_eq!(under_way.max(), Some(20));
    assert!(calls.iter().all(|call| call.error.as_deref() != Some("ThrottlingException")));
}

#[test]
fn a_bucket_that_cannot_be_found_from_one_region_is_found_from_another() {
    for fault in [silence(), Fault::error(403, "AccessDenied", "no")] {
        let mut world = account();
        let key = with_sealing_key(&mut world, THERE);
        let from_here = world.add_trail(Trail::new("from-here", HERE, &format!("logs-{THERE}")));
        let from_there = world.add_trail(trail("from-there", THERE));
        let mut scene = Scene::enforcing(world);
        scene.aws.before(move |call, _| {
            let asked = call.operation == "HeadBucket" && call.region == HERE;
            asked.then(|| fault.clone())
        });
        let answer = sweep_within(&mut scene, Duration::from_secs(8));
        assert_eq!((outcome(&answer, &from_here), outcome(&answer, &from_there)), ("failed", "remediated"));
        assert_eq!(scene.aws.world().trails[&from_there].kms_key_id, Some(key));
    }
}

#[test]
fn a_key_that_hangs_in_one_region_keeps_no_trail_from_the_key_of_another() {
    let mut world = account();
    let key = with_sealing_key(&mut world, THERE);
    let here = world.add_trail(trail("here", HERE));
    let crossing = world.add_trail(Trail::new("crossing", HERE, &format!("logs-{THERE}")));
    let there = world.add_trail(trail("there", THERE));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.service == "kms" && call.operation == "CreateKey").then(silence));
    let answer = sweep_within(&mut scene, Duration::from_secs(8));
    let told = [&here, &crossing, &there].map(|arn| outcome(&answer, arn));
    assert_eq!(told, ["failed", "remediated", "remediated"]);
    let world = scene.aws.snapshot();
    assert_eq!([&crossing, &there].map(|arn| world.trails[arn].kms_key_id.clone()), [Some(key.clone()), Some(key)]);
}

#[test]
fn a_trail_that_cannot_be_started_in_time_keeps_no_other_from_its_key() {
    let mut world = account();
    let [key, sealed_with] = [THERE, HERE].map(|region| with_sealing_key(&mut world, region));
    let stopped = world.add_trail(trail("stopped", HERE).encrypted_with(&sealed_with).stopped(1_780_000_500));
    let plain = world.add_trail(trail("plain", THERE));
    let mut scene = Setting::new(world).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    scene.aws.before(|call, _| (call.operation == "StartLogging").then(silence));
    let answer = sweep_within(&mut scene, Duration::from_secs(8));
    assert_eq!((outcome(&answer, &stopped), outcome(&answer, &plain)), ("failed", "remediated"));
    assert_eq!(scene.aws.world().trails[&plain].kms_key_id, Some(key));
}

#[test]
fn who_gives_a_trail_a_key_while_a_sweep_waits_for_another_region_keeps_it() {
    let mut world = account();
    for region in [HERE, THERE] {
        with_sealing_key(&mut world, region);
    }
    let theirs = world.key(Key::new(THERE).policy(&sealing_policy()));
    let slow = world.add_trail(trail("slow", HERE));
    let overtaken = world.add_trail(trail("overtaken", THERE));
    let mut scene = Scene::enforcing(world);
    let (arn, key) = (overtaken.clone(), theirs.clone());
    let mut hung = false;
    scene.aws.before(move |call, world| {
        if hung || (call.operation.as_str(), call.region.as_str()) != ("GetBucketPolicy", HERE) {
            return None;
        }
        hung = true;
        world.trails.get_mut(&arn).unwrap().kms_key_id = Some(key.clone());
        Some(Fault::Hang(Duration::from_secs(3)))
    });
    let answer = sweep_within(&mut scene, Duration::from_secs(30));
    assert_eq!((outcome(&answer, &slow), outcome(&answer, &overtaken)), ("remediated", "compliant"));
    assert_eq!(scene.aws.world().trails[&overtaken].kms_key_id, Some(theirs));
}

#[test]
fn an_organizations_trail_in_a_region_that_is_closed_to_the_account_is_no_failure_of_ours() {
    let mut world = account();
    let arn = world.add_trail(trail("organization", THERE).multi_region().organization("999999999999"));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(Fault::access_denied));
    let answer = scene.answer(&json!({ "sweep": {} }));
    assert_eq!(outcome(&answer, &arn), "out-of-scope");
    let detail = answer["trails"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("belongs to account `999999999999`") && detail.contains("cannot be seen"), "{detail}");
    assert_eq!((&answer["warnings"], scene.aws.world().published.len()), (&json!([]), 0));
}

#[test]
fn a_stray_is_told_once_where_an_event_concerns_several_trails() {
    let mut world = account();
    let theirs = world.key(Key::new(HERE).policy(&sealing_policy()).state(KeyState::PendingDeletion));
    for name in ["one", "two", "three"] {
        world.add_trail(trail(name, HERE).encrypted_with(&theirs));
    }
    let mut scene = Scene::enforcing(world);
    let mut raced = false;
    scene.aws.before(move |call, world| {
        if call.operation == "CreateAlias" && !std::mem::replace(&mut raced, true) {
            with_sealing_key(world, HERE);
        }
        None
    });
    let mut event = event("schedule-key-deletion");
    event["detail"]["requestParameters"]["keyId"] = json!(theirs);
    event["detail"]["resources"] = json!([{ "ARN": theirs }]);
    let answer = scene.answer(&event);
    assert_eq!((&answer["summary"], &answer["alerts"]["sent"]), (&json!({ "remediated": 3 }), &json!(3)));
    let command = answer["strays"][0]["command"].as_str().unwrap();
    let published = scene.aws.snapshot().published;
    let told = published.iter().map(|alert| alert.message.contains(command));
    assert_eq!(told.collect::<Vec<_>>(), [true, false, false]);
}

/// An account with a trail that is well, and a key of ours that no trail uses.
fn with_a_stray() -> (World, String) {
    let mut world = account();
    let key = with_sealing_key(&mut world, HERE);
    world.add_trail(trail("well", HERE).encrypted_with(&key));
    let stray = world.key(Key::new(HERE).policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    (world, stray)
}

#[test]
fn a_key_that_only_a_trail_that_cannot_be_read_may_use_is_told_of_and_not_to_be_deleted_yet() {
    let (mut world, perhaps) = with_a_stray();
    let closed = world.add_trail(trail("closed", THERE).encrypted_with(&perhaps));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(Fault::access_denied));
    let answer = scene.answer(&json!({ "sweep": {} }));
    assert_eq!((outcome(&answer, &closed), &answer["strays"]), ("failed", &json!([])));
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[0]["id"]), (1, &json!("key-unreadable")), "{warnings:#?}");
    let detail = warnings[0]["detail"].as_str().unwrap();
    for part in [&perhaps, "do not delete it yet", "read the trails of `us-east-1`", "cloudtrail:DescribeTrails"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let message = scene.only_alert().message;
    assert!(message.contains(detail) && !message.contains("schedule-key-deletion"), "{message}");
}

#[test]
fn a_stray_is_reported_although_another_accounts_trail_cannot_be_read() {
    let (mut world, stray) = with_a_stray();
    let theirs = world.add_trail(trail("organization", THERE).multi_region().organization("999999999999"));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.service == "cloudtrail" && call.region == THERE).then(Fault::access_denied));
    let answer = scene.answer(&json!({ "sweep": {} }));
    assert_eq!(outcome(&answer, &theirs), "out-of-scope");
    assert_eq!((&answer["strays"][0]["key_arn"], &answer["warnings"]), (&json!(stray), &json!([])));
    assert!(scene.only_alert().message.contains("schedule-key-deletion"));
}

#[test]
fn that_strays_may_not_be_looked_for_is_told_once_for_all_regions() {
    let (mut world, _) = with_a_stray();
    let key = with_sealing_key(&mut world, THERE);
    world.add_trail(trail("there", THERE).encrypted_with(&key));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "GetResources").then(Fault::access_denied));
    let answer = scene.answer(&json!({ "sweep": {} }));
    assert_eq!((&answer["summary"], &answer["strays"]), (&json!({ "compliant": 2 }), &json!([])));
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[0]["id"]), (1, &json!("key-unreadable")), "{warnings:#?}");
    let detail = warnings[0]["detail"].as_str().unwrap();
    for part in ["`eu-west-1`, `us-east-1`", "allow `tag:GetResources`"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert!(scene.only_alert().message.contains(detail));
    scene.aws.forget_hooks();
    scene.aws.before(|call, _| (call.operation == "GetResources" && call.region == THERE).then(Fault::throttled));
    let answer = sweep_within(&mut scene, Duration::from_secs(9));
    assert_eq!(
        (&answer["warnings"], answer["strays"].as_array().unwrap().len()),
        (&json!([]), 1),
        "what passes is seen by the next"
    );
}

#[test]
fn a_key_of_ours_that_may_not_be_read_is_told_of() {
    let (world, unread) = with_a_stray();
    let mut scene = Scene::enforcing(world);
    let key = json!(unread);
    scene.aws.before(move |call, _| (call.input["KeyId"] == key).then(Fault::access_denied));
    let answer = scene.answer(&json!({ "sweep": {} }));
    assert_eq!((&answer["warnings"][0]["id"], &answer["strays"]), (&json!("key-unreadable"), &json!([])));
    let detail = answer["warnings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(&unread) && detail.contains("do not delete it yet"), "{detail}");
}

#[test]
fn sweeps_at_the_same_time_of_day_do_not_all_begin_with_the_same_trail() {
    let mut world = account();
    with_sealing_key(&mut world, HERE);
    let names = ["one", "two"];
    let arns = names.map(|name| world.add_trail(trail(name, HERE)));
    let mut scene = Scene::enforcing(world);
    let mut begun = Vec::new();
    for _ in 0..6 {
        // An even second, as every schedule's is.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        std::thread::sleep(
            Duration::from_secs(2 - now.as_secs() % 2) - Duration::from_nanos(now.subsec_nanos().into()),
        );
        assert_eq!(sweep_within(&mut scene, Duration::from_secs(10))["summary"], json!({ "remediated": 2 }));
        let calls = scene.aws.calls();
        let first = calls.iter().find(|call| call.operation == "UpdateTrail").unwrap();
        begun.push(first.input["Name"].as_str().unwrap().to_owned());
        scene.aws.forget_calls();
        arns.iter().for_each(|arn| scene.aws.world().trails.get_mut(arn).unwrap().kms_key_id = None);
    }
    assert!(arns.iter().all(|arn| begun.contains(arn)), "{begun:#?}");
}

#[test]
fn a_trail_that_somebody_else_is_changing_waits_behind_the_others_of_its_region() {
    let mut world = account();
    let key = with_sealing_key(&mut world, HERE);
    let arns = ["one", "two", "three"].map(|name| world.add_trail(trail(name, HERE)));
    let mut scene = Scene::enforcing(world);
    // Whichever comes first is the one.
    let mut busy: Option<Value> = None;
    scene.aws.before(move |call, world| {
        let others_wait = world.trails.values().filter(|trail| trail.kms_key_id.is_none()).count() > 1;
        let refused = call.operation == "UpdateTrail"
            && *busy.get_or_insert_with(|| call.input["Name"].clone()) == call.input["Name"];
        (refused && others_wait).then(|| Fault::error(400, "ConflictException", "try again"))
    });
    let answer = sweep_within(&mut scene, Duration::from_secs(20));
    assert_eq!(answer["summary"], json!({ "remediated": 3 }), "{answer:#}");
    assert!(arns.iter().all(|arn| scene.aws.world().trails[arn].kms_key_id.as_ref() == Some(&key)));
    let calls = scene.aws.calls();
    let tried: Vec<_> =
        calls.iter().filter(|call| call.operation == "UpdateTrail").map(|call| &call.input["Name"]).collect();
    assert_eq!(tried.len(), 4, "{tried:#?}");
    assert_eq!((tried[0], tried.iter().filter(|name| **name == tried[0]).count()), (tried[3], 2), "{tried:#?}");
}

#[test]
fn a_trail_whose_turn_does_not_come_in_time_is_said_not_to_have_been_changed() {
    let mut world = account();
    let key = with_sealing_key(&mut world, HERE);
    // More of them could not even be looked at in time: ten reads a second.
    for name in ["one", "two", "three", "four"] {
        world.add_trail(trail(name, HERE));
    }
    let mut scene = Scene::enforcing(world);
    let answer = sweep_within(&mut scene, Duration::from_millis(2800));
    let (mut sealed, mut waiting) = (0, 0);
    for trail in answer["trails"].as_array().unwrap() {
        let (arn, step) = (trail["trail_arn"].as_str().unwrap(), &trail["steps"][0]);
        let has = scene.aws.world().trails[arn].kms_key_id.clone();
        if trail["outcome"] == "remediated" {
            assert_eq!(has, Some(key.clone()));
            sealed += 1;
            continue;
        }
        let said = (&trail["outcome"], &trail["error"]["class"], &step["step"], &step["status"], has);
        assert_eq!(said, (&json!("failed"), &json!("transient"), &json!("update-trail"), &json!("planned"), None));
        let message = trail["error"]["message"].as_str().unwrap();
        assert!(message.ends_with("the invocation's time ran out before it was its turn"), "{message}");
        waiting += 1;
    }
    let sent = scene.aws.calls().iter().filter(|call| call.operation == "UpdateTrail").count();
    assert!(sent == sealed && sealed > 0 && waiting > 0, "{sent} sent, {sealed} sealed, {waiting} waiting");
}

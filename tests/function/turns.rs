//! Many calls and changes wait for their turn: none waits for what has nothing to do with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fake_aws::{Bucket, Fault, Trail, World};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Scene, with_sealing_key};
use crate::sweep_trouble::{HERE, THERE, account, silence, sweep_within, trail};

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
        scene.aws.clear_calls();
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

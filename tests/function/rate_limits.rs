//! Calls wait for the rate and for a permit, and never for an unrelated Region or trail.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fake_aws::{Bucket, Fault, Trail, World};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Scenario, add_sealing_key};
use crate::sweep_failures::{HERE, THERE, account, hang, sweep_within, trail};

#[test]
fn unresponsive_regions_do_not_starve_another() {
    let mut world = account();
    let key = add_sealing_key(&mut world, THERE);
    let silent = ["ap-south-1", "eu-central-1", "eu-north-1", "eu-west-2", "eu-west-3", "sa-east-1"];
    for region in silent {
        for name in ["one", "two", "three", "four", "five"] {
            world.add_trail(Trail::new(name, region, "logs-us-east-1"));
        }
    }
    let plain = world.add_trail(trail("plain", THERE));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(move |call, _| {
        (call.operation == "GetTrailStatus" && silent.contains(&call.region.as_str())).then(hang)
    });
    let answer = sweep_within(&mut scenario, Duration::from_secs(12));
    assert_eq!(answer["summary"], json!({ "failed": 30, "remediated": 1 }), "{answer:#}");
    assert_eq!(scenario.aws.world().trails[&plain].kms_key_id, Some(key));
}

#[test]
fn trails_with_one_missing_key_share_the_second_read() {
    let mut world = account();
    let key = add_sealing_key(&mut world, HERE);
    let missing = format!("arn:aws:kms:{HERE}:{ACCOUNT}:key/00000000-0000-4000-8000-00000000dead");
    let homes = ["eu-central-1", "eu-north-1", HERE, "eu-west-2", THERE];
    for region in homes {
        for name in ["one", "two", "three", "four", "five"] {
            world.add_trail(Trail::new(name, region, "logs-eu-west-1").encrypted_with(&missing));
        }
    }
    let mut scenario = Scenario::enforce(world);
    let answer = sweep_within(&mut scenario, Duration::from_secs(150));
    assert_eq!(answer["summary"], json!({ "remediated": 25 }), "{answer:#}");
    assert!(scenario.aws.world().trails.values().all(|trail| trail.kms_key_id.as_ref() == Some(&key)));
    let reads = scenario.aws.calls().iter().filter(|call| call.input["KeyId"] == json!(missing)).count();
    assert_eq!(reads, 6, "DescribeKey, GetKeyPolicy and ListResourceTags, twice each");
}

#[test]
fn at_most_28_calls_run_concurrently() {
    let mut world = World::new(ACCOUNT).topic("alerts", HERE);
    world.rate_limits = true;
    let areas = ["ap-south", "ap-east", "ca-west", "eu-north", "eu-south", "eu-west", "sa-east", "us-east"];
    for region in areas.iter().flat_map(|area| (1..=4).map(move |number| format!("{area}-{number}"))) {
        let bucket = format!("logs-{region}");
        world.add_bucket(Bucket::new(&bucket, &region));
        add_sealing_key(&mut world, &region);
        for name in ["one", "two", "three"] {
            world.add_trail(Trail::new(name, &region, &bucket));
        }
    }
    let mut scenario = Scenario::enforce(world);
    scenario.aws.set_latency(Duration::from_millis(50));
    let answer = sweep_within(&mut scenario, Duration::from_secs(60));
    assert_eq!(answer["summary"], json!({ "remediated": 96 }), "{answer:#}");
    let calls = scenario.aws.calls();
    let mut changes: Vec<_> = calls.iter().flat_map(|call| [(call.started, 1), (call.ended, -1)]).collect();
    changes.sort();
    let concurrent = changes.iter().scan(0, |concurrent, (_, change)| {
        *concurrent += change;
        Some(*concurrent)
    });
    assert_eq!(concurrent.max(), Some(28));
    assert!(calls.iter().all(|call| call.error.as_deref() != Some("ThrottlingException")));
}

#[test]
fn sweeps_start_with_different_trails() {
    let mut world = account();
    add_sealing_key(&mut world, HERE);
    let names = ["one", "two"];
    let arns = names.map(|name| world.add_trail(trail(name, HERE)));
    let mut scenario = Scenario::enforce(world);
    let mut first_updated = Vec::new();
    for _ in 0..6 {
        // An even second, as every schedule's is.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        std::thread::sleep(
            Duration::from_secs(2 - now.as_secs() % 2) - Duration::from_nanos(now.subsec_nanos().into()),
        );
        assert_eq!(sweep_within(&mut scenario, Duration::from_secs(10))["summary"], json!({ "remediated": 2 }));
        let calls = scenario.aws.calls();
        let first = calls.iter().find(|call| call.operation == "UpdateTrail").unwrap();
        first_updated.push(first.input["Name"].as_str().unwrap().to_owned());
        scenario.aws.clear_calls();
        arns.iter().for_each(|arn| scenario.aws.world().trails.get_mut(arn).unwrap().kms_key_id = None);
    }
    assert!(arns.iter().all(|arn| first_updated.contains(arn)), "{first_updated:#?}");
}

#[test]
fn a_trail_with_a_conflict_waits_behind_the_others() {
    let mut world = account();
    let key = add_sealing_key(&mut world, HERE);
    let arns = ["one", "two", "three"].map(|name| world.add_trail(trail(name, HERE)));
    let mut scenario = Scenario::enforce(world);
    // The first trail that is updated.
    let mut busy: Option<Value> = None;
    scenario.aws.before(move |call, world| {
        let others_wait = world.trails.values().filter(|trail| trail.kms_key_id.is_none()).count() > 1;
        let refused = call.operation == "UpdateTrail"
            && *busy.get_or_insert_with(|| call.input["Name"].clone()) == call.input["Name"];
        (refused && others_wait).then(|| Fault::error(400, "ConflictException", "try again"))
    });
    let answer = sweep_within(&mut scenario, Duration::from_secs(20));
    assert_eq!(answer["summary"], json!({ "remediated": 3 }), "{answer:#}");
    assert!(arns.iter().all(|arn| scenario.aws.world().trails[arn].kms_key_id.as_ref() == Some(&key)));
    let calls = scenario.aws.calls();
    let tried: Vec<_> =
        calls.iter().filter(|call| call.operation == "UpdateTrail").map(|call| &call.input["Name"]).collect();
    assert_eq!(tried.len(), 4, "{tried:#?}");
    assert_eq!((tried[0], tried.iter().filter(|name| **name == tried[0]).count()), (tried[3], 2), "{tried:#?}");
}

#[test]
fn an_update_that_is_not_sent_in_time_is_planned() {
    let mut world = account();
    let key = add_sealing_key(&mut world, HERE);
    // The rate of ten reads per second leaves no time for more of them.
    for name in ["one", "two", "three", "four"] {
        world.add_trail(trail(name, HERE));
    }
    let mut scenario = Scenario::enforce(world);
    let answer = sweep_within(&mut scenario, Duration::from_millis(2800));
    let (mut sealed, mut waiting) = (0, 0);
    for trail in answer["trails"].as_array().unwrap() {
        let (arn, step) = (trail["trail_arn"].as_str().unwrap(), &trail["steps"][0]);
        let has = scenario.aws.world().trails[arn].kms_key_id.clone();
        if trail["outcome"] == "remediated" {
            assert_eq!(has, Some(key.clone()));
            sealed += 1;
            continue;
        }
        let said = (&trail["outcome"], &trail["error"]["class"], &step["step"], &step["status"], has);
        assert_eq!(said, (&json!("failed"), &json!("transient"), &json!("update-trail"), &json!("planned"), None));
        let message = trail["error"]["message"].as_str().unwrap();
        assert!(message.ends_with("the invocation's time ran out before the request was sent"), "{message}");
        waiting += 1;
    }
    let sent = scenario.aws.calls().iter().filter(|call| call.operation == "UpdateTrail").count();
    assert!(sent == sealed && sealed > 0 && waiting > 0, "{sent} sent, {sealed} sealed, {waiting} waiting");
}

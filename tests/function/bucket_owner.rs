//! The account that owns the bucket: found after a 403, and locked out by a key that allows no other account.

use std::time::Duration;

use fake_aws::{Bucket, Fault, World};
use serde_json::json;

use crate::bucket_access::{only_warning, warnings, with_bucket};
use crate::support::{Scenario, account, add_sealing_key, count_calls, inject, writes};

/// The bucket of another account, to which S3 returns 403, or 405 if its policy allows the role.
fn archive(method_not_allowed: bool) -> World {
    with_bucket(|bucket| Bucket { method_not_allowed, ..bucket.of_account("210987654321") })
}

/// The account's own bucket, whose policy the role may not read.
fn own_unreadable() -> World {
    with_bucket(|mut bucket| {
        bucket.denied.insert("s3:GetBucketPolicy".into());
        bucket
    })
}

fn held(world: World) -> Scenario {
    Scenario::builder(world).env("TRAILSEAL_READERS_LOCKED_OUT", "hold").start()
}

#[test]
fn a_bucket_that_s3_does_not_list_is_another_accounts() {
    for method_not_allowed in [false, true] {
        let mut scenario = Scenario::enforce(archive(method_not_allowed));
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        let warnings = warnings(&answer);
        let ids: Vec<&str> = warnings.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, ["readers-locked-out", "bucket-policy-unreadable", "replication-unreadable"]);
        assert!(warnings[0].1.starts_with("the account that owns bucket `audit-logs` could not decrypt"));
        assert!(warnings[1].1.starts_with("another account owns bucket `audit-logs`"), "{warnings:#?}");
        // A 405 shows the owner without a further call.
        assert_eq!(count_calls(&scenario, "ListBuckets"), usize::from(!method_not_allowed));
    }
}

#[test]
fn the_owner_is_looked_up_in_the_buckets_region_only_after_a_403() {
    let mut scenario = Scenario::enforce(archive(false));
    scenario.invoke_event("update-trail-by-name");
    let calls = scenario.aws.calls();
    let list = calls.iter().find(|call| call.operation == "ListBuckets").unwrap();
    assert_eq!(list.region, "eu-central-1");
    assert_eq!(list.input, json!({ "Prefix": "audit-logs", "MaxBuckets": "1000" }));
    // It is sent in the round of GetKeyPolicy, so that the trail is encrypted no later.
    let mut world = archive(false);
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario.aws.set_latency(Duration::from_millis(250));
    scenario.invoke_event("update-trail-by-name");
    let calls = scenario.aws.calls();
    let update = calls.iter().position(|call| call.operation == "UpdateTrail").unwrap();
    assert_eq!((calls.len(), fake_aws::rounds(&calls[..=update])), (12, 5), "{:#?}", scenario.aws.names());
    for world in [account(), with_bucket(Bucket::without_policy), with_bucket(|bucket| bucket.policy("{}"))] {
        let mut scenario = Scenario::enforce(world);
        scenario.invoke_event("update-trail-by-name");
        assert_eq!(count_calls(&scenario, "ListBuckets"), 0);
    }
}

#[test]
fn hold_does_not_lock_out_the_owner_of_an_unlisted_bucket() {
    // Buckets of the account whose names begin with the bucket's do not count.
    let mut world = archive(false);
    for name in ["audit", "audit-logs-2", "audit-logsa"] {
        world.add_bucket(Bucket::new(name, "eu-central-1"));
    }
    let mut scenario = held(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    let error = &answer["trails"][0]["error"];
    assert!(error["message"].as_str().unwrap().contains("the account that owns bucket `audit-logs`"), "{error:#}");
    assert!(error["remedy"].as_str().unwrap().starts_with("add that account to `LogReaders`"), "{error:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert!(scenario.aws.world().keys.is_empty() && scenario.audit().kms_key_id.is_none());
}

#[test]
fn an_own_bucket_is_found_on_any_page() {
    let mut scenario = held(own_unreadable());
    // The fake returns the last page.
    let page = |name: &str, token: &str| {
        let body = format!(
            "<ListAllMyBucketsResult><Buckets><Bucket><Name>{name}</Name></Bucket></Buckets>{token}</ListAllMyBucketsResult>"
        );
        Some(Fault::Raw { status: 200, body })
    };
    scenario.aws.before(move |call, _| match (call.operation.as_str(), call.input["ContinuationToken"].as_str()) {
        ("ListBuckets", None) => page("audit-logs-1", "<ContinuationToken>1</ContinuationToken>"),
        ("ListBuckets", Some("1")) => page("audit-logs-2", "<ContinuationToken>2</ContinuationToken>"),
        _ => None,
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let detail = only_warning(&answer, "bucket-policy-unreadable");
    assert!(detail.contains("allow `s3:GetBucketPolicy` for the role that runs trailseal"), "{detail}");
    assert_eq!(count_calls(&scenario, "ListBuckets"), 3);
    scenario.aws.clear_hooks();
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn an_unknown_owner_blocks_nothing_and_names_the_permission() {
    let denied = || Fault::error(403, "AccessDenied", "not authorized to perform: s3:ListAllMyBuckets");
    let malformed = |body: &str| Fault::Raw { status: 200, body: body.to_owned() };
    let unnamed = "<ListAllMyBucketsResult><Buckets><Bucket/></Buckets></ListAllMyBucketsResult>";
    for (fault, text) in [
        (denied(), "allow `s3:ListAllMyBuckets` for the role that runs trailseal"),
        (Fault::Raw { status: 403, body: String::new() }, "allow `s3:ListAllMyBuckets`"),
        (malformed("<ListAllMyBucketsResult/>"), "returned no `Buckets`"),
        (malformed(unnamed), "returned no `Name`"),
        (Fault::error(405, "MethodNotAllowed", "no"), "cannot find out whether this account owns bucket `audit-logs`"),
    ] {
        for world in [archive(false), own_unreadable()] {
            let mut scenario = held(world);
            inject(&scenario, "ListBuckets", usize::MAX, fault.clone());
            let answer = scenario.invoke_event("update-trail-by-name");
            assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{text}: {answer:#}");
            let (id, detail) = warnings(&answer)[0];
            assert!(id == "bucket-policy-unreadable" && detail.contains(text), "{text}: {detail}");
        }
    }
    // Transient errors are retried.
    let mut scenario = held(archive(false));
    inject(&scenario, "ListBuckets", 2, Fault::error(503, "SlowDown", "slow down"));
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "failed": 1 }));
    assert_eq!(count_calls(&scenario, "ListBuckets"), 3);
}

#[test]
fn hold_does_not_lock_out_the_owner_of_the_bucket() {
    let hold = |readers, method_not_allowed| {
        let scenario = Scenario::builder(archive(method_not_allowed)).env("TRAILSEAL_READERS_LOCKED_OUT", "hold");
        scenario.env("TRAILSEAL_LOG_READERS", readers).start()
    };
    for readers in ["", "account", "arn:aws:iam::123456789012:role/auditor"] {
        let mut scenario = hold(readers, true);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{readers}");
        let message = answer["trails"][0]["error"]["message"].as_str().unwrap();
        assert!(message.contains("the account that owns bucket `audit-logs`"), "{message}");
        assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    }
    for readers in ["210987654321", "o-abcdefghij", "arn:aws:iam::333333333333:role/siem"] {
        for method_not_allowed in [false, true] {
            let answer = hold(readers, method_not_allowed).invoke_event("update-trail-by-name");
            assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{readers}");
            let (id, detail) = warnings(&answer)[0];
            assert_eq!(id, "bucket-policy-unreadable");
            let advice = "If the key policy does not allow that account to decrypt, add it to `LogReaders`";
            assert!(detail.contains(advice), "{detail}");
        }
    }
}

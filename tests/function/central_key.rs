//! One key for the trails of many accounts, with the policy that `trailseal key-policy` prints: in the
//! account that archives the logs, beside their bucket.

use fake_aws::{Bucket, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::command::key_policy;
use crate::support::{ACCOUNT, AUDIT, Scene, Setting, account, findings, steps, writes};

const ARCHIVE: &str = "111122223333";
const ORGANIZATION: &str = "o-abcdefghij";
/// As the template names it.
const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal-eu-west-1";

/// For the whole organization.
fn policy() -> String {
    key_policy(&["--account", ARCHIVE, "--organization", ORGANIZATION])
}

/// For another account.
fn policy_without_us() -> String {
    key_policy(&["--account", ARCHIVE, "--accounts", "222233334444"])
}

/// A member of the organization with an unencrypted trail that writes into the archive's bucket, and the
/// archive's key with that policy.
fn member(policy: &str) -> (World, String) {
    let mut world = World::new(ACCOUNT)
        .organization(ORGANIZATION, &[ACCOUNT, ARCHIVE])
        .trail(Trail::new("audit", "eu-west-1", "org-logs").multi_region())
        .topic("alerts", "eu-west-1");
    world.add_bucket(Bucket::new("org-logs", "eu-central-1").of_account(ARCHIVE).with_bucket_key());
    ROLE.clone_into(&mut world.caller_role_arn);
    world.add_principal(ROLE);
    let key = world.key(Key::new("eu-central-1").of_account(ARCHIVE).policy(policy));
    (world, key)
}

/// The same with the trail on the key.
fn sealed_member(policy: &str) -> (World, String) {
    let (mut world, key) = member(policy);
    world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(key.clone());
    (world, key)
}

fn start(world: World, key: &str) -> Scene {
    Setting::new(world).with("TRAILSEAL_ROLE_ARN", ROLE).with("TRAILSEAL_KEY_ARNS", key).start()
}

/// Every warning of the first trail, by id.
fn warnings(answer: &Value) -> Vec<&str> {
    let warnings = answer["trails"][0]["warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning["id"].as_str().unwrap()).collect()
}

fn sorted(mut calls: Vec<String>) -> Vec<String> {
    calls.sort();
    calls
}

#[test]
fn a_members_unencrypted_trail_gets_the_key() {
    let (world, key) = member(&policy());
    let mut scene = start(world, &key);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((findings(&answer), steps(&answer)), (vec!["no-cmk"], vec!["update-trail done".to_owned()]));
    // The archive's bucket is not ours to read either.
    assert_eq!(warnings(&answer), ["key-unreadable", "bucket-policy-unreadable", "replication-unreadable"]);
    let calls = scene.calls();
    assert_eq!(calls[7..], ["cloudtrail:UpdateTrail", "sns:Publish"]);
    assert_eq!(
        sorted(calls)[..],
        [
            "cloudtrail:GetTrail",
            "cloudtrail:GetTrailStatus",
            "cloudtrail:ListTags",
            "cloudtrail:UpdateTrail",
            "kms:DescribeKey",
            "s3:GetBucketPolicy",
            "s3:GetBucketReplication",
            "s3:HeadBucket",
            "sns:Publish",
        ]
    );
    assert_eq!(scene.audit().kms_key_id, Some(key));
    assert_eq!(scene.aws.world().check_delivery(AUDIT), Ok(()));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn an_account_outside_the_organization_that_is_named_gets_it_too() {
    let named = key_policy(&["--account", ARCHIVE, "--organization", "o-bbbbbbbbbb", "--accounts", ACCOUNT]);
    let (world, key) = member(&named);
    let mut scene = start(world, &key);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(warned(&answer, "key-unreadable").contains("the policy of key"), "its state was seen: {answer:#}");
    assert_eq!(scene.aws.world().check_delivery(AUDIT), Ok(()));
    scene.again_nothing_happens("update-trail-by-name");
}

fn warned<'a>(answer: &'a Value, id: &str) -> &'a str {
    let warnings = answer["trails"][0]["warnings"].as_array().unwrap();
    warnings.iter().find(|warning| warning["id"] == id).unwrap()["detail"].as_str().unwrap()
}

#[test]
fn a_members_trail_on_the_key_is_compliant_and_only_the_policy_is_not_known() {
    let (world, key) = sealed_member(&policy());
    let mut scene = start(world, &key);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    assert_eq!(warnings(&answer), ["key-unreadable"]);
    let detail = warned(&answer, "key-unreadable");
    assert!(
        detail.ends_with("belongs to account `111122223333`, and KMS tells a key's policy to its own account only")
    );
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
    assert_eq!(sorted(scene.calls()), ["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus", "kms:DescribeKey"]);
}

#[test]
fn a_member_sees_that_the_key_was_disabled_and_says_how_to_enable_it() {
    for (state, command) in [
        (KeyState::Disabled, "aws kms enable-key --region eu-central-1 --key-id "),
        (KeyState::PendingDeletion, "aws kms cancel-key-deletion --region eu-central-1 --key-id "),
    ] {
        for ((mut world, key), finding) in [
            (member(&policy()), "no-cmk"),
            (
                sealed_member(&policy()),
                if state == KeyState::Disabled { "key-disabled" } else { "key-pending-deletion" },
            ),
        ] {
            world.keys.get_mut(&key).unwrap().state = state;
            let before = world.clone();
            let mut scene = start(world, &key);
            let answer = scene.event("update-trail-by-name");
            assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
            assert_eq!((findings(&answer), warnings(&answer)), (vec![finding], vec![]));
            let error = &answer["trails"][0]["error"];
            assert_eq!(error["class"], "terminal");
            assert!(error["message"].as_str().unwrap().contains("named by `TRAILSEAL_KEY_ARNS`, cannot be used"));
            let remedy = error["remedy"].as_str().unwrap();
            assert!(remedy.contains(&format!("{command}{key}")), "{remedy}");
            assert!(scene.only_alert().message.contains(remedy));
            assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
            let after = scene.aws.snapshot();
            assert_eq!((after.trails, after.keys), (before.trails, before.keys));
        }
    }
}

#[test]
fn a_policy_that_does_not_let_the_member_in_is_refused_by_cloudtrail_and_the_statements_to_add_are_named() {
    for (policy, organization) in [(policy_without_us(), ORGANIZATION), (policy(), "o-bbbbbbbbbb")] {
        let (world, key) = member(&policy);
        let world = world.organization(organization, &[ACCOUNT]);
        let before = world.trails.clone();
        let mut scene = start(world, &key);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
        assert_eq!(steps(&answer), ["update-trail failed"]);
        assert!(warned(&answer, "key-unreadable").contains("not authorized to perform: kms:DescribeKey"));
        let error = &answer["trails"][0]["error"];
        assert_eq!(error["class"], "terminal");
        assert_eq!(error["operation"], "cloudtrail:UpdateTrail");
        assert_eq!(error["code"], "InsufficientEncryptionPolicyException");
        let remedy = error["remedy"].as_str().unwrap();
        assert!(remedy.starts_with(&format!("add these statements to the policy of key `{key}`: [")), "{remedy}");
        for sid in ["CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys"] {
            assert!(remedy.contains(&format!(r#""Sid":"{sid}""#)), "{sid}: {remedy}");
        }
        assert!(remedy.contains("arn:aws:cloudtrail:*:123456789012:trail/*"), "{remedy}");
        assert_eq!(writes(&scene.aws.calls()), ["cloudtrail:UpdateTrail", "sns:Publish"]);
        assert_eq!(scene.aws.world().trails, before);
    }
}

#[test]
fn a_member_that_is_let_in_no_longer_is_told_by_its_failing_deliveries() {
    let (mut world, key) = sealed_member(&policy_without_us());
    assert!(world.check_delivery(AUDIT).is_err());
    world.trails.get_mut(AUDIT).unwrap().latest_delivery_error = Some("AccessDenied".into());
    let mut scene = start(world, &key);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }), "{answer:#}");
    assert_eq!((findings(&answer), warnings(&answer)), (vec!["delivery-failing"], vec!["key-unreadable"]));
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}

/// The account that the key is in; its own trail writes into its own bucket.
fn archive(key: Key) -> (World, String) {
    let mut world = account().organization(ORGANIZATION, &[ACCOUNT]);
    let policy = key_policy(&["--account", ACCOUNT, "--organization", ORGANIZATION]);
    let key = world.key(key.policy(&policy));
    (world, key)
}

#[test]
fn in_the_keys_own_account_the_policy_is_judged_with_certainty() {
    let (world, key) = archive(Key::new("eu-central-1"));
    let before = world.keys.clone();
    let mut scene = Setting::new(world).with("TRAILSEAL_KEY_ARNS", &key).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((steps(&answer), warnings(&answer)), (vec!["update-trail done".to_owned()], vec![]));
    let answer = scene.event("update-trail-by-name");
    assert_eq!((&answer["summary"], warnings(&answer)), (&json!({ "compliant": 1 }), vec![]));
    assert_eq!(scene.aws.world().keys, before, "it is nobody's but its owner's");
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_sweep_in_the_keys_own_account_never_takes_it_for_left_over_whatever_its_tags_say() {
    // No trail of this account uses it, and the members' cannot be seen from here.
    for key in [Key::new("eu-west-1"), Key::new("eu-west-1").tag("managed-by", "trailseal")] {
        let (world, key) = archive(key);
        let mut scene = Setting::new(world).dry_run().with("TRAILSEAL_KEY_ARNS", &key).start();
        let answer = scene.answer(&json!({ "sweep": {} }));
        assert!(scene.aws.names().contains(&"tagging:GetResources".to_owned()));
        assert_eq!((&answer["strays"], &answer["warnings"]), (&json!([]), &json!([])), "{answer:#}");
    }
}

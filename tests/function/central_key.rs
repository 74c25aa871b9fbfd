//! One key for the trails of many accounts, with the policy that `trailseal key-policy` prints. The key is in the account that
//! archives the logs, next to their bucket.

use fake_aws::{Bucket, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, AUDIT, Scenario, account, findings, steps, writes};

const ARCHIVE: &str = "111122223333";
const ORGANIZATION: &str = "o-abcdefghij";
/// As the template names it.
const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal-eu-west-1";

/// What `trailseal key-policy` prints in its own tests: for `ARCHIVE` and the whole organization.
const POLICY: &str = include_str!("../../crates/cli/tests/cmd/organization.stdout");
/// For `ARCHIVE` and an account other than ours.
const POLICY_WITHOUT_US: &str = include_str!("../../crates/cli/tests/cmd/other-account.stdout");
/// For `ARCHIVE`, another organization, and our account.
const POLICY_NAMING_US: &str = include_str!("../../crates/cli/tests/cmd/named-account.stdout");
/// For our account and its organization.
const POLICY_OF_OUR_KEY: &str = include_str!("../../crates/cli/tests/cmd/own-organization.stdout");

/// A member account of the organization, whose unencrypted trail delivers to the archive's bucket, and the archive's key with
/// that policy.
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

/// The same, with the trail encrypted by that key.
fn sealed_member(policy: &str) -> (World, String) {
    let (mut world, key) = member(policy);
    world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(key.clone());
    (world, key)
}

fn start(world: World, key: &str) -> Scenario {
    Scenario::builder(world).env("TRAILSEAL_ROLE_ARN", ROLE).env("TRAILSEAL_KEY_ARNS", key).start()
}

/// The ids of the first trail's warnings.
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
    let (world, key) = member(POLICY);
    let mut scenario = start(world, &key);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((findings(&answer), steps(&answer)), (vec!["no-cmk"], vec!["update-trail done".to_owned()]));
    // Another account's bucket cannot be read either.
    assert_eq!(warnings(&answer), ["key-unreadable", "bucket-policy-unreadable", "replication-unreadable"]);
    let calls = scenario.take_calls();
    assert_eq!(calls[8..], ["cloudtrail:UpdateTrail", "sns:Publish"]);
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
            "s3:ListBuckets",
            "sns:Publish",
        ]
    );
    assert_eq!(scenario.audit().kms_key_id, Some(key));
    assert_eq!(scenario.aws.world().check_delivery(AUDIT), Ok(()));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn an_account_named_by_id_gets_the_key_too() {
    let (world, key) = member(POLICY_NAMING_US);
    let mut scenario = start(world, &key);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(warned(&answer, "key-unreadable").contains("the policy of key"), "its state was read: {answer:#}");
    assert_eq!(scenario.aws.world().check_delivery(AUDIT), Ok(()));
    scenario.assert_converged("update-trail-by-name");
}

fn warned<'a>(answer: &'a Value, id: &str) -> &'a str {
    let warnings = answer["trails"][0]["warnings"].as_array().unwrap();
    warnings.iter().find(|warning| warning["id"] == id).unwrap()["detail"].as_str().unwrap()
}

#[test]
fn a_members_trail_on_the_key_is_compliant() {
    let (world, key) = sealed_member(POLICY);
    let mut scenario = start(world, &key);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    assert_eq!(warnings(&answer), ["key-unreadable"]);
    let detail = warned(&answer, "key-unreadable");
    assert!(
        detail
            .contains("belongs to account `111122223333`, and KMS returns a key policy to the key's own account only")
    );
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
    assert_eq!(sorted(scenario.take_calls()), ["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus", "kms:DescribeKey"]);
}

#[test]
fn a_member_reports_how_to_enable_a_disabled_key() {
    for (state, command) in [
        (KeyState::Disabled, "aws kms enable-key --region eu-central-1 --key-id "),
        (KeyState::PendingDeletion, "aws kms cancel-key-deletion --region eu-central-1 --key-id "),
    ] {
        for ((mut world, key), finding) in [
            (member(POLICY), "no-cmk"),
            (sealed_member(POLICY), if state == KeyState::Disabled { "key-disabled" } else { "key-pending-deletion" }),
        ] {
            world.keys.get_mut(&key).unwrap().state = state;
            let before = world.clone();
            let mut scenario = start(world, &key);
            let answer = scenario.invoke_event("update-trail-by-name");
            assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
            assert_eq!((findings(&answer), warnings(&answer)), (vec![finding], vec![]));
            let error = &answer["trails"][0]["error"];
            assert_eq!(error["class"], "terminal");
            assert!(
                error["message"].as_str().unwrap().contains("set in `KeyArns` (`TRAILSEAL_KEY_ARNS`), cannot be used")
            );
            let remedy = error["remedy"].as_str().unwrap();
            assert!(remedy.contains(&format!("{command}{key}")), "{remedy}");
            assert!(scenario.only_alert().message.contains(remedy));
            assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
            let after = scenario.aws.snapshot();
            assert_eq!((after.trails, after.keys), (before.trails, before.keys));
        }
    }
}

#[test]
fn a_policy_without_the_member_fails_with_the_statements() {
    for (policy, organization) in [(POLICY_WITHOUT_US, ORGANIZATION), (POLICY, "o-bbbbbbbbbb")] {
        let (world, key) = member(policy);
        let world = world.organization(organization, &[ACCOUNT]);
        let before = world.trails.clone();
        let mut scenario = start(world, &key);
        let answer = scenario.invoke_event("update-trail-by-name");
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
        assert_eq!(writes(&scenario.aws.calls()), ["cloudtrail:UpdateTrail", "sns:Publish"]);
        assert_eq!(scenario.aws.world().trails, before);
    }
}

#[test]
fn a_member_removed_from_the_policy_is_noted_on_failure() {
    let (mut world, key) = sealed_member(POLICY_WITHOUT_US);
    assert!(world.check_delivery(AUDIT).is_err());
    world.trails.get_mut(AUDIT).unwrap().latest_delivery_error = Some("AccessDenied".into());
    let mut scenario = start(world, &key);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }), "{answer:#}");
    assert_eq!((findings(&answer), warnings(&answer)), (vec!["delivery-failing"], vec!["key-unreadable"]));
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

/// The account that owns the key. Its trail delivers to its own bucket.
fn archive(key: Key) -> (World, String) {
    let mut world = account().organization(ORGANIZATION, &[ACCOUNT]);
    let key = world.key(key.policy(POLICY_OF_OUR_KEY));
    (world, key)
}

#[test]
fn the_keys_own_account_evaluates_the_policy_with_certainty() {
    let (world, key) = archive(Key::new("eu-central-1"));
    let before = world.keys.clone();
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &key).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((steps(&answer), warnings(&answer)), (vec!["update-trail done".to_owned()], vec![]));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], warnings(&answer)), (&json!({ "compliant": 1 }), vec![]));
    assert_eq!(scenario.aws.world().keys, before, "a key of another owner is never edited");
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_sweep_never_reports_the_key_as_a_stray() {
    // No trail of this account uses it, and the members' trails are not visible here.
    for key in [Key::new("eu-west-1"), Key::new("eu-west-1").tag("managed-by", "trailseal")] {
        let (world, key) = archive(key);
        let mut scenario = Scenario::builder(world).dry_run().env("TRAILSEAL_KEY_ARNS", &key).start();
        let answer = scenario.invoke(&json!({ "sweep": {} }));
        assert!(scenario.aws.names().contains(&"tagging:GetResources".to_owned()));
        assert_eq!((&answer["strays"], &answer["warnings"]), (&json!([]), &json!([])), "{answer:#}");
    }
}

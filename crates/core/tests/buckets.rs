//! What a trail's settings mean for its bucket: which files CloudTrail must be able to write with the new key.
#![expect(clippy::unwrap_used, reason = "a test")]

use trailseal_core::context::Context;
use trailseal_core::finding::{Warning, WarningId};
use trailseal_core::iam::Document;
use trailseal_core::journal::Journal;
use trailseal_core::observation::{BucketOwner, KeptSettings, KeyState, Reading};
use trailseal_core::plan::{Disposition, Obstacle, TrailPlan};

#[expect(dead_code, reason = "each test uses some of it")]
mod scenario;

use scenario::{Account, Scenario, context, denied, key, new_key, region};

const HERE: &str = "eu-west-1";

/// A bucket policy that lets CloudTrail write to this folder only.
fn writes_to(folder: &str) -> String {
    let acl = r#"{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"*"}"#;
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{acl},{{"Effect":"Allow","Principal":{{"Service":"cloudtrail.amazonaws.com"}},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-{HERE}/{folder}"}}]}}"#
    )
}

fn planned(context: &Context, policy: &str, settings: impl Fn(&mut KeptSettings)) -> TrailPlan {
    let mut scenario = Scenario::new("audit", HERE, HERE);
    settings(&mut scenario.facts.settings.kept);
    scenario.bucket.policy = Reading::Known(Document::parse(policy));
    let mut journal = Journal::default();
    Account::new([scenario]).begin_pass(context, &mut journal);
    journal.plans().first().unwrap().trails.values().next().unwrap().clone()
}

fn is_allowed(policy: &str, settings: impl Fn(&mut KeptSettings)) -> bool {
    let plan = planned(&context(&[]), policy, settings);
    plan.disposition == Disposition::Remediate && plan.warnings.is_empty()
}

/// A bucket policy that lets CloudTrail write, but into this folder only without a KMS key.
fn no_key_in(folder: &str) -> String {
    let deny = format!(
        r#"{{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-{HERE}/{folder}","Condition":{{"StringNotEquals":{{"s3:x-amz-server-side-encryption":"AES256"}}}}}}"#
    );
    writes_to("*").replace(r#""Statement":["#, &format!(r#""Statement":[{deny},"#))
}

#[test]
fn digests_are_written_unless_they_are_off() {
    let policy = no_key_in("AWSLogs/123456789012/CloudTrail-Digest/*");
    assert!(!is_allowed(&policy, |settings| settings.log_file_validation = Some(true)));
    assert!(!is_allowed(&policy, |_| {}), "unknown");
    assert!(is_allowed(&policy, |settings| settings.log_file_validation = Some(false)));
}

#[test]
fn a_trail_of_one_region_writes_to_one_folder() {
    let one = |settings: &mut KeptSettings, multi_region| {
        (settings.log_file_validation, settings.multi_region) = (Some(false), multi_region);
    };
    let policy = no_key_in("AWSLogs/123456789012/CloudTrail/us-east-1/*");
    assert!(is_allowed(&policy, |settings| one(settings, Some(false))));
    assert!(!is_allowed(&policy, |settings| one(settings, Some(true))));
    assert!(!is_allowed(&policy, |settings| one(settings, None)), "unknown");
}

#[test]
fn an_organization_trail_writes_to_its_folder() {
    let own = writes_to("AWSLogs/123456789012/*");
    let all = writes_to("*");
    assert!(is_allowed(&own, |settings| settings.organization_trail = Some(false)));
    assert!(!is_allowed(&own, |settings| settings.organization_trail = Some(true)));
    assert!(is_allowed(&all, |settings| settings.organization_trail = Some(true)));
    // The configuration tells which folder is the organization's.
    let folders =
        writes_to("AWSLogs/o-abcdefghij/*").replace("/o-abcdefghij/*\"", "/o-abcdefghij/*\",\"arn:aws:s3:::x\"");
    let folders = folders.replace("\"arn:aws:s3:::logs-eu-west-1/AWSLogs", "[\"arn:aws:s3:::logs-eu-west-1/AWSLogs");
    let folders = folders.replace("\"arn:aws:s3:::x\"", "\"arn:aws:s3:::logs-eu-west-1/AWSLogs/123456789012/*\"]");
    let disposition = |id: &str| {
        let context = context(&[("TRAILSEAL_ORGANIZATION_ID", id)]);
        planned(&context, &folders, |settings| settings.organization_trail = Some(true)).disposition
    };
    assert_eq!(disposition("o-abcdefghij"), Disposition::Remediate);
    assert!(matches!(disposition("o-zzzzzzzzzz"), Disposition::Failed(Obstacle::BucketNotAllowed { .. })));
}

#[test]
fn the_owner_of_the_bucket_is_a_fact_only_if_it_was_read() {
    let statement = r#""Action":"s3:PutObject","Condition":{"StringEquals":{"aws:ResourceAccount":"210987654321"}},"#;
    let policy = writes_to("*").replace(r#""Action":"s3:PutObject","#, statement);
    let plan = planned(&context(&[]), &policy, |_| {});
    assert!(
        matches!(plan.disposition, Disposition::Failed(Obstacle::BucketNotAllowed { .. })),
        "{:#?}",
        plan.disposition
    );
    let mut scenario = Scenario::new("audit", HERE, HERE);
    scenario.bucket.policy = Reading::Known(Document::parse(&policy));
    scenario.bucket.owner = BucketOwner::Another;
    let mut journal = Journal::default();
    Account::new([scenario]).begin_pass(&context(&[]), &mut journal);
    let plan = journal.plans().first().unwrap().trails.values().next().unwrap().clone();
    let ids: Vec<WarningId> = plan.warnings.iter().map(Warning::id).collect();
    assert_eq!((plan.disposition, ids), (Disposition::Remediate, vec![WarningId::BucketPolicyUnreadable]));
}

#[test]
fn unreadable_tags_are_part_of_the_obstacle_where_they_matter() {
    let obstacle = |state: KeyState| {
        let mut sealing_key = key(&new_key(&region(HERE)), &context(&[]));
        sealing_key.metadata.state = state;
        sealing_key.tags = Err(denied("kms:ListResourceTags", "read the tags of the key"));
        let mut journal = Journal::default();
        let account = Account::new([Scenario::new("audit", HERE, HERE)]).with_sealing_key(sealing_key);
        account.begin_pass(&context(&[]), &mut journal);
        match journal.plans().first().unwrap().trails.values().next().unwrap().disposition.clone() {
            Disposition::Failed(Obstacle::SealingKeyUnusable(unusable)) => unusable.unreadable_tags.is_some(),
            other => panic!("{other:?}"),
        }
    };
    assert!(obstacle(KeyState::Disabled) && obstacle(KeyState::PendingDeletion), "trailseal would restore its key");
    assert!(!obstacle(KeyState::Unavailable("Unavailable".to_owned())), "only the owner can make it usable");
}

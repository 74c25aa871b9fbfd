//! The alerts about a trail, by its outcome.

use trailseal_core::failure::Failure;
use trailseal_core::journal::{Effect, StepResult};
use trailseal_core::observation::{KeyMetadata, KeyObservation, KeyState, KeyTags, Reading, SettingChange};
use trailseal_core::plan::StepName;
use trailseal_core::trigger::Origin;

use super::scenario::{Account, Scenario, bucket_policy, candidates, denied, done, key, region, unanswered};
use super::{
    ACCOUNT_ONLY, DRY_RUN, HERE, Run, assert_alerts, audit, context, except, except_denied, foreign_key, key_policy,
    replicated, stopped, tagged, unreadable_bucket, with_id, with_reader,
};

#[test]
fn planned_new_key() {
    let account = Account::new([replicated(with_reader(audit()))]);
    assert_alerts("planned_new_key", Run::new(context(&[DRY_RUN]), &account, done).alerts());
}

#[test]
fn planned_existing_key() {
    let context = context(&[DRY_RUN]);
    let account = Account::new([audit()]).with_sealing_key(key(&with_id(1), &context));
    assert_alerts("planned_existing_key", Run::new(context, &account, done).alerts());
}

#[test]
fn planned_supplied_key() {
    let context = context(&[DRY_RUN, ("TRAILSEAL_KEY_ARNS", with_id(7).as_str())]);
    let account = Account::new([with_reader(audit())]).with_sealing_key(foreign_key(&context));
    assert_alerts("planned_supplied_key", Run::new(context, &account, done).alerts());
}

#[test]
fn planned_adopted_key() {
    let context = context(&[DRY_RUN]);
    let mut account = Account::new([unreadable_bucket(audit())]);
    account.candidates.get_mut(&region(HERE)).unwrap().tagged = Ok(vec![tagged(key(&with_id(1), &context))]);
    assert_alerts("planned_adopted_key", Run::new(context, &account, done).alerts());
}

/// A policy with a statement that names a deleted user, which KMS rejects.
const DELETED_USER: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"},{"Sid":"Auditor","Effect":"Allow","Principal":{"AWS":"AIDACKCEVSQ6C2EXAMPLE"},"Action":"kms:Decrypt","Resource":"*"}]}"#;

#[test]
fn planned_repaired_key() {
    let context = context(&[DRY_RUN]);
    let mut broken = key_policy(key(&with_id(1), &context), DELETED_USER);
    broken.metadata.state = KeyState::Disabled;
    let account = Account::new([audit().with_key(broken.clone())]).with_sealing_key(broken);
    assert_alerts("planned_repaired_key", Run::new(context, &account, done).alerts());
}

#[test]
fn remediated_with_unusual_effects() {
    let context = context(&[]);
    let mut broken = key_policy(key(&with_id(1), &context), ACCOUNT_ONLY);
    broken.metadata.state = KeyState::PendingDeletion;
    let failure = denied("kms:DescribeKey", &format!("read key `{}`", with_id(1)));
    let account = Account::new([audit()]).with_sealing_key(broken);
    let run = Run::new(context, &account, |step| match step.name() {
        StepName::RestoreKey => StepResult::Done(Effect::Unverified(failure.clone())),
        StepName::ExtendKeyPolicy => StepResult::Done(Effect::AppliedThenChanged),
        StepName::UpdateTrail => StepResult::Done(Effect::ReadBack(vec![])),
        _ => done(step),
    });
    assert_alerts("remediated_with_unusual_effects", run.alerts());
}

#[test]
fn remediated_new_key() {
    let readers = "arn:aws:iam::210987654321:role/siem,account";
    let context = context(&[("TRAILSEAL_LOG_READERS", readers)]);
    assert_alerts("remediated_new_key", Run::new(context, &Account::new([with_reader(audit())]), done).alerts());
}

#[test]
fn remediated_two_trails_share_one_key() {
    let account = Account::new([audit(), Scenario::new("security", HERE, HERE)]);
    assert_alerts("remediated_two_trails", Run::new(context(&[]), &account, done).alerts());
}

#[test]
fn remediated_restored_key() {
    let context = context(&[]);
    let mut deleted = key(&with_id(1), &context);
    deleted.metadata.state = KeyState::PendingDeletion;
    let account = Account::new([audit().with_key(deleted.clone())]).with_sealing_key(deleted);
    assert_alerts("remediated_restored_key", Run::new(context, &account, done).alerts());
}

#[test]
fn remediated_other_key_pending_deletion() {
    let context = context(&[]);
    let mut deleted = foreign_key(&context);
    deleted.metadata.state = KeyState::PendingDeletion;
    let account = Account::new([audit().with_key(deleted)]).with_sealing_key(key(&with_id(1), &context));
    assert_alerts("remediated_other_key_pending_deletion", Run::new(context, &account, done).alerts());
}

#[test]
fn remediated_extended_policy() {
    let before = key(&with_id(1), &context(&[]));
    let account = Account::new([audit().with_key(before.clone())]).with_sealing_key(before);
    let context = context(&[("TRAILSEAL_LOG_READERS", "arn:aws:iam::210987654321:role/siem")]);
    assert_alerts("remediated_extended_policy", Run::new(context, &account, done).alerts());
}

#[test]
fn remediated_rotation() {
    let context = context(&[]);
    let key = KeyObservation { rotation: Some(Ok(false)), ..key(&with_id(1), &context) };
    let trails = ["audit", "second"].map(|name| Scenario::new(name, HERE, HERE).with_key(key.clone()));
    let account = Account::new(trails).with_sealing_key(key);
    assert_alerts("remediated_rotation", Run::new(context, &account, done).alerts());
}

#[test]
fn rotation_that_was_read_back_says_so_and_names_the_key() {
    let context = context(&[]);
    let key = KeyObservation { rotation: Some(Ok(false)), ..key(&with_id(1), &context) };
    let account = Account::new([audit().with_key(key.clone())]).with_sealing_key(key);
    let read_back = except(StepName::EnableRotation, StepResult::Done(Effect::ReadBack(vec![])));
    let alerts = Run::new(context, &account, read_back).alerts();
    let expected =
        format!("- enable-rotation (done): yearly rotation of `{}` (the call failed; read back)\n", with_id(1));
    assert!(alerts.iter().any(|alert| alert.message.contains(&expected)), "{alerts:?}");
}

#[test]
fn remediated_restarted_logging() {
    let context = context(&[("TRAILSEAL_RESTART_LOGGING", "true")]);
    let account = Account::new([stopped(audit().with_key(foreign_key(&context)))]);
    assert_alerts("remediated_restarted_logging", Run::new(context, &account, done).alerts());
}

#[test]
fn noted_policy_gap() {
    let context = context(&[]);
    let account = Account::new([audit().with_key(key_policy(foreign_key(&context), ACCOUNT_ONLY))]);
    assert_alerts("noted_policy_gap", Run::new(context, &account, done).alerts());
}

#[test]
fn noted_key_store_disconnected() {
    let context = context(&[]);
    let mut key = foreign_key(&context);
    key.metadata = KeyMetadata {
        origin: Some("EXTERNAL_KEY_STORE".into()),
        key_store: Some("cks-1234567890abcdef0".into()),
        state: KeyState::Unavailable("Unavailable".into()),
        ..key.metadata
    };
    assert_alerts(
        "noted_key_store_disconnected",
        Run::new(context, &Account::new([audit().with_key(key)]), done).alerts(),
    );
}

#[test]
fn noted_logging_stopped() {
    let context = context(&[]);
    let account = Account::new([stopped(audit().with_key(foreign_key(&context)))]);
    assert_alerts("noted_logging_stopped", Run::new(context, &account, done).alerts());
}

#[test]
fn noted_delivery_failing() {
    let context = context(&[]);
    let mut scenario = audit().with_key(foreign_key(&context));
    scenario.facts.status.delivery_error = Some("NoSuchBucket".into());
    scenario.facts.status.digest_error = Some("AccessDenied".into());
    assert_alerts("noted_delivery_failing", Run::new(context, &Account::new([scenario]), done).alerts());
}

#[test]
fn failed_access_denied() {
    let result = except_denied(StepName::CreateKey, "kms:CreateKey", "create a key in `eu-west-1`");
    assert_alerts("failed_access_denied", Run::new(context(&[]), &Account::new([audit()]), result).alerts());
}

#[test]
fn failed_bucket_policy_denies() {
    let deny = r#"{"Sid":"OnlySseS3","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-eu-west-1/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}"#;
    let mut scenario = audit();
    scenario.bucket.policy = bucket_policy(&[deny]);
    assert_alerts("failed_bucket_policy_denies", Run::new(context(&[]), &Account::new([scenario]), done).alerts());
}

#[test]
fn failed_bucket_policy_absent() {
    let mut scenario = audit();
    scenario.bucket.policy = Reading::Absent;
    assert_alerts("failed_bucket_policy_absent", Run::new(context(&[]), &Account::new([scenario]), done).alerts());
}

#[test]
fn failed_readers_held() {
    let context = context(&[DRY_RUN, ("TRAILSEAL_READERS_LOCKED_OUT", "hold")]);
    assert_alerts("failed_readers_held", Run::new(context, &Account::new([with_reader(audit())]), done).alerts());
}

#[test]
fn failed_supplied_key_disabled() {
    let context = context(&[("TRAILSEAL_KEY_ARNS", with_id(7).as_str())]);
    let mut disabled = foreign_key(&context);
    disabled.metadata.state = KeyState::Disabled;
    let account = Account::new([audit()]).with_sealing_key(disabled);
    assert_alerts("failed_supplied_key_disabled", Run::new(context, &account, done).alerts());
}

#[test]
fn failed_supplied_key_denies_cloudtrail() {
    let context = context(&[("TRAILSEAL_KEY_ARNS", with_id(7).as_str())]);
    let account = Account::new([audit()]).with_sealing_key(key_policy(foreign_key(&context), ACCOUNT_ONLY));
    assert_alerts("failed_supplied_key_denies_cloudtrail", Run::new(context, &account, done).alerts());
}

#[test]
fn failed_supplied_key_missing() {
    let context = context(&[("TRAILSEAL_KEY_ARNS", with_id(7).as_str())]);
    assert_alerts("failed_supplied_key_missing", Run::new(context, &Account::new([audit()]), done).alerts());
}

#[test]
fn failed_exempt_sealing_key() {
    let context = context(&[]);
    let mut exempt = key(&with_id(1), &context);
    exempt.metadata.state = KeyState::Disabled;
    exempt.tags = Ok(KeyTags { managed_by_trailseal: true, exempt: Some("under investigation".into()) });
    let account = Account::new([audit().with_key(exempt.clone())]).with_sealing_key(exempt);
    assert_alerts("failed_exempt_sealing_key", Run::new(context, &account, done).alerts());
}

#[test]
fn failed_policy_extension() {
    let before = key(&with_id(1), &context(&[]));
    let account = Account::new([audit().with_key(before.clone())]).with_sealing_key(before);
    let result = except_denied(
        StepName::ExtendKeyPolicy,
        "kms:PutKeyPolicy",
        &format!("write the policy of key `{}`", with_id(1)),
    );
    let context = context(&[("TRAILSEAL_LOG_READERS", "arn:aws:iam::210987654321:role/siem")]);
    assert_alerts("failed_policy_extension", Run::new(context, &account, result).alerts());
}

#[test]
fn failed_update_refused() {
    let context = context(&[("TRAILSEAL_KEY_ARNS", with_id(7).as_str())]);
    let mut account = Account::new([audit()]);
    let failure = denied("kms:DescribeKey", &format!("read key `{}`", with_id(7)));
    account.candidates.insert(region(HERE), candidates(Reading::Denied(failure)));
    let message = "cannot assign key `arn:aws:kms:eu-west-1:123456789012:key/00000007-0000-4000-8000-000000000000` to trail `arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit`: InsufficientEncryptionPolicyException: Insufficient permissions to access S3 bucket logs-eu-west-1 or KMS key";
    let failure = Failure {
        operation: Some("cloudtrail:UpdateTrail"),
        code: Some("InsufficientEncryptionPolicyException".into()),
        ..Failure::terminal(message, "")
    };
    let result = except(StepName::UpdateTrail, StepResult::Failed(failure));
    assert_alerts("failed_update_refused", Run::new(context, &account, result).alerts());
}

#[test]
fn failed_and_not_logging() {
    let result = except_denied(StepName::CreateKey, "kms:CreateKey", "create a key in `eu-west-1`");
    let run = Run::new(context(&[]), &Account::new([stopped(audit())]), result);
    assert_alerts("failed_and_not_logging", run.alerts());
}

#[test]
fn failed_rotation() {
    let result = except_denied(StepName::EnableRotation, "kms:EnableKeyRotation", "enable the rotation of the new key");
    assert_alerts("failed_rotation", Run::new(context(&[]), &Account::new([audit()]), result).alerts());
}

#[test]
fn failed_settings_changed() {
    let change = |name, before: &str, after: Option<&str>| SettingChange {
        name,
        before: Some(before.into()),
        after: after.map(Into::into),
    };
    let changes = vec![
        change("SnsTopicARN", "arn:aws:sns:eu-west-1:123456789012:trails", None),
        change("IsMultiRegionTrail", "true", Some("false")),
    ];
    let result = except(StepName::UpdateTrail, StepResult::Done(Effect::Updated(changes)));
    let context = context(&[]);
    let account = Account::new([audit()]).with_sealing_key(key(&with_id(1), &context));
    assert_alerts("failed_settings_changed", Run::new(context, &account, result).alerts());
}

#[test]
fn failed_trail_has_another_key() {
    let result = except(StepName::UpdateTrail, StepResult::OtherKey(with_id(9).to_string()));
    let context = context(&[]);
    let account = Account::new([audit()]).with_sealing_key(key(&with_id(1), &context));
    assert_alerts("failed_trail_has_another_key", Run::new(context, &account, result).alerts());
}

#[test]
fn a_transient_failure_has_no_alert() {
    let failure = Failure { outcome_unknown: false, ..unanswered("kms:CreateAlias", "create the alias") };
    let result = except(StepName::CreateAlias, StepResult::Failed(failure));
    assert_eq!(Run::new(context(&[]), &Account::new([audit()]), result).alerts(), []);
}

#[test]
fn a_compliant_or_exempt_trail_has_no_alert() {
    let context = context(&[]);
    let mut exempt = audit();
    exempt.exempt_tag = Ok(Some("managed by the organization".into()));
    let compliant = Scenario::new("healthy", HERE, HERE).with_key(foreign_key(&context));
    assert_eq!(Run::new(context, &Account::new([exempt, compliant]), done).alerts(), []);
}

#[test]
fn out_of_scope_unencrypted() {
    let mut scenario = audit();
    scenario.facts.settings.arn = "arn:aws:cloudtrail:eu-west-1:999999999999:trail/organization".parse().unwrap();
    let run = Run::new(context(&[]), &Account::new([scenario]), done);
    assert_alerts("out_of_scope_unencrypted", run.alerts());
}

#[test]
fn topic_of_another_account() {
    let topic = ("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:999999999999:alerts");
    let run = Run::new(context(&[topic]), &Account::new([audit()]), done);
    assert_alerts("topic_of_another_account", run.alerts());
}

#[test]
fn chatbot_format() {
    let mut run = Run::new(context(&[("TRAILSEAL_ALERT_FORMAT", "chatbot")]), &Account::new([audit()]), done);
    run.origin.user_agent = Some("<!channel> [a link](https://example.com)".into());
    assert_alerts("chatbot_format", run.alerts());
}

#[test]
fn request_by_hand() {
    let mut run = Run::new(context(&[DRY_RUN]), &Account::new([audit()]), done);
    run.origin = Origin { kind: "request".into(), ..Origin::default() };
    assert_alerts("request_by_hand", run.alerts());
}

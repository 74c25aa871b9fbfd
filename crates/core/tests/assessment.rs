//! What the assessment of a trail's own key reports: warnings, and when a finding about it requires a change.
#![expect(clippy::unwrap_used, reason = "a test")]

use trailseal_core::assess::{Assessment, KeyNeed, Verdict, assess};
use trailseal_core::context::Context;
use trailseal_core::finding::{Finding, FindingId, Warning, WarningId};
use trailseal_core::iam::Document;
use trailseal_core::ids::KeyArn;
use trailseal_core::observation::{Expiry, KeyManager, KeyObservation, KeyState, KeyTags, Reading, TrailFacts};

#[expect(dead_code, reason = "each test uses some of it")]
mod scenario;

use scenario::{Scenario, context, denied, key, new_key, region};

const ACCOUNT_ONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}"#;
/// Allows CloudTrail all but `kms:Decrypt`.
const NO_DECRYPT: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"CloudTrail","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*"}]}"#;
const NO_DESCRIBE: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"CloudTrail","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["kms:GenerateDataKey*","kms:Decrypt"],"Resource":"*"}]}"#;

fn arn() -> KeyArn {
    new_key(&region("eu-west-1"))
}

/// A key of another principal.
fn foreign() -> KeyObservation {
    KeyObservation { tags: Ok(KeyTags::default()), ..key(&arn(), &context(&[])) }
}

fn with_policy(key: KeyObservation, policy: &str) -> KeyObservation {
    KeyObservation { policy: Some(Reading::Known(Document::parse(policy))), ..key }
}

fn in_state(mut key: KeyObservation, state: KeyState) -> KeyObservation {
    key.metadata.state = state;
    key
}

fn unreadable_tags(key: KeyObservation) -> KeyObservation {
    KeyObservation { tags: Err(denied("kms:ListResourceTags", "read the tags of the key")), ..key }
}

fn trail(key: KeyObservation) -> TrailFacts {
    Scenario::new("audit", "eu-west-1", "eu-west-1").with_key(key).facts
}

/// The same, and the last delivery failed with this code.
fn failing(code: &str, key: KeyObservation) -> TrailFacts {
    let mut facts = trail(key);
    facts.status.delivery_error = Some(code.to_owned());
    facts
}

fn ids(warnings: &[Warning]) -> Vec<WarningId> {
    warnings.iter().map(Warning::id).collect()
}

/// The warnings about a trail with this key.
fn warnings(context: &Context, key: KeyObservation) -> Vec<WarningId> {
    ids(&assess(trail(key), context).warnings)
}

/// The findings about a trail, and what they require of a key.
fn findings(facts: TrailFacts) -> (Vec<FindingId>, Option<KeyNeed>) {
    let Assessment { findings, verdict, .. } = assess(facts, &context(&[]));
    let need = match verdict {
        Verdict::Remediate { key, .. } => key,
        _ => None,
    };
    (findings.iter().map(Finding::id).collect(), need)
}

fn repair() -> Option<KeyNeed> {
    Some(KeyNeed::Repair(arn()))
}

#[test]
fn key_material_that_expires_within_30_days_is_a_warning() {
    for (days_left, expected) in [(-1, true), (29, true), (30, false), (31, false)] {
        let mut key = foreign();
        key.metadata.expiry = Some(Expiry { at: "2027-01-31T09:30:00Z".to_owned(), days_left });
        let is_warned = warnings(&context(&[]), key.clone()).contains(&WarningId::KeyMaterialExpires);
        assert_eq!(is_warned, expected, "{days_left}");
        assert_eq!(warnings(&context(&[]), in_state(key, KeyState::Disabled)), [], "the key is replaced");
    }
}

#[test]
fn what_cloudtrail_may_not_need_is_a_warning() {
    let describe = [WarningId::DescribeKeyMissing];
    let decrypt = [WarningId::BucketKeyNeedsDecrypt];
    assert_eq!(warnings(&context(&[]), with_policy(foreign(), NO_DESCRIBE)), describe);
    assert_eq!(warnings(&context(&[]), with_policy(foreign(), NO_DECRYPT)), decrypt);
    assert_eq!(warnings(&context(&[]), in_state(with_policy(foreign(), NO_DECRYPT), KeyState::Disabled)), []);
    assert_eq!(findings(trail(with_policy(foreign(), NO_DECRYPT))), (vec![], None));
}

#[test]
fn an_unreadable_policy_is_a_warning_unless_the_key_is_replaced() {
    for policy in [None, Some(Reading::Absent), Some(Reading::Known(Document::parse("[]")))] {
        let key = KeyObservation { policy, ..foreign() };
        assert_eq!(warnings(&context(&[]), key.clone()).len(), 1);
        assert_eq!(warnings(&context(&[]), in_state(key, KeyState::PendingDeletion)), []);
    }
}

#[test]
fn unreadable_tags_are_a_warning_where_they_matter() {
    let key = |policy| unreadable_tags(with_policy(foreign(), policy));
    let own = context(&[]);
    let incomplete = r#"{"Version":"2012-10-17","Statement":[{"Sid":"CloudTrailEncrypts","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["kms:GenerateDataKey*","kms:DescribeKey","kms:Decrypt"],"Resource":"*"}]}"#;
    let unnamed = &incomplete.replace("CloudTrailEncrypts", "Mine");
    assert_eq!(warnings(&own, key(ACCOUNT_ONLY)), [WarningId::KeyUnreadable], "trailseal would add statements");
    assert_eq!(warnings(&own, key(incomplete)), [WarningId::KeyUnreadable], "it has one of trailseal's statements");
    assert_eq!(warnings(&own, key(unnamed)), [], "nothing of trailseal's is missing");
    assert_eq!(warnings(&own, unreadable_tags(foreign())), [], "the policy is complete");
    assert_eq!(warnings(&own, in_state(key(ACCOUNT_ONLY), KeyState::Disabled)), [], "the key is replaced");

    let supplied = context(&[("TRAILSEAL_KEY_ARNS", arn().as_str())]);
    assert_eq!(warnings(&supplied, key(ACCOUNT_ONLY)), [], "a supplied key is its owner's");
    let mut managed = key(incomplete);
    managed.metadata.manager = KeyManager::Aws;
    assert_eq!(warnings(&own, managed), []);
    let mut of_another = key(incomplete);
    of_another.metadata.arn = "arn:aws:kms:eu-west-1:210987654321:key/1234abcd".parse().unwrap();
    assert_eq!(warnings(&own, of_another), [], "another account's key is not trailseal's");
}

#[test]
fn a_reader_that_is_no_longer_configured_is_a_warning() {
    let before = context(&[("TRAILSEAL_LOG_READERS", "210987654321")]);
    let with_reader = || KeyObservation { tags: Ok(KeyTags::default()), ..key(&arn(), &before) };
    assert_eq!(warnings(&context(&[]), with_reader()), [WarningId::ReaderNotRevoked]);
    assert_eq!(warnings(&before, with_reader()), []);
    let supplied = context(&[("TRAILSEAL_KEY_ARNS", arn().as_str())]);
    assert_eq!(warnings(&supplied, with_reader()), [], "the owner of a supplied key is responsible for its readers");
}

#[test]
fn a_state_or_rotation_that_is_unknown_is_a_warning() {
    let unknown = KeyState::Unknown("Melting".to_owned());
    assert_eq!(warnings(&context(&[]), in_state(foreign(), unknown)), [WarningId::KeyUnreadable]);
    let rotation = Some(Err(denied("kms:GetKeyRotationStatus", "read the rotation")));
    assert_eq!(warnings(&context(&[]), KeyObservation { rotation, ..foreign() }), [WarningId::KeyUnreadable]);
}

#[test]
fn a_name_that_is_no_arn_is_no_missing_key() {
    let mut facts = trail(foreign());
    facts.key = Some(Reading::Absent);
    assert_eq!(findings(facts.clone()), (vec![FindingId::KeyMissing], Some(KeyNeed::SealingKey)));
    facts.settings.kms_key_id = Some("alias/logs".to_owned());
    assert_eq!(findings(facts.clone()), (vec![], None));
    assert_eq!(ids(&assess(facts, &context(&[])).warnings), [WarningId::KeyUnreadable]);
}

#[test]
fn a_key_that_its_owner_must_repair_is_replaced_if_delivery_fails() {
    let offline = || in_state(foreign(), KeyState::Unavailable("Unavailable".to_owned()));
    let unavailable = FindingId::KeyUnavailable;
    assert_eq!(findings(trail(offline())), (vec![unavailable], None));
    let failing_key = findings(failing("KMS.KMSInvalidStateException", offline()));
    assert_eq!(failing_key, (vec![unavailable, FindingId::DeliveryFailing], Some(KeyNeed::SealingKey)));
    let other_cause = findings(failing("NoSuchBucket", offline()));
    assert_eq!(other_cause, (vec![unavailable, FindingId::DeliveryFailing], None));
    let own = in_state(key(&arn(), &context(&[])), KeyState::Unavailable("Creating".to_owned()));
    assert_eq!(findings(trail(own)), (vec![unavailable], Some(KeyNeed::SealingKey)));
}

#[test]
fn a_policy_gap_moves_a_trail_only_where_it_must() {
    let gap = FindingId::KeyPolicyGap;
    let own = key(&arn(), &context(&[]));
    let exempt = KeyObservation {
        tags: Ok(KeyTags { managed_by_trailseal: true, exempt: Some("x".to_owned()) }),
        ..own.clone()
    };
    let with_account = |key| with_policy(key, ACCOUNT_ONLY);
    assert_eq!(findings(trail(with_account(foreign()))), (vec![gap], None));
    assert_eq!(findings(trail(with_account(own.clone()))), (vec![gap], Some(KeyNeed::SealingKey)));
    assert_eq!(findings(trail(with_account(exempt))), (vec![gap], repair()));
    assert_eq!(findings(trail(with_policy(own, NO_DECRYPT))), (vec![gap], repair()));
    let failing_key = findings(failing("AccessDenied", with_policy(foreign(), NO_DECRYPT)));
    assert_eq!(failing_key, (vec![gap, FindingId::DeliveryFailing], Some(KeyNeed::SealingKey)));
}

#[test]
fn rotation_is_trailseals_for_keys_that_kms_can_rotate() {
    let off = |change: &dyn Fn(&mut KeyObservation)| {
        let mut key = KeyObservation { rotation: Some(Ok(false)), ..key(&arn(), &context(&[])) };
        change(&mut key);
        findings(trail(key)).0.contains(&FindingId::KeyRotationOff)
    };
    assert!(off(&|_| {}) && off(&|key| key.metadata.state = KeyState::Disabled));
    assert!(!off(&|key| key.metadata.origin = Some("EXTERNAL".to_owned())));
    assert!(!off(&|key| key.metadata.spec = Some("RSA_2048".to_owned())));
    assert!(!off(&|key| key.metadata.replica = true));
    assert!(!off(&|key| key.metadata.state = KeyState::PendingDeletion));
    assert!(!off(&|key| key.tags = Ok(KeyTags::default())));
    assert!(!off(&|key| key.rotation = Some(Ok(true))));
}

#[test]
fn a_stopped_trail_is_restarted_only_if_configured() {
    let mut facts = trail(foreign());
    facts.status.logging = false;
    let restarting = context(&[("TRAILSEAL_RESTART_LOGGING", "true")]);
    let verdict = |facts: &TrailFacts, context: &Context| assess(facts.clone(), context).verdict;
    assert_eq!(verdict(&facts, &context(&[])), Verdict::Note);
    assert_eq!(verdict(&facts, &restarting), Verdict::Remediate { key: None, restart: true });
    facts.status.ever_started = false;
    assert_eq!(verdict(&facts, &restarting), Verdict::Compliant);
}

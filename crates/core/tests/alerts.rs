//! The alert for each outcome. `tests/alerts` contains one file for each: its subject, its attributes, its message.
//!
//! `INSTA_UPDATE=always cargo test -p trailseal-core --test alerts` writes the files after a wording changed. Read them.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use trailseal_core::access::{DecryptBarrier, KeyAccess, LockedOutReader};
use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::finding::{DeliveryError, Finding, KeyOwner, Warning};
use trailseal_core::iam::{Decision, Document, Reason, StatementId};
use trailseal_core::ids::{KeyArn, TrailArn};
use trailseal_core::journal::{Contradiction, Effect, Journal, StepResult};
use trailseal_core::key_policy::{KeyPolicy, UnrevokedReader};
use trailseal_core::observation::{
    KeyObservation, KeyState, KeyTags, KeyUse, MalformedTrail, Reading, ReplicationRule, SettingChange, StrayScan,
    TaggedKey,
};
use trailseal_core::plan::{Disposition, KeySource, Obstacle, Plan, Step, StepName, TrailPlan, UnusableKey};
use trailseal_core::report::{AccountReport, Alert, Answer, alerts};
use trailseal_core::trigger::{Origin, SWEEP};

mod scenario;

use scenario::{Account, Scenario, candidates, denied, done, execute, key, region, unanswered};

const DRY_RUN: (&str, &str) = ("TRAILSEAL_MODE", "dry-run");
const HERE: &str = "eu-west-1";

/// A configuration in enforce mode with an alert topic, and with these variables on top.
fn context(variables: &[(&str, &str)]) -> Context {
    let topic = ("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts");
    scenario::context(&[variables, &[topic]].concat())
}

/// A run and what it reports.
struct Run {
    context: Context,
    origin: Origin,
    journal: Journal,
    report: AccountReport,
}

impl Run {
    /// One pass, started by an event.
    fn new(context: Context, account: &Account, result: impl Fn(&Step) -> StepResult) -> Self {
        let origin = Origin {
            kind: "CreateTrail".into(),
            event_id: Some("0f3c1d2e-4a5b-6c7d-8e9f-0a1b2c3d4e5f".into()),
            actor: Some("arn:aws:sts::123456789012:assumed-role/Admin/alice".into()),
            user_agent: Some("aws-cli/2.31.0".into()),
            region: Some(region(HERE)),
        };
        let run = Self { context, origin, journal: Journal::default(), report: AccountReport::default() };
        run.again(account, result)
    }

    /// One more pass.
    fn again(mut self, account: &Account, result: impl Fn(&Step) -> StepResult) -> Self {
        account.begin_pass(&self.context, &mut self.journal);
        match self.context.config.mode {
            Mode::DryRun => self.journal.record_planned(),
            Mode::Enforce => execute(&mut self.journal, result),
        }
        self
    }

    /// The same run, started as a sweep that found these.
    fn in_sweep(self, malformed: Vec<MalformedTrail>, scan: &StrayScan) -> Self {
        let origin = Origin { kind: SWEEP.into(), ..Origin::default() };
        let report = AccountReport::new(malformed, scan, &self.journal);
        Self { origin, report, ..self }
    }

    fn alerts(self) -> Vec<Alert> {
        let answer = Answer::compose(&self.context, &self.origin, &self.journal, self.report);
        alerts(&answer, &self.origin, &self.context)
    }
}

/// Compares alerts with the file of this name.
fn assert_alerts(name: &str, alerts: Vec<Alert>) {
    let text = alerts.into_iter().map(|alert| {
        assert!(alert.subject.is_ascii() && alert.subject.len() < 100, "{}", alert.subject);
        let attributes = alert.attributes.iter().map(|(name, value)| format!("{name}={value}"));
        let attributes = attributes.collect::<Vec<String>>().join("\n            ");
        format!("Subject:    {}\nAttributes: {attributes}\n\n{}", alert.subject, alert.message)
    });
    let text = text.collect::<Vec<String>>().join("\n=====\n\n");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("alerts");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Every step is taken but this one.
fn except(name: StepName, result: StepResult) -> impl Fn(&Step) -> StepResult {
    move |step| if step.name() == name { result.clone() } else { done(step) }
}

fn audit() -> Scenario {
    Scenario::new("audit", HERE, HERE)
}

fn with_id(id: u8) -> KeyArn {
    format!("arn:aws:kms:{HERE}:123456789012:key/{id:08}-0000-4000-8000-000000000000").parse().unwrap()
}

/// A usable key of another principal, whose policy allows CloudTrail.
fn foreign_key(context: &Context) -> KeyObservation {
    KeyObservation { tags: Ok(KeyTags::default()), ..key(&with_id(7), context) }
}

fn key_policy(key: KeyObservation, policy: &str) -> KeyObservation {
    KeyObservation { policy: Some(Reading::Known(Document::parse(policy))), ..key }
}

const ACCOUNT_ONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"EnableIAMPolicies","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}"#;

/// The trail's bucket allows a role of another account to read.
fn with_reader(mut scenario: Scenario) -> Scenario {
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Sid":"AWSCloudTrailWrite","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-eu-west-1/AWSLogs/123456789012/*"},
        {"Sid":"SiemReads","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:role/siem"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::logs-eu-west-1/*"}]}"#;
    scenario.bucket.policy = Reading::Known(Document::parse(policy));
    scenario
}

fn replicated(mut scenario: Scenario) -> Scenario {
    scenario.bucket.replication = Reading::Known(vec![ReplicationRule {
        id: Some("to-archive".into()),
        enabled: true,
        prefix: String::new(),
        filters_by_tag: false,
        destination: "arn:aws:s3:::logs-archive".into(),
        replicates_sse_kms: false,
    }]);
    scenario
}

fn stopped(mut scenario: Scenario) -> Scenario {
    scenario.facts.status.logging = false;
    scenario
}

fn unreadable_bucket(mut scenario: Scenario) -> Scenario {
    scenario.bucket.policy =
        Reading::Denied(denied("s3:GetBucketPolicy", "read the policy of bucket `logs-eu-west-1`"));
    scenario.bucket.replication = Reading::Denied(denied(
        "s3:GetBucketReplication",
        "read the replication configuration of bucket `logs-eu-west-1`",
    ));
    scenario
}

fn tagged(key: KeyObservation) -> TaggedKey {
    TaggedKey { key, aliases: vec![], has_grants: false, usage: KeyUse::Unused }
}

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

/// trailseal's policy with a statement that names a deleted user, which KMS rejects.
const DELETED_USER: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Auditor","Effect":"Allow","Principal":{"AWS":"AIDACKCEVSQ6C2EXAMPLE"},"Action":"kms:Decrypt","Resource":"*"}]}"#;

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
    let failure = denied("kms:CreateKey", "create a key in `eu-west-1`");
    let result = except(StepName::CreateKey, StepResult::Failed(failure));
    assert_alerts("failed_access_denied", Run::new(context(&[]), &Account::new([audit()]), result).alerts());
}

#[test]
fn failed_bucket_policy_denies() {
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"OnlySseS3","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs-eu-west-1/*","Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}]}"#;
    let mut scenario = audit();
    scenario.bucket.policy = Reading::Known(Document::parse(policy));
    assert_alerts("failed_bucket_policy_denies", Run::new(context(&[]), &Account::new([scenario]), done).alerts());
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
    let failure = denied("kms:PutKeyPolicy", &format!("write the policy of key `{}`", with_id(1)));
    let result = except(StepName::ExtendKeyPolicy, StepResult::Failed(failure));
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
    let failure = denied("kms:CreateKey", "create a key in `eu-west-1`");
    let result = except(StepName::CreateKey, StepResult::Failed(failure));
    let run = Run::new(context(&[]), &Account::new([stopped(audit())]), result);
    assert_alerts("failed_and_not_logging", run.alerts());
}

#[test]
fn failed_rotation() {
    let failure = denied("kms:EnableKeyRotation", "enable the rotation of the new key");
    let result = except(StepName::EnableRotation, StepResult::Failed(failure));
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
    let result = except(StepName::UpdateTrail, StepResult::OtherKey(Some(with_id(9).to_string())));
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

/// The first pass creates a key, and another invocation creates the alias first.
fn alias_lost(account: &Account) -> Run {
    let exists = StepResult::Contradicted(Contradiction::AliasExists);
    Run::new(context(&[]), account, except(StepName::CreateAlias, exists))
}

#[test]
fn stray_next_to_a_remediated_trail() {
    let account = Account::new([audit()]);
    let run = alias_lost(&account);
    let account = account.with_sealing_key(key(&with_id(1), &run.context));
    assert_alerts("stray_next_to_a_remediated_trail", run.again(&account, done).alerts());
}

#[test]
fn stray_next_to_a_compliant_trail() {
    let run = alias_lost(&Account::new([audit()]));
    let winner = key(&with_id(1), &run.context);
    let account = Account::new([audit().with_key(winner.clone())]).with_sealing_key(winner);
    assert_alerts("stray_next_to_a_compliant_trail", run.again(&account, done).alerts());
}

#[test]
fn stray_unfinished_key() {
    let failure = denied("kms:CreateAlias", "create the alias `alias/trailseal`");
    let result = except(StepName::CreateAlias, StepResult::Failed(failure));
    assert_alerts("stray_unfinished_key", Run::new(context(&[]), &Account::new([audit()]), result).alerts());
}

#[test]
fn key_may_exist() {
    let failure = unanswered("kms:CreateKey", "create a key in `eu-west-1`");
    let result = except(StepName::CreateKey, StepResult::Unconfirmed { failure, sent_at: 1_000 });
    let account = Account::new([audit()]);
    let run = Run::new(context(&[]), &account, &result).again(&account, &result);
    assert_alerts("key_may_exist", run.alerts());
}

/// A failed, a remediated, a noted and a compliant trail.
fn several_trails(context: &Context) -> Account {
    let mut lost = Scenario::new("lost", "us-east-1", "us-east-1");
    let missing = "cannot read the Region of bucket `logs-us-east-1`: NotFound: AWS gives no reason";
    lost.bucket_region =
        Err(Failure::terminal(missing, "check that the bucket exists and name another bucket in the trail"));
    let compliant = Scenario::new("healthy", HERE, HERE).with_key(foreign_key(context));
    let noted = stopped(Scenario::new("stopped", HERE, HERE).with_key(foreign_key(context)));
    Account::new([lost, audit(), noted, compliant])
}

#[test]
fn sweep_digest() {
    let context = context(&[]);
    let account = several_trails(&context);
    let no_keys = denied("tag:GetResources", "search for keys with the tag `managed-by=trailseal` in `eu-central-1`");
    let unreadable = denied("kms:DescribeKey", &format!("read key `{}`", with_id(5)));
    let scan = StrayScan {
        keys: vec![tagged(key(&with_id(3), &context))],
        unreadable_keys: vec![(with_id(5), unreadable)],
        unreadable_regions: [(region("eu-central-1"), no_keys)].into(),
    };
    let malformed = MalformedTrail {
        name: "arn:aws:cloudtrail:eu-west-1:123456789012:trail/a b".into(),
        failure: Failure::terminal(
            "`arn:aws:cloudtrail:eu-west-1:123456789012:trail/a b` is not a trail ARN",
            "check the trail in the CloudTrail console",
        ),
    };
    let run = Run::new(context, &account, done).in_sweep(vec![malformed], &scan);
    assert_alerts("sweep_digest", run.alerts());
}

#[test]
fn sweep_digest_in_dry_run() {
    let context = context(&[DRY_RUN]);
    let account = several_trails(&context);
    let run = Run::new(context, &account, done).in_sweep(vec![], &StrayScan::default());
    assert_alerts("sweep_digest_in_dry_run", run.alerts());
}

#[test]
fn sweep_without_a_logging_trail() {
    let mut scenario = stopped(audit().with_key(foreign_key(&context(&[]))));
    scenario.facts.status.ever_started = false;
    let run = Run::new(context(&[]), &Account::new([scenario]), done);
    assert_alerts("sweep_without_a_logging_trail", run.in_sweep(vec![], &StrayScan::default()).alerts());
}

#[test]
fn sweep_of_compliant_trails_has_no_alert() {
    let context = context(&[]);
    let account = Account::new([audit().with_key(foreign_key(&context))]);
    let run = Run::new(context, &account, done).in_sweep(vec![], &StrayScan::default());
    assert_eq!(run.alerts(), []);
}

#[test]
fn unlisted_trails() {
    let context = context(&[]);
    let origin = Origin { kind: SWEEP.into(), ..Origin::default() };
    let failure = denied("cloudtrail:ListTrails", "list the trails of the account");
    let answer = Answer::unlisted(Mode::Enforce, &origin, failure.clone());
    assert_alerts("unlisted_trails", alerts(&answer, &origin, &context));
    let answer = Answer::unlisted(Mode::Enforce, &origin, Failure { class: Class::Transient, ..failure });
    assert_eq!(alerts(&answer, &origin, &context), []);
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

/// A trail with a plan that no scenario makes.
fn typed(name: &str, disposition: Disposition) -> (TrailArn, TrailPlan) {
    let plan = TrailPlan {
        findings: vec![],
        warnings: vec![],
        current_key: None,
        logging: Some(true),
        disposition,
        sealing_region: None,
        restart: None,
        update: None,
    };
    (format!("arn:aws:cloudtrail:{HERE}:123456789012:trail/{name}").parse().unwrap(), plan)
}

/// The digest about these trails.
fn digest(trails: impl IntoIterator<Item = (TrailArn, TrailPlan)>) -> Vec<Alert> {
    let context = context(&[]);
    let mut journal = Journal::default();
    journal.begin_pass(Plan { trails: trails.into_iter().collect(), ..Plan::default() });
    let origin = Origin { kind: SWEEP.into(), ..Origin::default() };
    alerts(&Answer::compose(&context, &origin, &journal, AccountReport::default()), &origin, &context)
}

fn no_allow() -> Decision {
    Decision::ImplicitDeny(vec![])
}

fn uncertain() -> Decision {
    let statement = Some(StatementId { index: 0, sid: Some("OfficeOnly".into()) });
    Decision::Unknown(vec![Reason { statement, why: "the value of `aws:SourceVpce` is unknown".into() }])
}

fn explicit_deny() -> Decision {
    Decision::ExplicitDeny(StatementId { index: 1, sid: None })
}

fn access(decision: Decision) -> KeyAccess {
    KeyAccess { generate_data_key: decision.clone(), describe_key: decision, decrypt: no_allow() }
}

#[test]
fn every_warning() {
    let key = || with_id(7);
    let bucket = || "logs-eu-west-1".to_owned();
    let failure = || denied("kms:DescribeKey", &format!("read key `{}`", with_id(7)));
    let malformed = || Document::parse("[]").unwrap_err();
    let reader = |reader: &str, certain| LockedOutReader {
        reader: reader.into(),
        statement: StatementId { index: 0, sid: Some("Readers".into()) },
        reads_certainly: true,
        barrier: DecryptBarrier::ImplicitDeny,
        certain,
    };
    let readers = vec![reader("210987654321", true), reader("o-abcdefghij", false)];
    let unrevoked = UnrevokedReader { sid: "LogReadersDecrypt".into(), reader: "o-abcdefghij".into() };
    let rule = ReplicationRule {
        id: None,
        enabled: true,
        prefix: String::new(),
        filters_by_tag: false,
        destination: "arn:aws:s3:::logs-archive".into(),
        replicates_sse_kms: false,
    };
    let warnings = vec![
        Warning::ReadersLockedOut { bucket: bucket(), readers, owner: KeyOwner::Trailseal },
        Warning::BucketPolicyDenied { bucket: bucket(), failure: failure() },
        Warning::BucketPolicyMalformed { bucket: bucket(), error: malformed() },
        Warning::BucketPolicyUnclear { bucket: bucket(), decision: uncertain() },
        Warning::ReplicationWillStop { bucket: bucket(), rule },
        Warning::ReplicationUnreadable { bucket: bucket(), failure: failure() },
        Warning::BucketKeyNeedsDecrypt { key: key(), decision: no_allow() },
        Warning::KeyPolicyUnclear { key: key(), access: access(uncertain()) },
        Warning::KeyPolicyMalformed { key: key(), error: malformed() },
        Warning::KeyPolicyMissing(key()),
        Warning::KeyDenied { key: key().to_string(), failure: failure() },
        Warning::KeyNameUnresolved { key: "alias/logs".into(), region: region(HERE) },
        Warning::KeyPolicyDenied { key: key(), failure: Some(failure()) },
        Warning::KeyPolicyDenied { key: key(), failure: None },
        Warning::KeyTagsDenied { key: key(), failure: failure() },
        Warning::KeyStateUnknown { key: key(), state: "Migrating".into() },
        Warning::StrayUnknown { key: key(), failure: failure(), unused: true },
        Warning::StrayUnknown { key: key(), failure: failure(), unused: false },
        Warning::StraysUnknown { regions: vec![region(HERE), region("us-east-1")], failure: failure() },
        Warning::UnfinishedKeyUnknown { region: region(HERE), failure: failure() },
        Warning::ReaderNotRevoked { key: key(), reader: unrevoked },
        Warning::NoLoggingTrail,
    ];
    let (arn, plan) = typed("audit", Disposition::Note);
    assert_alerts("every_warning", digest([(arn, TrailPlan { warnings, ..plan })]));
}

#[test]
fn every_finding() {
    let key = || with_id(7);
    let delivery_error = |code: &str| DeliveryError { files: "log", code: code.into() };
    let extension = KeyPolicy::new(&context(&[]).config, &context(&[]).function_arn)
        .extension(&Document::parse(ACCOUNT_ONLY).unwrap())
        .unwrap();
    let findings = vec![
        Finding::NoCmk,
        Finding::KeyNotCustomerManaged(key()),
        Finding::KeyNotSymmetric { key: key(), found: "RSA_2048".into() },
        Finding::KeyDisabled(key()),
        Finding::KeyPendingDeletion(key()),
        Finding::KeyUnavailable { key: key(), state: "PendingImport".into() },
        Finding::KeyMissing(key().to_string()),
        Finding::CloudTrailDenied { key: key(), access: access(explicit_deny()), statements: None },
        Finding::CloudTrailDenied { key: key(), access: access(no_allow()), statements: Some("[…]".into()) },
        Finding::PolicyIncomplete { key: key(), extension },
        Finding::LoggingStopped,
        Finding::DeliveryFailing(vec![delivery_error("KMS.DisabledException"), delivery_error("SlowDown")]),
    ];
    let (arn, plan) = typed("audit", Disposition::Note);
    assert_alerts("every_finding", digest([(arn, TrailPlan { findings, ..plan })]));
}

#[test]
fn every_obstacle() {
    let key = || with_id(7);
    let alias = || KeySource::Alias("alias/trailseal".parse().unwrap());
    let audit: TrailArn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
    let unusable = |source, findings, state: Option<&str>, unreadable_tags| {
        let unknown_state = state.map(Into::into);
        Obstacle::SealingKeyUnusable(UnusableKey {
            key: key(),
            source,
            findings,
            unknown_state,
            exempt: None,
            unreadable_tags,
        })
    };
    let key_denied = |decision, owner| Obstacle::SealingKeyDenied {
        key: key(),
        trail: audit.clone(),
        access: access(decision),
        owner,
        statements: "[…]".into(),
    };
    let extension = KeyPolicy::new(&context(&[]).config, &context(&[]).function_arn)
        .extension(&Document::parse(ACCOUNT_ONLY).unwrap())
        .unwrap();
    let tags_denied = denied("kms:ListResourceTags", &format!("read the tags of key `{}`", with_id(7)));
    let not_symmetric = Finding::KeyNotSymmetric { key: key(), found: "RSA_2048".into() };
    let obstacles = [
        unusable(alias(), vec![Finding::KeyPendingDeletion(key())], None, Some(tags_denied)),
        unusable(alias(), vec![not_symmetric.clone()], None, None),
        unusable(KeySource::Supplied, vec![not_symmetric.clone()], None, None),
        unusable(KeySource::Tag, vec![not_symmetric], None, None),
        unusable(KeySource::Supplied, vec![], Some("Migrating"), None),
        key_denied(explicit_deny(), KeyOwner::Another),
        key_denied(no_allow(), KeyOwner::Exempt),
        Obstacle::PolicyTooLong { key: key(), extension },
        Obstacle::BucketDenied {
            bucket: "logs-eu-west-1".into(),
            trail: audit.clone(),
            key: Some(key()),
            placeholder: key(),
            statement: StatementId { index: 0, sid: None },
        },
    ];
    let trails = obstacles.into_iter().enumerate();
    let trails = trails.map(|(number, it)| typed(&format!("obstacle-{number}"), Disposition::Failed(it)));
    assert_alerts("every_obstacle", digest(trails));
}

#[test]
fn every_file_belongs_to_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stale = names.filter_map(|name| Some(name.strip_suffix(".snap")?.to_owned()));
    let stale: Vec<String> = stale.filter(|name| !include_str!("alerts.rs").contains(&format!("\"{name}\""))).collect();
    assert_eq!(stale, [""; 0], "no test writes these");
}

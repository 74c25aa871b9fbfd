//! What an answer reports about a trail: its outcome, its key, its findings, and what failed.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use trailseal_core::context::Context;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::finding::{Finding, FindingId, UnreadTrails, Warning};
use trailseal_core::iam::Document;
use trailseal_core::ids::KeyArn;
use trailseal_core::journal::{Contradiction, Effect, Journal, StepResult, StepStatus};
use trailseal_core::observation::{Expiry, KeyObservation, KeyState, KeyTags, Reading};
use trailseal_core::plan::{Step, StepName};
use trailseal_core::report::{AccountReport, Answer, Outcome, TrailReport, alerts};
use trailseal_core::trigger::Origin;

mod scenario;

use scenario::{Account, Scenario, bucket_policy, context, denied, done, execute, key, region, unanswered};

const HERE: &str = "eu-west-1";
const ACCOUNT_ONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}"#;

fn with_id(id: u8) -> KeyArn {
    format!("arn:aws:kms:{HERE}:123456789012:key/{id:08}-0000-4000-8000-000000000000").parse().unwrap()
}

fn audit() -> Scenario {
    Scenario::new("audit", HERE, HERE)
}

fn own() -> KeyObservation {
    key(&with_id(1), &context(&[]))
}

fn disabled(mut key: KeyObservation) -> KeyObservation {
    key.metadata.state = KeyState::Disabled;
    key
}

fn stripped(key: KeyObservation) -> KeyObservation {
    KeyObservation { policy: Some(Reading::Known(Document::parse(ACCOUNT_ONLY))), ..key }
}

fn with_unreadable_policy(key: KeyObservation) -> KeyObservation {
    KeyObservation { policy: Some(Reading::Denied(denied("kms:GetKeyPolicy", "read the policy of the key"))), ..key }
}

/// A trail that has this key, which also has the alias.
fn sealed_by(key: KeyObservation) -> Account {
    Account::new([audit().with_key(key.clone())]).with_sealing_key(key)
}

/// An account, and what becomes of each step.
type Pass<'a> = (Account, &'a dyn Fn(&Step) -> StepResult);

/// The journal of these passes.
fn run(context: &Context, passes: &[Pass<'_>]) -> Journal {
    let mut journal = Journal::default();
    for (account, result) in passes {
        account.begin_pass(context, &mut journal);
        execute(&mut journal, result);
    }
    journal
}

fn answer(context: &Context, journal: &Journal) -> Answer {
    Answer::compose(context, &Origin::default(), journal, AccountReport::default())
}

fn report(passes: &[Pass<'_>]) -> TrailReport {
    answer(&context(&[]), &run(&context(&[]), passes)).trails.remove(0)
}

fn findings(trail: &TrailReport) -> Vec<FindingId> {
    trail.findings.iter().map(Finding::id).collect()
}

/// Every step has this result if it is this one.
fn except(name: StepName, result: StepResult) -> impl Fn(&Step) -> StepResult {
    move |step| if step.name() == name { result.clone() } else { done(step) }
}

#[test]
fn a_repaired_trail_keeps_the_reason() {
    for (broken, finding) in [(disabled(own()), FindingId::KeyDisabled), (stripped(own()), FindingId::KeyPolicyGap)] {
        let trail = report(&[(sealed_by(broken), &done), (sealed_by(own()), &done)]);
        assert_eq!((trail.outcome, findings(&trail)), (Outcome::Remediated, vec![finding]));
        assert_eq!((trail.key_arn, trail.previous_key_arn), (Some(with_id(1).to_string()), None));
        assert_eq!(trail.error, None);
    }
    let rotation_off = KeyObservation { rotation: Some(Ok(false)), ..own() };
    let trail = report(&[(sealed_by(rotation_off), &done), (sealed_by(own()), &done)]);
    assert_eq!((trail.outcome, findings(&trail)), (Outcome::Remediated, vec![FindingId::KeyRotationOff]));
    let untouched = report(&[(sealed_by(own()), &done), (sealed_by(own()), &done)]);
    assert_eq!((untouched.outcome, findings(&untouched)), (Outcome::Compliant, vec![]));
}

#[test]
fn the_previous_key_is_named_if_it_was_another() {
    let foreign = KeyObservation { tags: Ok(KeyTags::default()), ..key(&with_id(7), &context(&[])) };
    let account = |trail_key| Account::new([audit().with_key(trail_key)]).with_sealing_key(own());
    let moved = report(&[(account(disabled(foreign.clone())), &done)]);
    let names = (moved.key_arn, moved.previous_key_arn);
    assert_eq!(names, (Some(with_id(1).to_string()), Some(with_id(7).to_string())));
    let kept = report(&[(account(foreign), &done)]);
    assert_eq!((kept.key_arn, kept.previous_key_arn), (Some(with_id(7).to_string()), None));
    let new = report(&[(Account::new([audit()]).with_sealing_key(own()), &done)]);
    assert_eq!((new.key_arn, new.previous_key_arn), (Some(with_id(1).to_string()), None));
}

#[test]
fn dry_run_names_the_key_that_a_trail_would_get() {
    let context = context(&[("TRAILSEAL_MODE", "dry-run")]);
    let planned = |account: Account| {
        let mut journal = Journal::default();
        account.begin_pass(&context, &mut journal);
        journal.record_planned();
        answer(&context, &journal).trails.remove(0)
    };
    let existing = planned(Account::new([audit()]).with_sealing_key(own()));
    assert_eq!((existing.outcome, existing.key_arn), (Outcome::Planned, Some(with_id(1).to_string())));
    assert!(existing.new_key_policy.is_none() && existing.policy_change.is_none());
    let new = planned(Account::new([audit()]));
    assert!(new.key_arn.is_none() && new.new_key_policy.is_some());
    let extended = planned(Account::new([audit()]).with_sealing_key(stripped(disabled(own()))));
    assert!(extended.policy_change.is_some_and(|change| !change.extension.added.is_empty()));
    assert_eq!(extended.obstructions, []);
}

#[test]
fn the_key_that_cloudtrail_returned_is_the_trails() {
    let account = || Account::new([audit()]).with_sealing_key(own());
    let other = except(StepName::UpdateTrail, StepResult::OtherKey(with_id(9).to_string()));
    let returned = report(&[(account(), &other)]);
    assert_eq!((returned.outcome, returned.key_arn.clone()), (Outcome::Failed, Some(with_id(9).to_string())));
    assert!(returned.error.unwrap().message.contains(with_id(9).as_str()));
    let mut lost = account();
    lost.scenarios[0].bucket_region = Err(Failure::terminal("no such bucket", "create one"));
    let unplanned = report(&[(account(), &other), (lost, &done)]);
    assert_eq!((unplanned.outcome, unplanned.key_arn), (Outcome::Failed, None), "as the last pass read it");
}

#[test]
fn readers_of_the_account_are_named_if_they_need_permission() {
    let role = "arn:aws:iam::123456789012:role/siem";
    let reads = format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{role}"}},"Action":"s3:GetObject","Resource":"arn:aws:s3:::logs-{HERE}/*"}}"#
    );
    let mut scenario = audit();
    scenario.bucket.policy = bucket_policy(&[&reads]);
    let named = |context: &Context, account: Account| {
        answer(context, &run(context, &[(account, &done)])).trails.remove(0).account_readers
    };
    let new = || Account::new([scenario.clone()]);
    assert_eq!(named(&context(&[]), new()), [role]);
    let open = context(&[("TRAILSEAL_LOG_READERS", "account")]);
    assert_eq!(named(&open, new()), [""; 0], "trailseal's key lets them decrypt");
    let foreign = KeyObservation { tags: Ok(KeyTags::default()), ..key(&with_id(7), &open) };
    assert_eq!(named(&open, new().with_sealing_key(foreign)), [role], "another's key is not trailseal's to open");
}

#[test]
fn a_repair_that_could_not_be_verified_fails() {
    let unverified = StepResult::Done(Effect::Unverified(unanswered("kms:DescribeKey", "read the key")));
    let restored = || except(StepName::RestoreKey, unverified.clone());
    let trail = report(&[(sealed_by(disabled(own())), &restored())]);
    let error = trail.error.unwrap();
    assert!(error.message.contains("was repaired, but it is unknown"), "{}", error.message);
    let later = report(&[(sealed_by(disabled(own())), &restored()), (sealed_by(own()), &done)]);
    assert_eq!((later.outcome, later.error), (Outcome::Remediated, None), "the next pass shows the key");

    let hidden = with_unreadable_policy(own());
    let trail = report(&[(sealed_by(disabled(hidden.clone())), &done), (sealed_by(hidden), &done)]);
    let error = trail.error.unwrap();
    assert!(error.message.contains(with_id(1).as_str()) && error.message.contains("was repaired"), "{error:?}");
    // Another principal gave the trail another key, about which the warning is.
    let other =
        with_unreadable_policy(KeyObservation { tags: Ok(KeyTags::default()), ..key(&with_id(7), &context(&[])) });
    let moved = Account::new([audit().with_key(other)]).with_sealing_key(own());
    let trail = report(&[(sealed_by(disabled(own())), &done), (moved, &done)]);
    assert_eq!((trail.error, trail.warnings.len()), (None, 1));
}

#[test]
fn only_a_failure_of_the_last_pass_counts() {
    let account = || Account::new([audit()]).with_sealing_key(own());
    let denial = |class| StepResult::Failed(Failure { class, ..denied("cloudtrail:UpdateTrail", "assign the key") });
    let failed = except(StepName::UpdateTrail, denial(Class::Transient));
    let then_done = report(&[(account(), &failed), (account(), &done)]);
    assert_eq!((then_done.outcome, then_done.error), (Outcome::Remediated, None));
    let then_failed = report(&[(account(), &done), (account(), &failed)]);
    assert_eq!(then_failed.error.map(|failure| failure.class), Some(Class::Transient));
    let stopped = || {
        let mut scenario = audit();
        scenario.facts.status.logging = false;
        Account::new([scenario]).with_sealing_key(own())
    };
    let context = context(&[("TRAILSEAL_RESTART_LOGGING", "true")]);
    let not_started = except(StepName::StartLogging, denial(Class::Terminal));
    let trail = answer(&context, &run(&context, &[(stopped(), &not_started)])).trails.remove(0);
    let steps: Vec<(StepName, StepStatus)> = trail.steps.iter().map(|step| (step.step, step.status)).collect();
    assert_eq!(steps, [(StepName::StartLogging, StepStatus::Failed), (StepName::UpdateTrail, StepStatus::Done)]);
    assert_eq!(trail.error.map(|failure| failure.class), Some(Class::Terminal));
}

/// A failure that changed nothing, and that a retry can resolve.
fn throttled(operation: &'static str) -> StepResult {
    StepResult::Failed(Failure { outcome_unknown: false, ..unanswered(operation, "make the call") })
}

#[test]
fn a_repair_is_alerted_although_a_retry_follows() {
    let context = context(&[("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts")]);
    let sent = |broken: KeyObservation, repair: StepResult| {
        let account = Account::new([audit()]).with_sealing_key(broken);
        let transient = throttled("cloudtrail:UpdateTrail");
        let result = |step: &Step| match step.name() {
            StepName::UpdateTrail => transient.clone(),
            StepName::RestoreKey | StepName::ExtendKeyPolicy => repair.clone(),
            _ => done(step),
        };
        let answer = answer(&context, &run(&context, &[(account, &result)]));
        assert!(answer.trails[0].error.as_ref().unwrap().is_transient());
        alerts(&answer, &Origin::default(), &context).len()
    };
    let failed = || throttled("kms:EnableKey");
    let applied = || StepResult::Done(Effect::Applied);
    assert_eq!([sent(disabled(own()), applied()), sent(stripped(own()), applied())], [1, 1]);
    assert_eq!([sent(disabled(own()), failed()), sent(own(), applied())], [0, 0], "the retry reports it");
}

#[test]
fn rotation_is_alerted_only_as_a_repair() {
    let context = context(&[("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts")]);
    let rotation_off = KeyObservation { rotation: Some(Ok(false)), ..own() };
    let mut scenario = audit().with_key(rotation_off.clone());
    scenario.facts.status.logging = false;
    let restarting = Context {
        config: {
            let mut it = context.config.clone();
            it.restart_logging = true;
            it
        },
        ..context
    };
    let result = |step: &Step| match step.name() {
        StepName::StartLogging => throttled("cloudtrail:StartLogging"),
        StepName::UpdateTrail => throttled("cloudtrail:UpdateTrail"),
        _ => done(step),
    };
    let sent = |account: Account| {
        let answer = answer(&restarting, &run(&restarting, &[(account, &result)]));
        alerts(&answer, &Origin::default(), &restarting).len()
    };
    assert_eq!(sent(Account::new([scenario]).with_sealing_key(rotation_off)), 1);
    let mut new = audit();
    new.facts.status.logging = false;
    assert_eq!(sent(Account::new([new])), 0, "a new key rotates from the beginning");
}

#[test]
fn an_update_is_alerted_although_a_retry_starts_logging() {
    let topic = ("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts");
    let context = context(&[topic, ("TRAILSEAL_RESTART_LOGGING", "true")]);
    let mut stopped = audit();
    stopped.facts.status.logging = false;
    let result = except(StepName::StartLogging, throttled("cloudtrail:StartLogging"));
    let answer = answer(&context, &run(&context, &[(Account::new([stopped]), &result)]));
    assert!(answer.trails[0].error.as_ref().unwrap().is_transient());
    let alerts = alerts(&answer, &Origin::default(), &context);
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].message.contains("update-trail (done)"), "{}", alerts[0].message);
}

#[test]
fn a_warning_about_one_key_is_not_repeated() {
    // The trail's own key is read once more as the sealing key, with another request ID.
    let rotation_off = || KeyObservation { rotation: Some(Ok(false)), ..own() };
    let hidden = |id: &str| {
        let failure = Failure { request_id: Some(id.to_owned()), ..denied("kms:GetKeyPolicy", "read the policy") };
        KeyObservation { policy: Some(Reading::Denied(failure)), ..rotation_off() }
    };
    let account = Account::new([audit().with_key(hidden("one"))]).with_sealing_key(hidden("two"));
    let twice = report(&[(account, &done)]);
    assert_eq!(twice.warnings.len(), 1, "{:#?}", twice.warnings);
    // Two warnings about one key, and two of one kind about different things, are different.
    let reader = |id: &str| context(&[("TRAILSEAL_LOG_READERS", id)]);
    let with_readers =
        |readers: &str| KeyObservation { rotation: Some(Ok(false)), ..key(&with_id(1), &reader(readers)) };
    let unrevoked = report(&[(sealed_by(with_readers("210987654321,999999999999")), &done)]);
    assert_eq!(unrevoked.warnings.len(), 2, "{:#?}", unrevoked.warnings);
    let mut expiring = hidden("one");
    expiring.metadata.expiry = Some(Expiry { at: "2027-01-31T09:30:00Z".to_owned(), days_left: 3 });
    let both = report(&[(sealed_by(expiring), &done)]);
    assert_eq!(both.warnings.len(), 2, "{:#?}", both.warnings);
}

#[test]
fn an_event_about_a_key_names_the_trails_that_could_not_be_read() {
    let (here, there) = (region(HERE), region("us-east-1"));
    let refused = || Err(denied("cloudtrail:ListTrails", "list the trails"));
    let unanswered = Err(unanswered("cloudtrail:ListTrails", "list the trails"));
    let regions =
        BTreeMap::from([(here.clone(), refused()), (there.clone(), Ok(())), (region("eu-north-1"), unanswered)]);
    let report = AccountReport::of_key(&with_id(1), &[], &regions);
    let Warning::KeyUseUnknown { key, trails, .. } = &report.warnings[0] else { panic!("{:?}", report.warnings) };
    assert_eq!((key, trails), (&with_id(1), &UnreadTrails::Regions(vec![here])));
    assert_eq!(report.warnings.len(), 1, "a transient failure is retried");
    assert_eq!(AccountReport::of_key(&with_id(1), &[], &BTreeMap::from([(there, Ok(()))])).warnings, []);
}

#[test]
fn a_trail_that_got_a_key_from_another_principal_is_told() {
    let account = |trail: Scenario| Account::new([trail]).with_sealing_key(own());
    let changed =
        except(StepName::UpdateTrail, StepResult::Contradicted(Contradiction::TrailChanged(audit().arn().clone())));
    let foreign = KeyObservation { tags: Ok(KeyTags::default()), ..key(&with_id(7), &context(&[])) };
    let trail = report(&[(account(audit()), &changed), (account(audit().with_key(foreign)), &done)]);
    let step = trail.steps.last().unwrap();
    assert_eq!((step.step, step.status), (StepName::UpdateTrail, StepStatus::NotNeeded));
    assert_eq!(step.detail, format!("another principal assigned `{}`", with_id(7)));
    assert_eq!(trail.key_arn, Some(with_id(7).to_string()));
}

/// The remedy of a step that failed with this error.
fn remedy(scenario: Scenario, broken: KeyObservation, name: StepName, failure: Failure) -> Option<String> {
    let account = Account::new([scenario]).with_sealing_key(broken);
    report(&[(account, &except(name, StepResult::Failed(failure)))]).error.unwrap().remedy
}

#[test]
fn a_denied_step_names_what_an_administrator_does() {
    let denial = |class| Failure { class, ..denied("kms:Call", "make the call") };
    let (restore, extend, update) = (StepName::RestoreKey, StepName::ExtendKeyPolicy, StepName::UpdateTrail);
    let restored = remedy(audit(), disabled(own()), restore, denial(Class::Terminal)).unwrap();
    assert!(restored.contains("allow `kms:Call`") && restored.contains("aws kms enable-key"), "{restored}");
    let transient = remedy(audit(), disabled(own()), restore, denial(Class::Transient)).unwrap();
    assert!(!transient.contains("aws kms"), "a retry can help: {transient}");
    let extended = remedy(audit(), stripped(own()), extend, denial(Class::Terminal)).unwrap();
    assert!(extended.contains("aws kms put-key-policy"), "{extended}");
    let transient = remedy(audit(), stripped(own()), extend, denial(Class::Transient)).unwrap();
    assert!(!transient.contains("aws kms"), "{transient}");
    let tower = || Scenario::new("aws-controltower-BaselineCloudTrail", HERE, HERE);
    let updated = remedy(tower(), own(), update, denial(Class::Terminal)).unwrap();
    assert!(updated.contains("Control Tower") && updated.contains("exempt the trail"), "{updated}");
    let updated = remedy(audit(), own(), update, denial(Class::Terminal)).unwrap();
    assert!(!updated.contains("Control Tower"), "{updated}");
}

#[test]
fn a_missing_bucket_is_told_apart_from_other_delivery_errors() {
    let context = context(&[("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts")]);
    let message = |code: &str| {
        let mut scenario = audit().with_key(own());
        scenario.facts.status.delivery_error = Some(code.to_owned());
        let answer = answer(&context, &run(&context, &[(Account::new([scenario]), &done)]));
        alerts(&answer, &Origin::default(), &context).remove(0).message
    };
    assert!(message("NoSuchBucket").contains("create the bucket again"));
    let other = message("SlowDown");
    assert!(!other.contains("create the bucket again") && other.contains("check the bucket, its policy and the key"));
}

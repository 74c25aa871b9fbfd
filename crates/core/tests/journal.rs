//! What becomes of steps across the passes of a run: writes without a response are resolved by the next observation, and
//! nothing that was recorded changes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use serde_json::json;
use trailseal_core::context::Context;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::journal::{AliasState, Contradiction, Effect, Entry, Journal, StepResult, StepStatus};
use trailseal_core::observation::{KeyObservation, KeyState, KeyTags, KeyUse, TaggedKey};
use trailseal_core::pending::Pending;
use trailseal_core::plan::strays::{Stray, StrayCause};
use trailseal_core::plan::{Step, StepName, Subject};
use trailseal_core::report::{AccountReport, Answer, Outcome, TrailReport};
use trailseal_core::trigger::Origin;

mod scenario;

use scenario::{Account, Scenario, context, denied, done, execute, key, new_key, region, unanswered};

/// When the unconfirmed writes were sent.
const SENT_AT: i64 = 1_000;

fn here() -> Region {
    region("eu-west-1")
}

fn winner() -> KeyArn {
    "arn:aws:kms:eu-west-1:123456789012:key/99999999-0000-0000-0000-000000000000".parse().unwrap()
}

/// One trail without a key.
fn account() -> Account {
    Account::new([Scenario::new("audit", "eu-west-1", "eu-west-1")])
}

fn trail() -> TrailArn {
    "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap()
}

/// Every step is performed but this one.
fn except(name: StepName, result: StepResult) -> impl Fn(&Step) -> StepResult {
    move |step| if step.name() == name { result.clone() } else { done(step) }
}

/// This step gets no response.
fn unconfirmed(name: StepName, operation: &'static str) -> impl Fn(&Step) -> StepResult {
    except(name, StepResult::Unconfirmed { failure: unanswered(operation, "do it"), sent_at: SENT_AT })
}

/// A run in enforce mode.
struct Run {
    context: Context,
    journal: Journal,
}

impl Run {
    fn new(account: &Account, result: impl Fn(&Step) -> StepResult) -> Self {
        Self { context: context(&[]), journal: Journal::default() }.again(account, result)
    }

    /// One more pass, which must not edit what earlier ones recorded.
    fn again(mut self, account: &Account, result: impl Fn(&Step) -> StepResult) -> Self {
        let before = entries(&self.journal);
        account.begin_pass(&self.context, &mut self.journal);
        execute(&mut self.journal, result);
        for (subject, before) in before {
            let now: Vec<Entry> = self.journal.entries_of(subject).cloned().collect();
            assert!(now.starts_with(&before), "the entries only grow: {before:#?}, {now:#?}");
        }
        self
    }

    fn answer(&self) -> Answer {
        Answer::compose(&self.context, &Origin::default(), &self.journal, AccountReport::default())
    }

    fn trail(&self) -> TrailReport {
        self.answer().trails.remove(0)
    }

    /// The steps that the answer lists, each with its status.
    fn steps(&self) -> Vec<(StepName, StepStatus)> {
        self.trail().steps.iter().map(|step| (step.step, step.status)).collect()
    }

    fn detail(&self, name: StepName) -> String {
        self.trail().steps.iter().find(|step| step.step == name).unwrap().detail.clone()
    }

    fn created_key(&self) -> (KeyArn, AliasState) {
        let created = self.journal.created_keys(&here()).pop().unwrap();
        (created.key, created.alias)
    }
}

fn entries(journal: &Journal) -> BTreeMap<Subject, Vec<Entry>> {
    let subjects = [Subject::Key(here()), Subject::Trail(trail())].into_iter();
    subjects.map(|subject| (subject.clone(), journal.entries_of(subject).cloned().collect())).collect()
}

/// The account once the tag index returns a key of this age.
fn with_tagged_key(created: i64, more: usize) -> Account {
    let mut account = account();
    let tagged = (0..=more).map(|number| {
        let arn = if number == 0 { new_key(&here()) } else { winner() };
        let mut key = key(&arn, &context(&[]));
        key.metadata.created = Some(created);
        key.metadata.recent = true;
        TaggedKey { key, aliases: vec![], has_grants: false, usage: KeyUse::Unused }
    });
    account.candidates.get_mut(&here()).unwrap().tagged = Ok(tagged.collect());
    account
}

#[test]
fn the_only_key_created_since_is_that_of_the_create_key() {
    let run = Run::new(&account(), unconfirmed(StepName::CreateKey, "kms:CreateKey"));
    assert_eq!(run.answer().unreported_failures.len(), 1, "a key may exist");
    let run = run.again(&with_tagged_key(SENT_AT, 0), done);
    let detail = run.detail(StepName::CreateKey);
    assert!(detail.contains(new_key(&here()).as_str()) && !detail.contains("unknown"), "{detail}");
    let expected = [
        (StepName::CreateKey, StepStatus::Failed),
        (StepName::AdoptKey, StepStatus::Done),
        (StepName::EnableRotation, StepStatus::Done),
        (StepName::CreateAlias, StepStatus::Done),
        (StepName::UpdateTrail, StepStatus::Done),
    ];
    assert_eq!(run.steps(), expected);
    let answer = run.answer();
    assert_eq!((answer.trails[0].outcome, answer.unreported_failures), (Outcome::Remediated, vec![]));
    assert_eq!(answer.strays, []);
}

#[test]
fn an_older_key_is_not_that_of_the_create_key() {
    let run = Run::new(&account(), unconfirmed(StepName::CreateKey, "kms:CreateKey"));
    let run = run.again(&with_tagged_key(SENT_AT - 1, 0), done);
    assert!(run.detail(StepName::CreateKey).contains("it is unknown whether a key was created"));
    assert_eq!(run.answer().unreported_failures.len(), 1);
}

#[test]
fn of_two_recent_keys_none_is_that_of_the_create_key() {
    let run = Run::new(&account(), unconfirmed(StepName::CreateKey, "kms:CreateKey"));
    let run = run.again(&with_tagged_key(SENT_AT, 1), done);
    assert_eq!(run.trail().outcome, Outcome::Remediated);
    assert_eq!(run.answer().unreported_failures.len(), 1, "the other key may be the one that was created");
}

#[test]
fn a_second_create_key_without_a_response_ends_the_run() {
    let no_answer = unconfirmed(StepName::CreateKey, "kms:CreateKey");
    let run = Run::new(&account(), &no_answer).again(&account(), &no_answer);
    let trail = run.trail();
    assert_eq!((trail.outcome, trail.error.unwrap().class), (Outcome::Failed, Class::Transient));
    assert_eq!(run.answer().unreported_failures.len(), 1);
}

#[test]
fn an_alias_without_a_response_is_done_if_the_key_has_it() {
    let run = Run::new(&account(), unconfirmed(StepName::CreateAlias, "kms:CreateAlias"));
    assert_eq!(run.created_key(), (new_key(&here()), AliasState::Unknown));
    let run = run.again(&account().with_sealing_key(key(&new_key(&here()), &context(&[]))), done);
    assert_eq!(run.created_key(), (new_key(&here()), AliasState::Created));
    let resolution = run.journal.entries_of(Subject::Key(here())).find(|entry| entry.resolves).unwrap();
    assert_eq!(resolution.pass, 2, "the pass that shows it");
    let expected = [
        (StepName::CreateKey, StepStatus::Done),
        (StepName::EnableRotation, StepStatus::Done),
        (StepName::CreateAlias, StepStatus::Done),
        (StepName::UpdateTrail, StepStatus::Done),
    ];
    assert_eq!(run.steps(), expected);
    assert!(run.detail(StepName::CreateAlias).contains("read back"));
    assert_eq!((run.trail().outcome, run.answer().strays), (Outcome::Remediated, vec![]));
}

#[test]
fn an_alias_of_another_key_makes_the_created_key_a_stray() {
    for result in [
        StepResult::Unconfirmed { failure: unanswered("kms:CreateAlias", "create the alias"), sent_at: SENT_AT },
        StepResult::Contradicted(Contradiction::AliasExists),
    ] {
        let run = Run::new(&account(), except(StepName::CreateAlias, result));
        let run = run.again(&account().with_sealing_key(key(&winner(), &context(&[]))), done);
        assert_eq!(run.created_key(), (new_key(&here()), AliasState::Lost));
        assert_eq!(run.steps()[2], (StepName::CreateAlias, StepStatus::NotNeeded));
        assert!(run.detail(StepName::CreateAlias).contains(winner().as_str()));
        assert_eq!(run.journal.strays(), [Stray { key: new_key(&here()), cause: StrayCause::AliasLost }]);
        assert_eq!(run.trail().key_arn, Some(winner().to_string()));
    }
}

#[test]
fn an_alias_that_stays_unknown_is_no_certain_stray() {
    let no_answer = unconfirmed(StepName::CreateAlias, "kms:CreateAlias");
    let run = Run::new(&account(), no_answer);
    assert_eq!(run.journal.strays(), [Stray { key: new_key(&here()), cause: StrayCause::AliasUnknown }]);
}

/// The account whose trail has the alias's key since the update without a response.
fn updated() -> Account {
    let key = key(&winner(), &context(&[]));
    let scenario = Scenario::new("audit", "eu-west-1", "eu-west-1").with_key(key.clone());
    Account::new([scenario]).with_sealing_key(key)
}

fn update_without_a_response() -> Run {
    let account = account().with_sealing_key(key(&winner(), &context(&[])));
    Run::new(&account, unconfirmed(StepName::UpdateTrail, "cloudtrail:UpdateTrail"))
}

#[test]
fn an_unanswered_update_is_done_if_the_trail_has_the_key() {
    let run = update_without_a_response().again(&updated(), done);
    assert_eq!(run.steps(), [(StepName::UpdateTrail, StepStatus::Done)]);
    assert!(run.detail(StepName::UpdateTrail).contains("read back"));
    let trail = run.trail();
    assert_eq!((trail.outcome, trail.error), (Outcome::Remediated, None));
    assert_eq!(trail.findings.len(), 1, "what the first pass found explains the update");
}

#[test]
fn a_setting_that_changed_with_the_update_is_an_error() {
    let mut account = updated();
    account.scenarios[0].facts.settings.kept.bucket = "other".into();
    let trail = update_without_a_response().again(&account, done).trail();
    let error = trail.error.unwrap();
    assert_eq!((trail.outcome, error.class), (Outcome::Failed, Class::Terminal));
    assert!(error.message.contains("S3BucketName"), "{}", error.message);
    assert_eq!(trail.steps[0].status, StepStatus::Done);
}

#[test]
fn an_update_without_an_effect_is_sent_again() {
    let account = account().with_sealing_key(key(&winner(), &context(&[])));
    let run = update_without_a_response().again(&account, done);
    let expected = [(StepName::UpdateTrail, StepStatus::Failed), (StepName::UpdateTrail, StepStatus::Done)];
    assert_eq!(run.steps(), expected);
    let trail = run.trail();
    assert_eq!((trail.outcome, trail.error), (Outcome::Remediated, None), "only the last pass counts");
}

#[test]
fn a_key_failure_of_an_earlier_pass_does_not_fail_the_trail() {
    let run = Run::new(&account(), unconfirmed(StepName::CreateAlias, "kms:CreateAlias"));
    assert!(run.trail().error.is_some());
    let run = run.again(&account(), done);
    let trail = run.trail();
    assert_eq!((trail.outcome, trail.error), (Outcome::Remediated, None));
}

#[test]
fn rotation_that_a_later_pass_enables_is_no_error() {
    let key = KeyObservation { rotation: Some(Ok(false)), ..key(&new_key(&here()), &context(&[])) };
    let trail = Scenario::new("audit", "eu-west-1", "eu-west-1").with_key(key.clone());
    let account = Account::new([trail]).with_sealing_key(key);
    let failed = StepResult::Failed(denied("kms:EnableKeyRotation", "enable rotation"));
    let run = Run::new(&account, except(StepName::EnableRotation, failed));
    assert_eq!((run.trail().outcome, run.trail().error.unwrap().class), (Outcome::Failed, Class::Terminal));
    let run = run.again(&account, done);
    assert_eq!((run.trail().outcome, run.trail().error), (Outcome::Remediated, None));
}

#[test]
fn rotation_of_a_new_key_repairs_no_trail() {
    let lost = except(StepName::CreateAlias, StepResult::Contradicted(Contradiction::AliasExists));
    let run = Run::new(&account(), lost);
    // Another principal encrypted the trail meanwhile.
    let theirs = key(&winner(), &run.context);
    let healthy = Scenario::new("audit", "eu-west-1", "eu-west-1").with_key(theirs.clone());
    let run = run.again(&Account::new([healthy]).with_sealing_key(theirs), done);
    assert_eq!(run.trail().outcome, Outcome::Compliant);
}

#[test]
fn a_failed_rotation_is_never_retried() {
    let failure = Failure { outcome_unknown: false, ..unanswered("kms:EnableKeyRotation", "enable rotation") };
    let mut run = Run::new(&account(), except(StepName::EnableRotation, StepResult::Failed(failure)));
    let error = run.trail().error.unwrap();
    assert_eq!((error.class, run.trail().outcome), (Class::Terminal, Outcome::Failed));
    assert_eq!(run.steps().last(), Some(&(StepName::UpdateTrail, StepStatus::Done)), "the key is used");
    // A later pass plans nothing for the key.
    let key = key(&new_key(&here()), &run.context);
    let healthy = Scenario::new("audit", "eu-west-1", "eu-west-1").with_key(key.clone());
    run = run.again(&Account::new([healthy]).with_sealing_key(key), done);
    assert_eq!(run.trail().error, Some(error));
}

#[test]
fn a_terminal_failure_leaves_an_unfinished_stray() {
    let failure = denied("kms:CreateAlias", "create the alias");
    let run = Run::new(&account(), except(StepName::CreateAlias, StepResult::Failed(failure.clone())));
    assert_eq!(run.journal.strays(), [Stray { key: new_key(&here()), cause: StrayCause::Unfinished }]);
    let transient = Failure { class: Class::Transient, ..failure };
    let run = Run::new(&account(), except(StepName::CreateAlias, StepResult::Failed(transient)));
    assert_eq!(run.journal.strays(), [], "a retry of the invocation finishes the key");
}

#[test]
fn an_abandoned_run_lists_steps_that_were_not_performed() {
    let exists = except(StepName::CreateAlias, StepResult::Contradicted(Contradiction::AliasExists));
    let mut run = Run::new(&account(), exists);
    run.journal.abandon([(trail(), Contradiction::AliasExists)].into());
    let expected = [
        (StepName::CreateKey, StepStatus::Done),
        (StepName::EnableRotation, StepStatus::Done),
        (StepName::CreateAlias, StepStatus::NotNeeded),
        (StepName::UpdateTrail, StepStatus::Planned),
    ];
    assert_eq!(run.steps(), expected);
    let trail = run.trail();
    assert_eq!((trail.outcome, trail.error.unwrap().class), (Outcome::Failed, Class::Transient));
}

#[test]
fn a_resolution_replaces_only_the_entry_that_it_resolves() {
    let entry = |pass, result, resolves| Entry {
        pass,
        subject: Subject::Trail(trail()),
        step: Step::Restart,
        key: None,
        result,
        resolves,
    };
    let failed = || StepResult::Failed(denied("cloudtrail:StartLogging", "start logging"));
    let mut journal = Journal::default();
    journal.append([entry(1, failed(), false), entry(2, failed(), false)]);
    journal.append([entry(3, StepResult::Done(Effect::ReadBack(vec![])), true)]);
    let steps: Vec<(usize, StepStatus)> =
        journal.steps(Subject::Trail(trail())).iter().map(|entry| (entry.pass, entry.status())).collect();
    assert_eq!(steps, [(1, StepStatus::Failed), (3, StepStatus::Done)]);
    assert_eq!(journal.entries_of(Subject::Trail(trail())).count(), 3);
}

#[test]
fn a_call_that_was_not_sent_is_reported_as_planned() {
    let failure = Failure { not_sent: true, ..Failure::transient("the time ran out before the request was sent") };
    let run = Run::new(&account(), except(StepName::CreateKey, StepResult::Failed(failure)));
    assert!(run.steps().iter().all(|(_, status)| *status == StepStatus::Planned));
    assert_eq!(json!(run.trail())["outcome"], "failed");
}

/// A trail whose key trailseal maintains, in this state.
fn sealed(state: KeyState) -> Account {
    let mut own = key(&winner(), &context(&[]));
    own.metadata.state = state;
    account().with_sealing_key(own)
}

#[test]
fn a_journal_tells_what_became_of_a_step() {
    let subject = || Subject::Key(here());
    let denial = || StepResult::Failed(denied("kms:EnableKeyRotation", "enable rotation"));
    let run = Run::new(&account(), except(StepName::EnableRotation, denial()));
    let failed = |name| run.journal.has_failed(subject(), name);
    assert!(failed(StepName::EnableRotation) && !failed(StepName::CreateKey) && !failed(StepName::AdoptKey));
    assert!(!run.journal.has_failed(Subject::Trail(trail()), StepName::EnableRotation));
    assert!(!run.journal.was_contradicted(subject(), StepName::EnableRotation));
    assert_eq!(run.journal.key_failure(&here()), None, "a key without rotation still encrypts");

    let run = Run::new(&account(), except(StepName::CreateAlias, StepResult::Contradicted(Contradiction::AliasExists)));
    let contradicted = |name| run.journal.was_contradicted(subject(), name);
    assert!(
        contradicted(StepName::CreateAlias) && !contradicted(StepName::CreateKey) && !contradicted(StepName::AdoptKey)
    );
    assert!(!run.journal.has_failed(subject(), StepName::CreateAlias));
}

#[test]
fn only_the_last_pass_that_uses_a_key_shows_its_failure() {
    let denial = StepResult::Failed(denied("kms:CreateKey", "create a key"));
    let run = Run::new(&account(), except(StepName::CreateKey, denial));
    assert_eq!(run.journal.key_failure(&here()).map(|entry| entry.step.name()), Some(StepName::CreateKey));
    let run = run.again(&account().with_sealing_key(key(&winner(), &context(&[]))), done);
    assert_eq!(run.journal.key_failure(&here()), None, "the key of another run is used");
}

#[test]
fn a_journal_knows_the_keys_that_it_changed() {
    let run = Run::new(&sealed(KeyState::Disabled), done);
    let journal = &run.journal;
    assert_eq!(journal.last_repair(&here()).map(|entry| entry.step.name()), Some(StepName::RestoreKey));
    assert!(journal.has_changed_key(&winner()) && !journal.has_changed_key(&new_key(&here())));
    assert!(journal.uses_key(&winner()) && !journal.uses_key(&new_key(&here())));

    let failed = except(StepName::RestoreKey, StepResult::Failed(denied("kms:EnableKey", "enable the key")));
    let run = Run::new(&sealed(KeyState::Disabled), failed);
    assert_eq!(run.journal.last_repair(&here()), None);
    assert!(run.journal.has_changed_key(&winner()), "the call may have had an effect");

    let mut journal = Journal::default();
    sealed(KeyState::Disabled).begin_pass(&context(&[]), &mut journal);
    journal.record_planned();
    assert!(!journal.has_changed_key(&winner()), "nothing was tried");

    let run = Run::new(&sealed(KeyState::Usable), done);
    assert!(!run.journal.has_changed_key(&winner()) && run.journal.uses_key(&winner()));
    assert_eq!(run.journal.last_repair(&here()), None);

    let run = Run::new(&account(), done);
    assert!(run.journal.has_changed_key(&new_key(&here())) && run.journal.uses_key(&new_key(&here())));
    assert_eq!(run.journal.last_repair(&here()), None, "no trail used it before");
}

#[test]
fn rotation_counts_as_enabled_on_keys_in_use_only() {
    let off = |tags| {
        let mut own = key(&winner(), &context(&[]));
        (own.rotation, own.tags) = (Some(Ok(false)), tags);
        let mut scenario = Scenario::new("audit", "eu-west-1", "eu-west-1");
        scenario = scenario.with_key(own.clone());
        Account::new([scenario]).with_sealing_key(own)
    };
    let managed = || off(Ok(KeyTags { managed_by_trailseal: true, exempt: None }));
    assert!(Run::new(&managed(), done).journal.is_rotation_enabled(&here()));
    let denial = StepResult::Failed(denied("kms:EnableKeyRotation", "enable rotation"));
    let denied = Run::new(&managed(), except(StepName::EnableRotation, denial));
    assert!(!denied.journal.is_rotation_enabled(&here()));
    assert!(!Run::new(&account(), done).journal.is_rotation_enabled(&here()), "a new key rotates from the beginning");
    assert!(!Run::new(&sealed(KeyState::Disabled), done).journal.is_rotation_enabled(&here()));
}

#[test]
fn an_adopted_key_that_is_in_use_is_no_stray() {
    for (usage, strays) in [(KeyUse::Used, 0), (KeyUse::Unused, 1)] {
        let mut account = with_tagged_key(SENT_AT, 0);
        account.candidates.get_mut(&here()).unwrap().tagged.as_mut().unwrap()[0].usage = usage.clone();
        let denial = StepResult::Failed(denied("kms:CreateAlias", "create the alias"));
        let run = Run::new(&account, except(StepName::CreateAlias, denial));
        let created = run.journal.created_keys(&here());
        assert_eq!(
            created.iter().map(|it| (&it.key, it.in_use)).collect::<Vec<_>>(),
            [(&new_key(&here()), strays == 0)]
        );
        assert_eq!(run.journal.strays().len(), strays, "{usage:?}");
    }
}

#[test]
fn a_run_keeps_the_strays_of_its_plans() {
    let stray = |usage| {
        let mut account = with_tagged_key(0, 0);
        let tagged = &mut account.candidates.get_mut(&here()).unwrap().tagged.as_mut().unwrap()[0];
        (tagged.key.metadata.recent, tagged.has_grants, tagged.usage) = (false, true, usage);
        account
    };
    let expected = Stray { key: new_key(&here()), cause: StrayCause::Unused };
    let mut journal = Journal::default();
    for _ in 0..2 {
        stray(KeyUse::Unused).begin_pass(&context(&[]), &mut journal);
    }
    assert_eq!(journal.strays(), [expected], "once, though two plans contain it");
    assert_eq!(Run::new(&stray(KeyUse::Used), done).journal.strays(), []);
    // A later pass uses the key.
    account().with_sealing_key(key(&new_key(&here()), &context(&[]))).begin_pass(&context(&[]), &mut journal);
    assert_eq!(journal.strays(), []);
}

#[test]
fn only_a_trail_that_was_to_change_is_abandoned() {
    let restarting = context(&[("TRAILSEAL_RESTART_LOGGING", "true")]);
    let stopped = || {
        let mut scenario = Scenario::new("audit", "eu-west-1", "eu-west-1");
        scenario.facts.status.logging = false;
        scenario.with_key(key(&winner(), &context(&[])))
    };
    let abandoned = |scenario: Scenario, result: StepResult| {
        let mut run = Run { context: restarting.clone(), journal: Journal::default() };
        run = run.again(&Account::new([scenario]), |_| result.clone());
        run.journal.abandon([(trail(), Contradiction::AliasExists)].into());
        (run.journal.abandoned(&trail()).is_some(), run.journal.is_restarted(&trail()))
    };
    let failed = || StepResult::Failed(denied("cloudtrail:Call", "make the call"));
    let applied = || StepResult::Done(Effect::Applied);
    let unencrypted = || Scenario::new("audit", "eu-west-1", "eu-west-1");
    let compliant = unencrypted().with_key(key(&winner(), &context(&[])));
    assert_eq!(abandoned(stopped(), failed()), (true, false), "only its logging was to be started");
    assert_eq!(abandoned(stopped(), applied()), (true, true));
    assert_eq!(abandoned(compliant, applied()), (false, false), "nothing was to change");
    assert_eq!(abandoned(unencrypted(), failed()), (true, false));
    assert_eq!(abandoned(unencrypted(), applied()), (false, false), "it has its key");
}

#[test]
fn a_create_key_without_an_answer_expects_another_key() {
    let pending = |result: StepResult| Pending::of(&Run::new(&account(), except(StepName::CreateKey, result)).journal);
    let unanswered = StepResult::Unconfirmed { failure: unanswered("kms:CreateKey", "create a key"), sent_at: SENT_AT };
    let expects = |pending: Pending, indexed: &[KeyArn]| pending.expects_key(&here(), indexed);
    assert!(expects(pending(unanswered.clone()), &[]));
    assert!(!expects(pending(unanswered), &[winner()]), "the index returns a key that it did not return before");
    assert!(!expects(pending(StepResult::Done(Effect::Applied)), &[]));
}

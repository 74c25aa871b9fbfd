//! Writes without a response, which the next observation resolves.

use trailseal_core::failure::Class;
use trailseal_core::ids::KeyArn;
use trailseal_core::journal::{AliasState, Contradiction, Effect, Entry, Journal, StepResult, StepStatus};
use trailseal_core::pending::Pending;
use trailseal_core::plan::strays::{Stray, StrayCause};
use trailseal_core::plan::{Step, StepName, Subject};
use trailseal_core::report::Outcome;

use crate::scenario::{Account, Scenario, context, denied, done, key, new_key, unanswered};
use crate::{Run, SENT_AT, account, except, here, trail, unconfirmed, winner, with_tagged_key};

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
fn a_create_key_without_a_response_expects_another_key() {
    let pending = |result: StepResult| Pending::of(&Run::new(&account(), except(StepName::CreateKey, result)).journal);
    let unanswered = StepResult::Unconfirmed { failure: unanswered("kms:CreateKey", "create a key"), sent_at: SENT_AT };
    let expects = |pending: Pending, indexed: &[KeyArn]| pending.expects_key(&here(), indexed);
    assert!(expects(pending(unanswered.clone()), &[]));
    assert!(!expects(pending(unanswered), &[winner()]), "the index returns a key that it did not return before");
    assert!(!expects(pending(StepResult::Done(Effect::Applied)), &[]));
}

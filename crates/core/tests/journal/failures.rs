//! Which failures of earlier passes still count.

use serde_json::json;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::journal::{Contradiction, StepResult, StepStatus};
use trailseal_core::observation::KeyObservation;
use trailseal_core::plan::StepName;
use trailseal_core::plan::strays::{Stray, StrayCause};
use trailseal_core::report::Outcome;

use crate::scenario::{Account, Scenario, context, denied, done, key, new_key, unanswered};
use crate::{Run, account, except, here, trail, unconfirmed, winner};

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
fn a_call_that_was_not_sent_is_reported_as_planned() {
    let failure = Failure { not_sent: true, ..Failure::transient("the time ran out before the request was sent") };
    let run = Run::new(&account(), except(StepName::CreateKey, StepResult::Failed(failure)));
    assert!(run.steps().iter().all(|(_, status)| *status == StepStatus::Planned));
    assert_eq!(json!(run.trail())["outcome"], "failed");
}

//! What a journal contains about keys, steps and trails.

use trailseal_core::journal::{Contradiction, Effect, Journal, StepResult};
use trailseal_core::observation::{KeyState, KeyTags, KeyUse};
use trailseal_core::plan::strays::{Stray, StrayCause};
use trailseal_core::plan::{StepName, Subject};

use crate::scenario::{Account, Scenario, context, denied, done, key, new_key};
use crate::{Run, SENT_AT, account, except, here, trail, winner, with_tagged_key};

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
    assert_eq!(run.journal.key_failure(&here(), run.journal.pass()), None, "a key without rotation still encrypts");

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
    assert_eq!(
        run.journal.key_failure(&here(), run.journal.pass()).map(|entry| entry.step.name()),
        Some(StepName::CreateKey)
    );
    let run = run.again(&account().with_sealing_key(key(&winner(), &context(&[]))), done);
    assert_eq!(run.journal.key_failure(&here(), run.journal.pass()), None, "the key of another run is used");
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
    assert!(Run::new(&managed(), done).journal.enabled_rotation(&here()).is_some());
    let denial = StepResult::Failed(denied("kms:EnableKeyRotation", "enable rotation"));
    let denied = Run::new(&managed(), except(StepName::EnableRotation, denial));
    assert!(denied.journal.enabled_rotation(&here()).is_none());
    let new = Run::new(&account(), done);
    assert!(new.journal.enabled_rotation(&here()).is_none(), "a new key rotates from the beginning");
    assert!(Run::new(&sealed(KeyState::Disabled), done).journal.enabled_rotation(&here()).is_none());
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

//! What becomes of steps across the passes of a run. Nothing that was recorded changes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use trailseal_core::context::Context;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::journal::{AliasState, Entry, Journal, StepResult, StepStatus};
use trailseal_core::observation::{KeyUse, TaggedKey};
use trailseal_core::plan::{Step, StepName, Subject};
use trailseal_core::report::{AccountReport, Answer, TrailReport};
use trailseal_core::trigger::Origin;

mod failures;
mod questions;
mod resolutions;
#[path = "../scenario/mod.rs"]
mod scenario;

use scenario::{Account, Scenario, context, done, execute, key, new_key, region, unanswered};

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

//! What one pass leaves to the next: writes whose outcome is unknown, and what the reports contain about earlier plans.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use serde_json::{Value, json};
use trailseal_core::context::Context;
use trailseal_core::finding::Warning;
use trailseal_core::ids::KeyArn;
use trailseal_core::journal::{Journal, StepResult};
use trailseal_core::observation::{KeyObservation, KeyState, KeyUse, StrayScan, TaggedKey};
use trailseal_core::plan::StepName;
use trailseal_core::report::{AccountReport, Answer};
use trailseal_core::trigger::Origin;

mod scenario;

use scenario::{Account, Scenario, context, denied, done, execute, key, new_key, region, unanswered};

const HERE: &str = "eu-west-1";

fn audit() -> Scenario {
    Scenario::new("audit", HERE, HERE)
}

fn other_key() -> KeyArn {
    "arn:aws:kms:eu-west-1:123456789012:key/22222222-2222-3333-4444-555555555555".parse().unwrap()
}

fn answer(context: &Context, journal: &Journal, report: AccountReport) -> Value {
    json!(Answer::compose(context, &Origin::default(), journal, report))
}

/// The steps of the only trail, as `name status`.
fn steps(answer: &Value) -> Vec<String> {
    let steps = answer["trails"][0]["steps"].as_array().unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    steps.iter().map(|it| format!("{} {}", text(it, "step"), text(it, "status"))).collect()
}

fn unconfirmed(operation: &'static str, attempt: &str) -> StepResult {
    StepResult::Unconfirmed { failure: unanswered(operation, attempt), sent_at: 0 }
}

/// A key with trailseal's tag, without an alias, that no trail uses.
fn unclaimed(key: KeyObservation) -> TaggedKey {
    TaggedKey { key, aliases: vec![], has_grants: false, usage: KeyUse::Unused }
}

fn scan(tagged: TaggedKey) -> StrayScan {
    StrayScan { keys: vec![tagged], ..StrayScan::default() }
}

#[test]
fn a_step_not_performed_does_not_answer_for_the_alias() {
    let context = context(&[]);
    let mut account = Account::new([audit()]);
    let mut journal = Journal::default();
    account.begin_pass(&context, &mut journal);
    execute(&mut journal, |step| match step.name() {
        StepName::CreateAlias => unconfirmed("kms:CreateAlias", "create the alias"),
        _ => done(step),
    });
    let mut own = key(&new_key(&region(HERE)), &context);
    own.metadata.state = KeyState::Disabled;
    account.candidates.get_mut(&region(HERE)).unwrap().created = Some(own);
    account.begin_pass(&context, &mut journal);
    execute(&mut journal, |step| match step.name() {
        StepName::RestoreKey => StepResult::Failed(denied("kms:EnableKey", "enable the key")),
        _ => done(step),
    });
    let answer = answer(&context, &journal, AccountReport::default());
    let command = answer["strays"][0]["command"].as_str().unwrap();
    assert!(command.contains("list-aliases"), "the key may have the alias: {command}");
}

#[test]
fn a_later_read_confirms_an_update() {
    let context = context(&[]);
    let sealing_key = key(&other_key(), &context);
    let unencrypted = Account::new([audit()]).with_sealing_key(sealing_key.clone());
    let mut journal = Journal::default();
    unencrypted.begin_pass(&context, &mut journal);
    execute(&mut journal, |_| unconfirmed("cloudtrail:UpdateTrail", "assign the key"));
    // The next read may be of the trail before the update. A later one shows the key.
    unencrypted.begin_pass(&context, &mut journal);
    Account::new([audit().with_key(sealing_key)]).begin_pass(&context, &mut journal);
    let answer = answer(&context, &journal, AccountReport::default());
    assert_eq!(steps(&answer), ["update-trail done"]);
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
}

#[test]
fn a_warning_of_an_earlier_pass_hides_no_unknown_stray() {
    let context = context(&[]);
    let mut account = Account::new([audit()]);
    let mut hidden = key(&other_key(), &context);
    hidden.tags = Err(denied("kms:ListResourceTags", "read the tags of the key"));
    let tagged = unclaimed(hidden);
    account.candidates.get_mut(&region(HERE)).unwrap().tagged = Ok(vec![tagged.clone()]);
    let mut journal = Journal::default();
    account.begin_pass(&context, &mut journal);
    // Another run created a key meanwhile.
    let sealing_key = key(&new_key(&region(HERE)), &context);
    account.with_sealing_key(sealing_key).begin_pass(&context, &mut journal);
    let report = AccountReport::new(vec![], &scan(tagged), &journal);
    let is_unknown = |warning: &Warning| matches!(warning, Warning::StrayUnknown { key, .. } if *key == other_key());
    assert!(report.warnings.iter().any(is_unknown), "no trail's report contains it: {:#?}", report.warnings);
}

#[test]
fn a_key_of_an_earlier_plan_can_be_a_stray() {
    let context = context(&[]);
    let before = key(&other_key(), &context);
    let mut journal = Journal::default();
    Account::new([audit()]).with_sealing_key(before.clone()).begin_pass(&context, &mut journal);
    // The trail changed before its update, and the alias was associated with another key.
    let now = key(&new_key(&region(HERE)), &context);
    Account::new([audit()]).with_sealing_key(now).begin_pass(&context, &mut journal);
    execute(&mut journal, done);
    let report = AccountReport::new(vec![], &scan(unclaimed(before)), &journal);
    let answer = answer(&context, &journal, report);
    assert_eq!(answer["strays"][0]["key_arn"], json!(other_key().to_string()));
}

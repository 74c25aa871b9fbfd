//! What a terminal shows: the answer of a run, and each step with what became of it.

use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::iam::Document;
use trailseal_core::journal::{Contradiction, Effect, Entry, StepResult};
use trailseal_core::key_policy::KeyAdministrator;
use trailseal_core::observation::{SettingChange, StrayScan};
use trailseal_core::plan::{Adoption, KeyStep, Plan, PolicyChange, Step, StepName, Subject};
use trailseal_core::report::{Answer, answer_text, step_text};

use super::scenario::{Account, Scenario, denied, done, key, region, unanswered};
use super::{
    ACCOUNT_ONLY, DRY_RUN, HERE, Run, assert_text, audit, context, foreign_key, key_policy, stopped, tagged, with_id,
};

/// A trail for each outcome but `out-of-scope` and `gone`.
fn account(context: &Context) -> Account {
    let lost = |message: &str| Err(Failure::terminal(message, "name another bucket in the trail"));
    let mut failed = Scenario::new("failed", "us-east-1", "us-east-1");
    failed.bucket_region = lost("cannot read the Region of bucket `logs-us-east-1`: NotFound");
    let mut exempt = Scenario::new("exempt", HERE, HERE);
    exempt.exempt_tag = Ok(Some("SEC-42".into()));
    let noted = stopped(Scenario::new("noted", HERE, HERE).with_key(foreign_key(context)));
    let mut of_another = foreign_key(context);
    of_another.policy = None;
    of_another.metadata.arn = "arn:aws:kms:eu-west-1:210987654321:key/1234abcd".parse().unwrap();
    let unreadable = Scenario::new("unreadable", HERE, HERE).with_key(of_another);
    let compliant = Scenario::new("compliant", HERE, HERE).with_key(foreign_key(context));
    Account::new([failed, exempt, noted, audit(), unreadable, compliant])
}

fn text(run: Run) -> String {
    let answer = Answer::compose(&run.context, &run.origin, &run.journal, run.report);
    answer_text(&answer, &run.origin, &run.context.config)
}

#[test]
fn a_terminal_shows_what_was_done() {
    let context = context(&[]);
    let scan = StrayScan { keys: vec![tagged(key(&with_id(3), &context))], ..StrayScan::default() };
    let account = account(&context);
    assert_text("terminal_enforce", text(Run::new(context, &account, done).in_sweep(vec![], &scan)));
}

#[test]
fn a_terminal_shows_what_would_be_done() {
    let context = context(&[DRY_RUN]);
    assert_eq!(context.config.mode, Mode::DryRun);
    let account = account(&context);
    assert_text("terminal_dry_run", text(Run::new(context, &account, done)));
}

#[test]
fn a_terminal_shows_one_trail_or_none() {
    let run = |scenarios: Vec<Scenario>| Run::new(context(&[]), &Account::new(scenarios), done);
    let compliant = audit().with_key(foreign_key(&context(&[])));
    let arn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
    assert_eq!(text(run(vec![compliant])), format!("Trail: {arn}: compliant\n\n1 trail: 1 compliant.\n"));
    assert_eq!(text(run(vec![])), "No trails were found.\n");
}

/// The steps of keys and trails, as scenarios plan them.
fn steps() -> Vec<(Subject, Step)> {
    let context = context(&[("TRAILSEAL_RESTART_LOGGING", "true")]);
    let of = |account: &Account| {
        let plan: Plan = Run::new(context.clone(), account, done).journal.plans().first().unwrap().clone();
        plan.steps().map(|(subject, step, _)| (subject, step)).collect::<Vec<_>>()
    };
    let stripped = key_policy(key(&with_id(7), &context), ACCOUNT_ONLY);
    let control_tower = Scenario::new("aws-controltower-BaselineCloudTrail", HERE, HERE);
    let mut steps = of(&Account::new([stopped(audit())]));
    steps.extend(of(&Account::new([control_tower]).with_sealing_key(stripped)));
    let key_step = |step| (Subject::Key(region(HERE)), Step::Key(step));
    let restore = |pending_deletion, administrator| key_step(KeyStep::Restore { pending_deletion, administrator });
    steps.extend(
        [true, false].map(|in_use| key_step(KeyStep::Adopt(Adoption { in_use, created_at_if_only_recent: None }))),
    );
    steps.extend([restore(true, KeyAdministrator::Role), restore(false, KeyAdministrator::Account)]);
    steps
}

fn results() -> Vec<StepResult> {
    let change = |name, before: Option<&str>, after: Option<&str>| SettingChange {
        name,
        before: before.map(Into::into),
        after: after.map(Into::into),
    };
    let not_sent = Failure { not_sent: true, ..Failure::transient("the time ran out") };
    let refused = Failure {
        code: Some("InsufficientEncryptionPolicyException".into()),
        ..Failure::terminal("CloudTrail refuses the key", "change its policy")
    };
    vec![
        StepResult::NotPerformed,
        StepResult::Done(Effect::Applied),
        StepResult::Done(Effect::Unverified(unanswered("kms:DescribeKey", "read the key"))),
        StepResult::Done(Effect::AppliedThenChanged),
        StepResult::Done(Effect::Updated(vec![change("S3KeyPrefix", None, Some("x"))])),
        StepResult::Done(Effect::ReadBack(vec![change("IsMultiRegionTrail", Some("true"), Some("false"))])),
        StepResult::Failed(denied("kms:Call", "make the call")),
        StepResult::Failed(not_sent),
        StepResult::Failed(refused),
        StepResult::Unconfirmed { failure: unanswered("kms:Call", "make the call"), sent_at: 0 },
        StepResult::CreatedKeyFound(unanswered("kms:CreateKey", "create a key")),
        StepResult::OtherKey(with_id(9).to_string()),
    ]
}

fn contradictions() -> [Contradiction; 8] {
    let trail = || audit().arn().clone();
    let taken = |in_use| Contradiction::AliasTaken { holder: with_id(8), in_use };
    [
        Contradiction::AliasExists,
        taken(true),
        taken(false),
        Contradiction::PolicyChanged(with_id(7)),
        Contradiction::StateChanged(denied("kms:EnableKey", "enable the key")),
        Contradiction::TrailChanged(trail()),
        Contradiction::TrailGone(denied("cloudtrail:UpdateTrail", "update the trail")),
        Contradiction::OutcomeUnknown(unanswered("cloudtrail:UpdateTrail", "update the trail")),
    ]
}

#[test]
fn every_step() {
    let mut lines = Vec::new();
    for (subject, step) in steps() {
        let contradicted = contradictions().map(StepResult::Contradicted);
        let is_alias = step.name() == StepName::CreateAlias;
        let results = results().into_iter().chain(contradicted.into_iter().filter(|_| is_alias));
        let entry = |result| Entry::new(1, subject.clone(), step.clone(), Some(with_id(7)), result);
        lines.extend(results.map(|result| step_text(&entry(result))));
    }
    let rejected = KeyStep::Extend(rejected_extension());
    let failed = StepResult::Failed(Failure::terminal("KMS rejects the policy", "fix it"));
    let entry = Entry::new(1, Subject::Key(region(HERE)), Step::Key(rejected), None, failed);
    lines.extend([step_text(&Entry { result: StepResult::NotPerformed, ..entry.clone() }), step_text(&entry)]);
    lines.dedup();
    assert_text("every_step", lines.join("\n"));
}

/// The extension of a policy that KMS rejects because of another statement.
fn rejected_extension() -> PolicyChange {
    let context = context(&[]);
    let policy = trailseal_core::key_policy::KeyPolicy::new(&context.config, &context.function_arn);
    let broken = ACCOUNT_ONLY.replace(r#""Sid":"EnableIAMPolicies","#, r#""Sid":"Broken","Condition":{},"#);
    let broken = broken.replace(r#","Resource":"*"}"#, "}");
    let before = Document::parse(&broken).unwrap();
    PolicyChange {
        extension: policy.extension(&before).unwrap(),
        rejected: policy.rejected_statements(&before),
        before,
        administrator: KeyAdministrator::Account,
    }
}

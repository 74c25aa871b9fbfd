//! The alerts about strays and a whole account, and the digest of a sweep.

use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::journal::{Contradiction, StepResult};
use trailseal_core::observation::{MalformedTrail, StrayScan};
use trailseal_core::plan::StepName;
use trailseal_core::report::{Answer, alerts};
use trailseal_core::trigger::{Origin, SWEEP};

use super::scenario::{Account, Scenario, denied, done, key, region, unanswered};
use super::{
    DRY_RUN, HERE, Run, assert_alerts, audit, context, except, except_denied, foreign_key, stopped, tagged, with_id,
};

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
    let result = except_denied(StepName::CreateAlias, "kms:CreateAlias", "create the alias `alias/trailseal`");
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
    let missing = "cannot read the Region of bucket `logs-us-east-1`: NotFound: AWS returned no message";
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
fn sweep_of_trails_out_of_scope_has_no_alert() {
    let context = context(&[]);
    let mut organization = audit();
    organization.facts.settings.arn = "arn:aws:cloudtrail:eu-west-1:999999999999:trail/organization".parse().unwrap();
    let compliant = Scenario::new("healthy", HERE, HERE).with_key(foreign_key(&context));
    let run = Run::new(context, &Account::new([organization, compliant]), done);
    assert_eq!(run.in_sweep(vec![], &StrayScan::default()).alerts(), []);
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

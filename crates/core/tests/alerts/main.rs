//! The alert for each outcome. `snapshots` contains one file for each: its subject, its attributes, its message. What a
//! terminal shows has a file, too.
//!
//! `INSTA_UPDATE=always cargo test -p trailseal-core --test alerts` writes the files after a wording changed. Read them.
#![expect(clippy::unwrap_used, reason = "a test")]

mod account;
mod next_actions;
#[path = "../scenario/mod.rs"]
mod scenario;
mod terminal;
mod trail;
mod variants;

use std::path::Path;

use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::iam::Document;
use trailseal_core::ids::KeyArn;
use trailseal_core::journal::{Journal, StepResult};
use trailseal_core::observation::{
    BucketOwner, KeyObservation, KeyTags, KeyUse, MalformedTrail, Reading, ReplicationRule, StrayScan, TaggedKey,
};
use trailseal_core::plan::{Step, StepName};
use trailseal_core::report::{AccountReport, Alert, Answer, alerts};
use trailseal_core::trigger::{Origin, SWEEP};

use scenario::{Account, Scenario, bucket_policy, denied, done, execute, key, region};

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
            deployed_with: None,
            region: Some(region(HERE)),
            is_command: false,
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
    assert_text(name, text.collect::<Vec<String>>().join("\n=====\n\n"));
}

/// Compares a text with the file of this name.
fn assert_text(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Every step is performed but this one.
fn except(name: StepName, result: StepResult) -> impl Fn(&Step) -> StepResult {
    move |step| if step.name() == name { result.clone() } else { done(step) }
}

/// Every step is performed but this one, which AWS denies.
fn except_denied(name: StepName, operation: &'static str, attempt: &str) -> impl Fn(&Step) -> StepResult + use<> {
    except(name, StepResult::Failed(denied(operation, attempt)))
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
    let reads = r#"{"Sid":"SiemReads","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:role/siem"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::logs-eu-west-1/*"}"#;
    scenario.bucket.policy = bucket_policy(&[reads]);
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
        role: "arn:aws:iam::123456789012:role/replicate".into(),
    }]);
    scenario
}

fn stopped(mut scenario: Scenario) -> Scenario {
    scenario.facts.status.logging = false;
    scenario
}

fn unreadable_bucket(mut scenario: Scenario) -> Scenario {
    scenario.bucket.owner = BucketOwner::Another;
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
fn every_file_belongs_to_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts/snapshots");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stale = names.filter_map(|name| Some(name.strip_suffix(".snap")?.to_owned()));
    let tests = [
        include_str!("trail.rs"),
        include_str!("account.rs"),
        include_str!("terminal.rs"),
        include_str!("variants.rs"),
        include_str!("next_actions.rs"),
    ]
    .concat();
    let stale: Vec<String> = stale.filter(|name| !tests.contains(&format!("\"{name}\""))).collect();
    assert_eq!(stale, [""; 0], "no test writes these");
}

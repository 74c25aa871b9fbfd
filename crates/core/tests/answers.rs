//! The answer's size, its level in the log, and whether a retry can help.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::finding::Finding;
use trailseal_core::ids::TrailArn;
use trailseal_core::journal::{Journal, StepStatus};
use trailseal_core::plan::{Disposition, Plan, StepName, TrailPlan};
use trailseal_core::report::{AccountReport, Answer, Outcome, StepEffect, StepReport};
use trailseal_core::trigger::Origin;

/// An answer about this many compliant trails, and this many with a finding.
fn answer(compliant: usize, noted: usize) -> Answer {
    let arn = |number: usize| -> TrailArn {
        let name = format!("audit-{number:04}-{}", "x".repeat(90));
        format!("arn:aws:cloudtrail:eu-west-1:123456789012:trail/{name}").parse().unwrap()
    };
    let trail = |number: usize| TrailPlan {
        findings: if number < noted { vec![Finding::LoggingStopped] } else { vec![] },
        warnings: vec![],
        current_key: None,
        logging: Some(number >= noted),
        disposition: if number < noted { Disposition::Note } else { Disposition::Compliant },
        sealing_region: None,
        restart: None,
        update: None,
    };
    let trails: BTreeMap<TrailArn, TrailPlan> =
        (0..compliant.saturating_add(noted)).map(|number| (arn(number), trail(number))).collect();
    let context = Context {
        config: Config::parse(|_| None).unwrap(),
        function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap(),
    };
    let mut journal = Journal::default();
    journal.begin_pass(Plan { trails, ..Plan::default() });
    Answer::compose(&context, &Origin::default(), &journal, AccountReport::default()).truncate()
}

#[test]
fn a_large_answer_omits_and_counts_compliant_trails() {
    let large = answer(900, 3);
    assert!(large.truncated && json!(large).to_string().len() < 200_000);
    assert_eq!((large.trails.len(), json!(large.summary)), (3, json!({ "compliant": 900, "noted": 3 })));
}

#[test]
fn a_trail_with_a_finding_is_never_omitted() {
    let large = answer(0, 900);
    assert!(large.truncated && large.trails.len() == 900);
}

#[test]
fn a_small_answer_is_complete() {
    let small = answer(100, 3);
    assert!(!small.truncated && small.trails.len() == 103);
}

#[test]
fn a_large_answer_loses_the_compliant_trails_first() {
    let mut large = answer(0, 3);
    let detail = "x".repeat(150_000);
    let step = StepReport { step: StepName::UpdateTrail, status: StepStatus::Done, detail, effect: StepEffect::InUse };
    large.trails.iter_mut().for_each(|trail| trail.steps = vec![step.clone()]);
    large.trails.first_mut().unwrap().outcome = Outcome::Compliant;
    let mut one_left = large.clone();
    one_left.trails.first_mut().unwrap().findings.clear();
    one_left.trails.pop();
    let one_left = one_left.truncate();
    assert_eq!(
        (one_left.trails.len(), one_left.truncated),
        (1, true),
        "only a compliant trail without a finding is omitted"
    );
    assert_eq!(one_left.trails[0].steps, std::slice::from_ref(&step), "and details stay if there is room then");
    let large = large.truncate();
    assert!(large.trails.iter().flat_map(|trail| &trail.steps).all(|step| step.detail.is_empty()));
    assert_eq!(large.trails.len(), 3, "a finding is never omitted");
}

/// The level of the log line.
fn level(answer: &Answer) -> String {
    let line: Value = serde_json::from_str(&answer.log_line("request-1").unwrap()).unwrap();
    assert_eq!((&line["requestId"], &line["schema"]), (&json!("request-1"), &json!(1)));
    line["level"].as_str().unwrap().to_owned()
}

#[test]
fn any_failure_is_an_error_in_the_log() {
    let noted = answer(1, 1);
    assert_eq!(level(&noted), "INFO");
    let mut unlisted = noted.clone();
    unlisted.error = Some(Failure::transient("no answer"));
    let mut unpublished = noted.clone();
    unpublished.alerts.failed = 1;
    let mut failed = noted.clone();
    failed.trails.first_mut().unwrap().outcome = Outcome::Failed;
    let mut sent = noted;
    sent.alerts.sent = 1;
    let levels = [unlisted, unpublished, failed, sent].map(|answer| level(&answer));
    assert_eq!(levels, ["ERROR", "ERROR", "ERROR", "INFO"]);
}

#[test]
fn only_a_transient_failure_is_worth_a_retry() {
    assert_eq!(Failure::transient("no answer").remedy, None, "no one has to do anything");
    let mut failed = answer(1, 1);
    assert_eq!(failed.transient_failure(), None);
    failed.trails.first_mut().unwrap().error = Some(Failure::terminal("denied", "allow it"));
    failed.error = Some(Failure::terminal("denied", "allow it"));
    assert_eq!(failed.transient_failure(), None);
    failed.trails.first_mut().unwrap().error = Some(Failure::transient("no answer"));
    let name = failed.trails.first().unwrap().trail.clone().unwrap();
    assert_eq!(failed.transient_failure(), Some(format!("trail `{name}` is not remediated yet: no answer")));
    failed.error = Some(Failure::transient("cannot list the trails"));
    assert_eq!(failed.transient_failure().as_deref(), Some("cannot list the trails"));
}

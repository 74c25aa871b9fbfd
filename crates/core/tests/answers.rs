//! The answer's size.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use serde_json::json;
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::finding::Finding;
use trailseal_core::ids::TrailArn;
use trailseal_core::journal::Journal;
use trailseal_core::plan::{Disposition, Plan, TrailPlan};
use trailseal_core::report::{AccountReport, Answer};
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

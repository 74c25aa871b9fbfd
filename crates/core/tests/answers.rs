//! The answer's size.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use serde_json::json;
use trailseal_core::config::Mode;
use trailseal_core::finding::{Finding, FindingId};
use trailseal_core::ids::TrailArn;
use trailseal_core::plan::{Fate, Plan, TrailPlan};
use trailseal_core::progress::Progress;
use trailseal_core::report::Answer;
use trailseal_core::trigger::Origin;

/// An answer about so many trails that are well and so many with a finding.
fn answer(well: usize, noted: usize) -> Answer {
    let arn = |number: usize| -> TrailArn {
        let name = format!("audit-{number:04}-{}", "x".repeat(90));
        format!("arn:aws:cloudtrail:eu-west-1:123456789012:trail/{name}").parse().unwrap()
    };
    let stopped = Finding { id: FindingId::LoggingStopped, detail: "it was started once and does not log now".into() };
    let trail = |number: usize| {
        let noted = number < noted;
        TrailPlan {
            findings: if noted { vec![stopped.clone()] } else { vec![] },
            warnings: vec![],
            current_key: None,
            fate: if noted { Fate::Noted } else { Fate::Compliant },
            sealing_region: None,
            steps: vec![],
        }
    };
    let trails: BTreeMap<TrailArn, TrailPlan> =
        (0..well.saturating_add(noted)).map(|number| (arn(number), trail(number))).collect();
    let plan = Plan { trails, ..Plan::default() };
    Answer::compose(Mode::Enforce, &Origin::default(), &plan, &Progress::default(), vec![]).fitting()
}

#[test]
fn an_answer_that_would_outgrow_its_room_leaves_out_what_is_well_and_counts_it() {
    let large = answer(900, 3);
    assert!(large.truncated && json!(large).to_string().len() < 200_000);
    assert_eq!((large.trails.len(), json!(large.summary)), (3, json!({ "compliant": 900, "noted": 3 })));
}

#[test]
fn a_trail_with_a_finding_is_never_left_out() {
    let large = answer(0, 900);
    assert!(large.truncated && large.trails.len() == 900);
}

#[test]
fn an_answer_with_room_left_is_whole() {
    let small = answer(100, 3);
    assert!(!small.truncated && small.trails.len() == 103);
}

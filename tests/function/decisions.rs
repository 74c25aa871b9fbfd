//! The decision table: every row of `tests/decisions.json` runs in dry-run mode and in enforce mode, and is a row of
//! `docs/decisions.md`.

mod decision_table;
mod document;
mod final_state;
mod fixtures;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use fake_aws::{Authorization, Call, World};
use serde_json::{Value, json};

use crate::support::{Scenario, findings, steps, writes};
use decision_table::{DecisionTable, Row};
use final_state::FinalState;
use fixtures::Fixture;

const WORKERS: usize = 4;

/// The result of every row in both modes.
#[derive(Default)]
pub struct TableRun {
    problems: Vec<String>,
    /// How AWS authorized every call, with the mode.
    pub authorizations: Vec<(&'static str, Authorization)>,
}

/// Runs every row in both modes, once per process.
pub fn table_run() -> &'static TableRun {
    static RUN: OnceLock<TableRun> = OnceLock::new();
    RUN.get_or_init(run_table)
}

fn run_table() -> TableRun {
    let table = DecisionTable::read();
    let jobs = table.rows().flat_map(|row| [("dry-run", row), ("enforce", row)]);
    // The second read of a missing key waits 30 s: it must not occupy a worker.
    let waits = |row: &Row| ["missing", "eventually consistent"].iter().any(|term| row.trail_key.ends_with(term));
    let (slow, fast): (Vec<_>, Vec<_>) = jobs.partition(|(_, row)| waits(row));
    let (queue, run) = (Mutex::new(fast.into_iter()), Mutex::new(TableRun::default()));
    let process = |(mode, row): (&'static str, &Row)| {
        let (problems, authorizations) = run_row(mode, row);
        let mut run = run.lock().unwrap();
        run.authorizations.extend(authorizations.into_iter().map(|it| (mode, it)));
        if !problems.is_empty() {
            run.problems.push(format!("{mode}: {}\n    {}", row.situation(), problems.join("\n    ")));
        }
    };
    let next = || queue.lock().unwrap().next();
    std::thread::scope(|scope| {
        for job in slow {
            scope.spawn(move || process(job));
        }
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(job) = next() {
                    process(job)
                }
            });
        }
    });
    run.into_inner().unwrap()
}

#[test]
fn every_row_of_the_decision_table_holds() {
    let problems = &table_run().problems;
    assert!(problems.is_empty(), "{} rows do not hold:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_decisions_page_matches_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions.md");
    let current = document::page(&DecisionTable::read());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(documented == current, "docs/decisions.md is stale: run the tests with UPDATE_DOCS=1 and review the diff");
}

/// The row's problems, and how AWS authorized every call.
fn run_row(mode: &str, row: &Row) -> (Vec<String>, Vec<Authorization>) {
    let mut problems = Problems::default();
    let run = AssertUnwindSafe(|| match mode {
        "enforce" => run_enforce(row, &mut problems),
        _ => run_dry(row, &mut problems),
    });
    match catch_unwind(run) {
        Ok(scenario) => (problems.0, scenario.aws.authorizations()),
        Err(panic) => ([problems.0, vec![panic_message(panic)]].concat(), Vec::new()),
    }
}

fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn equal(&mut self, what: &str, expected: &Value, actual: &Value) {
        if expected != actual {
            self.0.push(format!("{what}: expected {expected}, got {actual}"));
        }
    }

    fn require(&mut self, requirement: &str, holds: bool) {
        if !holds {
            self.0.push(requirement.to_owned());
        }
    }
}

fn run_dry(row: &Row, problems: &mut Problems) -> Scenario {
    let fixture = Fixture::new(row);
    let mut scenario = fixture.scenario().dry_run().start();
    let answer = scenario.invoke(&fixture.input);
    let planned: Vec<String> = match row.dry_run.as_str() {
        // A trail that fails may still plan `start-logging`.
        "planned" | "failed" => row.steps().iter().map(|(step, _)| format!("{step} planned")).collect(),
        _ => vec![],
    };
    check_answer(row, &row.dry_run, &planned, &answer, problems);
    let before = fixture.trail_key();
    let (key, previous) = match (row.dry_run.as_str(), row.plans("update-trail"), row.plans("create-key")) {
        ("planned", true, true) => (None, before),
        ("planned", true, false) => (fixture.sealing_key.as_ref(), before),
        _ => (before, None),
    };
    problems.equal("key_arn", &json!(key), &answer["trails"][0]["key_arn"]);
    problems.equal("previous_key_arn", &json!(previous), &answer["trails"][0]["previous_key_arn"]);
    require_only_alerts(&scenario, &answer, problems);
    require_unchanged(&fixture.world, &scenario, problems);
    scenario
}

fn run_enforce(row: &Row, problems: &mut Problems) -> Scenario {
    let fixture = Fixture::new(row);
    let mut scenario = fixture.scenario().start();
    let answer = scenario.invoke(&fixture.input);
    let completed: Vec<String> = row.steps().iter().map(|(step, status)| format!("{step} {status}")).collect();
    check_answer(row, &row.enforce, &completed, &answer, problems);
    let after = comparable(scenario.aws.snapshot());
    let state = FinalState { row, fixture: &fixture, after: &after };
    let mut expected = state.writes();
    expected.extend(std::iter::repeat_n("sns:Publish".to_owned(), after.published.len()));
    problems.equal("writes", &json!(expected), &json!(writes(&scenario.aws.calls())));
    problems.equal("key_arn", &json!(state.trail_key()), &answer["trails"][0]["key_arn"]);
    let previous = fixture.trail_key().filter(|_| row.completes("update-trail"));
    problems.equal("previous_key_arn", &json!(previous), &answer["trails"][0]["previous_key_arn"]);
    problems.0.extend(state.problems());
    run_again(row, &fixture, &mut scenario, problems);
    scenario
}

fn check_answer(row: &Row, outcome: &str, steps_expected: &[String], answer: &Value, problems: &mut Problems) {
    let trail = &answer["trails"][0];
    let warnings: Vec<&Value> = trail["warnings"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    problems.equal("outcome", &json!(outcome), &trail["outcome"]);
    problems.equal("findings", &json!(row.findings), &json!(findings(answer)));
    problems.equal("steps", &json!(steps_expected), &json!(steps(answer)));
    problems.equal("warnings", &json!(row.warnings), &json!(warnings));
    let error = match (&trail["error"]["class"], &trail["error"]["operation"]) {
        (Value::String(class), Value::String(operation)) => json!(format!("{class} {operation}")),
        (class, _) => class.clone(),
    };
    let expected = json!(row.error.as_ref().filter(|_| outcome == "failed"));
    problems.equal(&format!("error ({})", trail["error"]["message"]), &expected, &error);
    problems.require("a failure has a remedy", error.is_null() || trail["error"]["remedy"].is_string());
    problems.require("an exemption has a reason", outcome != "exempt" || trail["detail"] == "SEC-42");
    let creates = steps_expected.iter().any(|step| step.starts_with("create-key"));
    problems.require("the answer contains the policy of a new key", creates != trail["new_key_policy"].is_null());
    // Dry-run mode cannot predict that AWS denies `kms:CreateAlias`.
    let strays = if outcome == "planned" && row.enforce == "failed" { 0 } else { row.strays };
    problems.equal("strays", &json!(strays), &json!(answer["strays"].as_array().unwrap().len()));
    let alerts = match outcome {
        "planned" | "remediated" | "noted" | "failed" => true,
        "out-of-scope" => !row.findings.is_empty(),
        _ => false,
    };
    problems.equal("alerts", &json!({ "sent": u32::from(alerts), "failed": 0 }), &answer["alerts"]);
}

fn require_only_alerts(scenario: &Scenario, answer: &Value, problems: &mut Problems) {
    let sent = answer["alerts"]["sent"].as_u64().unwrap();
    let expected = vec!["sns:Publish"; usize::try_from(sent).unwrap()];
    problems.equal("writes", &json!(expected), &json!(writes(&scenario.aws.calls())));
}

/// The state without what changes when no one writes: eventual consistency and the role.
fn comparable(mut world: World) -> World {
    world.caller_policies = None;
    world.caller_function_arn = None;
    world.keys.values_mut().for_each(|key| key.hidden_calls = 0);
    world
}

/// Nothing changed except published alerts.
fn require_unchanged(before: &World, scenario: &Scenario, problems: &mut Problems) {
    let after = comparable(scenario.aws.snapshot());
    let expected = World { published: after.published.clone(), ..comparable(before.clone()) };
    problems.require("nothing changes", expected == after);
}

/// The same event again changes nothing.
fn run_again(row: &Row, fixture: &Fixture, scenario: &mut Scenario, problems: &mut Problems) {
    let before = scenario.aws.snapshot();
    scenario.aws.clear_calls();
    let answer = scenario.invoke(&fixture.input);
    problems.equal("next run: outcome", &json!(row.next_outcome()), &answer["trails"][0]["outcome"]);
    require_unchanged(&before, scenario, problems);
    if row.next_outcome() != "failed" || !row.steps().iter().any(|(_, status)| *status == "failed") {
        require_only_alerts(scenario, &answer, problems);
        return;
    }
    // Denied calls are retried and denied again. `EnableKeyRotation` of an adopted key has no effect.
    let successful: Vec<Call> = scenario.aws.calls().into_iter().filter(|call| call.error.is_none()).collect();
    let no_effect = |call: &String| ["sns:Publish", "kms:EnableKeyRotation"].contains(&call.as_str());
    let effective: Vec<String> = writes(&successful).into_iter().filter(|call| !no_effect(call)).collect();
    problems.equal("next run: writes", &json!([]), &json!(effective));
}

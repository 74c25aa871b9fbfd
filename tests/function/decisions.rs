//! The decision space as data: every row of `tests/decisions.json` is played in a dry-run and enforcing,
//! and is a line of `docs/decisions.md`.

mod document;
mod ending;
mod scenery;
mod table;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::{Scene, findings, steps, writes};
use ending::Ending;
use scenery::Scenery;
use table::{Row, Table};

/// How many rows are played at a time.
const PLAYERS: usize = 4;

#[test]
fn every_decision_is_as_the_table_says() {
    let table = Table::read();
    let plays = table.rows().flat_map(|row| [("dry-run", row), ("enforce", row)]);
    // The second look at a missing key is a long wait: it takes nobody's turn.
    let (slow, quick): (Vec<_>, Vec<_>) = plays.partition(|(_, row)| row.key == "missing");
    let (turns, problems) = (Mutex::new(quick.into_iter()), Mutex::new(Vec::new()));
    let perform = |(mode, row): (&str, &Row)| {
        let found = played(mode, row);
        if !found.is_empty() {
            problems.lock().unwrap().push(format!("{mode}: {}\n    {}", row.given(), found.join("\n    ")));
        }
    };
    let next = || turns.lock().unwrap().next();
    std::thread::scope(|scope| {
        for play in slow {
            scope.spawn(move || perform(play));
        }
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some(play) = next() {
                    perform(play)
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} rows are not as the table says:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_page_of_decisions_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions.md");
    let current = document::page(&Table::read());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        documented == current,
        "docs/decisions.md is stale: run the tests with UPDATE_DOCS=1 and look at the difference"
    );
}

/// What is not as the row says.
fn played(mode: &str, row: &Row) -> Vec<String> {
    let mut problems = Problems::default();
    let play = AssertUnwindSafe(|| match mode {
        "enforce" => enforced(row, &mut problems),
        _ => dry(row, &mut problems),
    });
    let ended = catch_unwind(play);
    problems.0.extend(ended.err().map(words));
    problems.0
}

fn words(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn same(&mut self, what: &str, expected: &Value, actual: &Value) {
        if expected != actual {
            self.0.push(format!("{what}: expected {expected}, got {actual}"));
        }
    }

    fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(what.to_owned());
        }
    }
}

fn dry(row: &Row, problems: &mut Problems) {
    let scenery = Scenery::of(row);
    let mut scene = scenery.setting().dry_run().start();
    let answer = scene.event(scenery.event);
    let planned: Vec<String> = row.steps().iter().map(|(step, _)| format!("{step} planned")).collect();
    said(row, &row.dry_run, &planned, &answer, problems);
    let created = row.steps().iter().any(|(step, _)| *step == "create-key");
    let would_get = match (
        answer["trails"][0]["outcome"] == "planned" && planned.contains(&"update-trail planned".into()),
        created,
    ) {
        (true, true) => json!(null),
        (true, false) => json!(scenery.sealing),
        (false, _) => json!(scenery.world.trails.get(scenery.trail).and_then(|trail| trail.kms_key_id.clone())),
    };
    problems.same("key_arn", &would_get, &answer["trails"][0]["key_arn"]);
    only_alerts(&scene, &answer, problems);
    unchanged(&scenery.world, &scene, problems);
}

fn enforced(row: &Row, problems: &mut Problems) {
    let scenery = Scenery::of(row);
    let mut scene = scenery.setting().start();
    let answer = scene.event(scenery.event);
    let taken: Vec<String> = row.steps().iter().map(|(step, status)| format!("{step} {status}")).collect();
    said(row, &row.enforce, &taken, &answer, problems);
    let after = scene.aws.snapshot();
    let ending = Ending { row, scenery: &scenery, after: &after };
    let mut expected = ending.writes();
    expected.extend(std::iter::repeat_n("sns:Publish".to_owned(), after.published.len()));
    expected.sort();
    let mut made = writes(&scene.aws.calls());
    made.sort();
    problems.same("writes", &json!(expected), &json!(made));
    let key = ending.key();
    let before = scenery.world.trails.get(scenery.trail).and_then(|trail| trail.kms_key_id.clone());
    problems.same("key_arn", &json!(key), &answer["trails"][0]["key_arn"]);
    let previous = if row.takes("update-trail") { json!(before) } else { json!(null) };
    if row.enforce != "failed" {
        problems.same("previous_key_arn", &previous, &answer["trails"][0]["previous_key_arn"]);
    }
    problems.0.extend(ending.problems());
    again(row, &scenery, &mut scene, problems);
}

/// What the answer says of the trail.
fn said(row: &Row, outcome: &str, taken: &[String], answer: &Value, problems: &mut Problems) {
    let trail = &answer["trails"][0];
    let ids = |list: &Value| -> Vec<Value> { list.as_array().unwrap().iter().map(|it| it["id"].clone()).collect() };
    problems.same("outcome", &json!(outcome), &trail["outcome"]);
    problems.same("findings", &json!(row.findings), &json!(findings(answer)));
    problems.same("steps", &json!(taken), &json!(steps(answer)));
    problems.same("warnings", &json!(row.warnings), &json!(ids(&trail["warnings"])));
    let error = match (&trail["error"]["class"], &trail["error"]["operation"]) {
        (Value::String(class), Value::String(operation)) => json!(format!("{class} {operation}")),
        (class, _) => class.clone(),
    };
    let expected = if outcome == "failed" { json!(row.error) } else { json!(null) };
    problems.holds(&format!("the error says more: {}", trail["error"]["message"]), expected == error);
    problems.same("error", &expected, &error);
    problems.holds("an error has a remedy", error.is_null() || trail["error"]["remedy"].is_string());
    problems.holds("an exempt trail has its reason", outcome != "exempt" || trail["detail"] == "SEC-42");
    // A stray arises where its alias could not be created; a dry-run creates none.
    let strays = if outcome != row.enforce && row.write != "everything" { 0 } else { row.strays };
    problems.same("strays", &json!(strays), &json!(answer["strays"].as_array().unwrap().len()));
    let told = ["planned", "remediated", "noted", "failed"].contains(&outcome)
        || (outcome == "out-of-scope" && !row.findings.is_empty());
    problems.same("alerts", &json!({ "sent": u32::from(told), "failed": 0 }), &answer["alerts"]);
}

fn only_alerts(scene: &Scene, answer: &Value, problems: &mut Problems) {
    let made = writes(&scene.aws.calls());
    let sent = answer["alerts"]["sent"].as_u64().unwrap();
    problems.same("writes", &json!(vec!["sns:Publish"; usize::try_from(sent).unwrap()]), &json!(made));
}

/// The world is as it was, but for what was published.
fn unchanged(before: &fake_aws::World, scene: &Scene, problems: &mut Problems) {
    let after = scene.aws.snapshot();
    let expected = fake_aws::World { published: after.published.clone(), ..before.clone() };
    problems.holds("the world was changed", expected == after);
}

/// The same event once more: nothing happens.
fn again(row: &Row, scenery: &Scenery, scene: &mut Scene, problems: &mut Problems) {
    let before = scene.aws.snapshot();
    scene.aws.forget_calls();
    let answer = scene.event(scenery.event);
    problems.same("again: outcome", &json!(row.next()), &answer["trails"][0]["outcome"]);
    unchanged(&before, scene, problems);
    // What is refused is tried again.
    if row.write == "everything" && row.error.as_deref() != Some("terminal cloudtrail:UpdateTrail") {
        only_alerts(scene, &answer, problems);
    }
}

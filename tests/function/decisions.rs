//! The decision space as data: every row of `tests/decisions.json` is played in a dry-run and enforcing,
//! and is a line of `docs/decisions.md`.

mod document;
mod ending;
mod scenery;
mod table;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use fake_aws::{Authorization, Call, World};
use serde_json::{Value, json};

use crate::support::{Scene, findings, steps, writes};
use ending::Ending;
use scenery::Scenery;
use table::{Row, Table};

/// How many rows are played at a time.
const PLAYERS: usize = 4;

/// What came of playing the table.
#[derive(Default)]
pub struct Plays {
    problems: Vec<String>,
    /// What every call was judged by, with the mode.
    pub asked: Vec<(&'static str, Authorization)>,
}

/// Every row in both modes: played by whoever asks first, once.
pub fn plays() -> &'static Plays {
    static PLAYS: OnceLock<Plays> = OnceLock::new();
    PLAYS.get_or_init(play_the_table)
}

fn play_the_table() -> Plays {
    let table = Table::read();
    let plays = table.rows().flat_map(|row| [("dry-run", row), ("enforce", row)]);
    // The second look at a missing key is a long wait: it takes nobody's turn.
    let (slow, quick): (Vec<_>, Vec<_>) = plays.partition(|(_, row)| row.key.starts_with("missing"));
    let (turns, plays) = (Mutex::new(quick.into_iter()), Mutex::new(Plays::default()));
    let perform = |(mode, row): (&'static str, &Row)| {
        let (found, asked) = played(mode, row);
        let mut plays = plays.lock().unwrap();
        plays.asked.extend(asked.into_iter().map(|asked| (mode, asked)));
        if !found.is_empty() {
            plays.problems.push(format!("{mode}: {}\n    {}", row.given(), found.join("\n    ")));
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
    plays.into_inner().unwrap()
}

#[test]
fn every_decision_is_as_the_table_says() {
    let problems = &plays().problems;
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

/// What is not as the row says, and what every call was judged by.
fn played(mode: &str, row: &Row) -> (Vec<String>, Vec<Authorization>) {
    let mut problems = Problems::default();
    let play = AssertUnwindSafe(|| match mode {
        "enforce" => enforced(row, &mut problems),
        _ => dry(row, &mut problems),
    });
    match catch_unwind(play) {
        Ok(scene) => (problems.0, scene.aws.authorizations()),
        Err(panic) => ([problems.0, vec![words(panic)]].concat(), Vec::new()),
    }
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

fn dry(row: &Row, problems: &mut Problems) -> Scene {
    let scenery = Scenery::of(row);
    let mut scene = scenery.setting().dry_run().start();
    let answer = scene.event(scenery.event);
    let planned: Vec<String> = match row.dry_run.as_str() {
        // What starts logging beside a failure is planned, too.
        "planned" | "failed" => row.steps().iter().map(|(step, _)| format!("{step} planned")).collect(),
        _ => vec![],
    };
    said(row, &row.dry_run, &planned, &answer, problems);
    let has = scenery.own_key();
    let (gets, had) = match (row.dry_run.as_str(), row.has("update-trail"), row.has("create-key")) {
        ("planned", true, true) => (None, has),
        ("planned", true, false) => (scenery.sealing.as_ref(), has),
        _ => (has, None),
    };
    problems.same("key_arn", &json!(gets), &answer["trails"][0]["key_arn"]);
    problems.same("previous_key_arn", &json!(had), &answer["trails"][0]["previous_key_arn"]);
    only_alerts(&scene, &answer, problems);
    unchanged(&scenery.world, &scene, problems);
    scene
}

fn enforced(row: &Row, problems: &mut Problems) -> Scene {
    let scenery = Scenery::of(row);
    let mut scene = scenery.setting().start();
    let answer = scene.event(scenery.event);
    let taken: Vec<String> = row.steps().iter().map(|(step, status)| format!("{step} {status}")).collect();
    said(row, &row.enforce, &taken, &answer, problems);
    let after = settled(scene.aws.snapshot());
    let ending = Ending { row, scenery: &scenery, after: &after };
    let mut expected = ending.writes();
    expected.extend(std::iter::repeat_n("sns:Publish".to_owned(), after.published.len()));
    problems.same("writes", &json!(expected), &json!(writes(&scene.aws.calls())));
    problems.same("key_arn", &json!(ending.key()), &answer["trails"][0]["key_arn"]);
    let had = scenery.own_key().filter(|_| row.takes("update-trail"));
    problems.same("previous_key_arn", &json!(had), &answer["trails"][0]["previous_key_arn"]);
    problems.0.extend(ending.problems());
    again(row, &scenery, &mut scene, problems);
    scene
}

/// What the answer says of the trail.
fn said(row: &Row, outcome: &str, taken: &[String], answer: &Value, problems: &mut Problems) {
    let trail = &answer["trails"][0];
    let warnings: Vec<&Value> = trail["warnings"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    problems.same("outcome", &json!(outcome), &trail["outcome"]);
    problems.same("findings", &json!(row.findings), &json!(findings(answer)));
    problems.same("steps", &json!(taken), &json!(steps(answer)));
    problems.same("warnings", &json!(row.warnings), &json!(warnings));
    let error = match (&trail["error"]["class"], &trail["error"]["operation"]) {
        (Value::String(class), Value::String(operation)) => json!(format!("{class} {operation}")),
        (class, _) => class.clone(),
    };
    let expected = json!(row.error.as_ref().filter(|_| outcome == "failed"));
    problems.same(&format!("error ({})", trail["error"]["message"]), &expected, &error);
    problems.holds("a failure names no remedy", error.is_null() || trail["error"]["remedy"].is_string());
    problems.holds("the reason of an exemption is not told", outcome != "exempt" || trail["detail"] == "SEC-42");
    let creates = taken.iter().any(|step| step.starts_with("create-key"));
    problems
        .holds("the policy of a new key is told where one is created", creates != trail["new_key_policy"].is_null());
    // Where an alias may not be created, a dry-run cannot know it.
    let strays = if outcome == "planned" && row.enforce == "failed" { 0 } else { row.strays };
    problems.same("strays", &json!(strays), &json!(answer["strays"].as_array().unwrap().len()));
    let told = match outcome {
        "planned" | "remediated" | "noted" | "failed" => true,
        "out-of-scope" => !row.findings.is_empty(),
        _ => false,
    };
    problems.same("alerts", &json!({ "sent": u32::from(told), "failed": 0 }), &answer["alerts"]);
}

/// No call writes but those that publish.
fn only_alerts(scene: &Scene, answer: &Value, problems: &mut Problems) {
    let sent = answer["alerts"]["sent"].as_u64().unwrap();
    let expected = vec!["sns:Publish"; usize::try_from(sent).unwrap()];
    problems.same("writes", &json!(expected), &json!(writes(&scene.aws.calls())));
}

/// Whether a key is seen yet is nothing that anybody wrote, nor is what the role may do.
fn settled(mut world: World) -> World {
    world.caller_policies = None;
    world.caller_function_arn = None;
    world.keys.values_mut().for_each(|key| key.hidden_calls = 0);
    world
}

/// The world is as it was, but for what was published.
fn unchanged(before: &World, scene: &Scene, problems: &mut Problems) {
    let after = settled(scene.aws.snapshot());
    let expected = World { published: after.published.clone(), ..settled(before.clone()) };
    problems.holds("the world was changed", expected == after);
}

/// The same event once more: nothing happens.
fn again(row: &Row, scenery: &Scenery, scene: &mut Scene, problems: &mut Problems) {
    let before = scene.aws.snapshot();
    scene.aws.clear_calls();
    let answer = scene.event(scenery.event);
    problems.same("again: outcome", &json!(row.next()), &answer["trails"][0]["outcome"]);
    unchanged(&before, scene, problems);
    if row.next() != "failed" || !row.steps().iter().any(|(_, status)| *status == "failed") {
        only_alerts(scene, &answer, problems);
        return;
    }
    // What was refused is tried again, and refused again; an adopted key's rotation is on already.
    let calls: Vec<Call> = scene.aws.calls().into_iter().filter(|call| call.error.is_none()).collect();
    let harmless = |call: &String| ["sns:Publish", "kms:EnableKeyRotation"].contains(&call.as_str());
    let made: Vec<String> = writes(&calls).into_iter().filter(|call| !harmless(call)).collect();
    problems.same("again: writes", &json!([]), &json!(made));
}

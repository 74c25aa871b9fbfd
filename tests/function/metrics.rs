//! What the template's metric filters make of the log: they read the answers, and nothing else counts.
//!
//! Source of the syntax:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_aws::lambda::Invocation;
use fake_aws::{Fault, Trail};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Scene, account, answer_schema, event, sealed};
use crate::template::{Deployment, Template};

/// A metric filter of the template.
struct Filter {
    metric: String,
    terms: Vec<Term>,
    /// A path into the line, or a number.
    value: String,
}

/// One comparison; a pattern is some of them, all of which must hold.
struct Term {
    path: String,
    is: Is,
}

enum Is {
    MoreThan(f64),
    Text(String),
    NotText(String),
    Null,
}

impl Term {
    fn parse(text: &str) -> Self {
        let text = text.trim().trim_start_matches('(').trim_end_matches(')').trim();
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        let literal = || words[2].strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned();
        let is = match words[1] {
            ">" => Is::MoreThan(words[2].parse().unwrap()),
            "=" => Is::Text(literal()),
            "!=" => Is::NotText(literal()),
            "IS" if words[2] == "NULL" => Is::Null,
            _ => panic!("this test does not know `{text}`"),
        };
        Self { path: words[0].to_owned(), is }
    }

    fn holds(&self, line: &Value) -> bool {
        let Some(found) = at(line, &self.path) else { return false };
        match &self.is {
            Is::MoreThan(number) => found.as_f64().is_some_and(|it| it > *number),
            Is::Text(text) => found == text,
            Is::NotText(text) => found != text,
            Is::Null => found.is_null(),
        }
    }
}

/// What a line has at a path like `$.summary.failed`.
fn at<'a>(line: &'a Value, path: &str) -> Option<&'a Value> {
    path.strip_prefix("$.").unwrap().split('.').try_fold(line, |value, name| value.get(name))
}

fn filters() -> Vec<Filter> {
    let stack = Template::read().deploy(&Deployment::new("trailseal", ACCOUNT, "aws", "eu-west-1"));
    let filters = stack.resources.values().filter(|it| it.kind == "AWS::Logs::MetricFilter").map(|it| &it.properties);
    let parsed = filters.map(|it| {
        let pattern = it["FilterPattern"].as_str().unwrap();
        let terms = pattern.strip_prefix("{ ").unwrap().strip_suffix(" }").unwrap().split(" && ");
        let [transformation] = it["MetricTransformations"].as_array().unwrap().as_slice() else { panic!("{it:#}") };
        let text = |name: &str| transformation[name].as_str().unwrap().to_owned();
        assert_eq!(it["LogGroupName"], "/aws/lambda/trailseal");
        assert_eq!(transformation["MetricNamespace"], "trailseal");
        Filter { metric: text("MetricName"), terms: terms.map(Term::parse).collect(), value: text("MetricValue") }
    });
    parsed.collect()
}

/// What CloudWatch would count for the lines of an invocation.
fn counted(invocation: &Invocation) -> BTreeMap<String, f64> {
    let mut counted = BTreeMap::new();
    let lines = invocation.logs.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for line in lines {
        for filter in filters().iter().filter(|it| it.terms.iter().all(|term| term.holds(&line))) {
            let value = if filter.value.starts_with('$') {
                at(&line, &filter.value).and_then(Value::as_f64).unwrap()
            } else {
                filter.value.parse().unwrap()
            };
            *counted.entry(filter.metric.clone()).or_default() += value;
        }
    }
    counted
}

fn count(metrics: &[(&str, f64)]) -> BTreeMap<String, f64> {
    metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

impl Scene {
    fn counts(&mut self, input: &Value) -> BTreeMap<String, f64> {
        counted(&self.function.invoke(input.to_string().as_bytes()))
    }
}

fn sweep() -> Value {
    json!({ "sweep": {} })
}

/// The schema of what stands at a path; `None` if an answer has nothing there.
fn described<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    let resolved = |found: &'a Value| match found["$ref"].as_str() {
        Some(name) => schema.pointer(name.trim_start_matches('#')),
        None => Some(found),
    };
    path.strip_prefix("$.").unwrap().split('.').try_fold(schema, |found, name| {
        let found = resolved(found)?;
        found["properties"].get(name).or_else(|| found.get("additionalProperties"))
    })
}

#[test]
fn every_path_that_a_metric_filter_reads_is_one_of_the_answers() {
    let schema = answer_schema();
    let filters = filters();
    let mut paths: BTreeSet<&str> = filters.iter().flat_map(|it| &it.terms).map(|it| it.path.as_str()).collect();
    paths.extend(filters.iter().map(|it| it.value.as_str()).filter(|it| it.starts_with('$')));
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        assert!(described(&schema, path).is_some(), "{path}");
        // What a trail's outcome is called is known to the schema, too, though its counts are not listed there.
        if let Some(outcome) = path.strip_prefix("$.summary.") {
            assert!(schema["$defs"]["Outcome"].to_string().contains(&format!("\"{outcome}\"")), "{outcome}");
        }
    }
}

#[test]
fn a_trail_that_is_well_counts_for_nothing() {
    let (world, _) = sealed();
    let mut scene = Scene::enforcing(world);
    assert_eq!(scene.counts(&event("update-trail-by-name")), count(&[]));
}

#[test]
fn a_trail_mended_after_an_event_counts_as_a_remediation_and_one_mended_by_a_sweep_does_not() {
    let mut scene = Scene::enforcing(account());
    assert_eq!(scene.counts(&event("update-trail-by-name")), count(&[("Remediations", 1.0)]));
    let mut scene = Scene::enforcing(account());
    assert_eq!(scene.counts(&sweep()), count(&[("Sweeps", 1.0)]));
}

#[test]
fn failed_trails_are_counted_one_by_one() {
    let mut world = account();
    world.add_trail(Trail::new("lost", "eu-west-1", "no-such-bucket"));
    world.add_trail(Trail::new("lost-too", "eu-west-1", "no-such-bucket"));
    let mut scene = Scene::enforcing(world);
    assert_eq!(scene.counts(&sweep()), count(&[("FailedTrails", 2.0), ("Sweeps", 1.0)]));
}

#[test]
fn an_event_that_fails_and_is_tried_again_counts_as_a_failed_trail() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "GetTrail").then(|| Fault::error(400, "ThrottlingException", "")));
    let (_, failed) = scene.failure_within("update-trail-by-name", Duration::from_secs(3));
    assert_eq!(counted(&failed), count(&[("FailedTrails", 1.0)]));
}

#[test]
fn an_alert_that_could_not_be_published_counts_as_lost() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "Publish").then(|| Fault::error(403, "AuthorizationError", "")));
    let counts = scene.counts(&event("update-trail-by-name"));
    assert_eq!(counts, count(&[("LostAlerts", 1.0), ("Remediations", 1.0)]));
}

#[test]
fn a_sweep_that_could_not_list_the_trails_does_not_count_as_one() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::access_denied));
    assert_eq!(scene.counts(&sweep()), count(&[]));
}

#[test]
fn an_event_that_is_ignored_counts_for_nothing() {
    let mut scene = Scene::enforcing(account());
    assert_eq!(scene.counts(&event("get-trail")), count(&[]));
}

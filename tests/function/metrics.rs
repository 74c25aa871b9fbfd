//! The template's metric filters count the answers in the log and nothing else.
//!
//! Filter syntax: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_aws::lambda::Invocation;
use fake_aws::{Fault, Trail};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Scenario, account, answer_schema, event, sealed_account};
use crate::template::{Deployment, Template};

/// A metric filter of the template.
struct Filter {
    metric: String,
    terms: Vec<Term>,
    /// A path into the log line, or a number.
    value: String,
}

/// One comparison of a pattern. All must hold.
struct Term {
    path: String,
    comparison: Comparison,
}

enum Comparison {
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
        let comparison = match words[1] {
            ">" => Comparison::MoreThan(words[2].parse().unwrap()),
            "=" => Comparison::Text(literal()),
            "!=" => Comparison::NotText(literal()),
            "IS" if words[2] == "NULL" => Comparison::Null,
            _ => panic!("unsupported comparison `{text}`"),
        };
        Self { path: words[0].to_owned(), comparison }
    }

    fn holds(&self, line: &Value) -> bool {
        let Some(found) = at(line, &self.path) else { return false };
        match &self.comparison {
            Comparison::MoreThan(number) => found.as_f64().is_some_and(|it| it > *number),
            Comparison::Text(text) => found == text,
            Comparison::NotText(text) => found != text,
            Comparison::Null => found.is_null(),
        }
    }
}

/// The value at a path like `$.summary.failed`.
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

/// The metrics that CloudWatch derives from the log of an invocation.
fn metrics(invocation: &Invocation) -> BTreeMap<String, f64> {
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

fn expected(metrics: &[(&str, f64)]) -> BTreeMap<String, f64> {
    metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

impl Scenario {
    fn metrics(&mut self, input: &Value) -> BTreeMap<String, f64> {
        metrics(&self.function.invoke(input.to_string().as_bytes()))
    }
}

fn sweep() -> Value {
    json!({ "sweep": {} })
}

/// The schema of the value at a path, if the answer has that path.
fn schema_at<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
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
fn metric_filters_read_paths_of_the_answer() {
    let schema = answer_schema();
    let filters = filters();
    let mut paths: BTreeSet<&str> = filters.iter().flat_map(|it| &it.terms).map(|it| it.path.as_str()).collect();
    paths.extend(filters.iter().map(|it| it.value.as_str()).filter(|it| it.starts_with('$')));
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        assert!(schema_at(&schema, path).is_some(), "{path}");
        // The schema defines the outcomes, but not the keys of `summary`.
        if let Some(outcome) = path.strip_prefix("$.summary.") {
            assert!(schema["$defs"]["Outcome"].to_string().contains(&format!("\"{outcome}\"")), "{outcome}");
        }
    }
}

#[test]
fn a_compliant_trail_is_not_counted() {
    let (world, _) = sealed_account();
    let mut scenario = Scenario::enforce(world);
    assert_eq!(scenario.metrics(&event("update-trail-by-name")), expected(&[]));
}

#[test]
fn only_events_count_as_remediations() {
    let mut scenario = Scenario::enforce(account());
    assert_eq!(scenario.metrics(&event("update-trail-by-name")), expected(&[("Remediations", 1.0)]));
    let mut scenario = Scenario::enforce(account());
    assert_eq!(scenario.metrics(&sweep()), expected(&[("Sweeps", 1.0)]));
}

#[test]
fn each_failed_trail_is_counted() {
    let mut world = account();
    world.add_trail(Trail::new("lost", "eu-west-1", "no-such-bucket"));
    world.add_trail(Trail::new("lost-too", "eu-west-1", "no-such-bucket"));
    let mut scenario = Scenario::enforce(world);
    assert_eq!(scenario.metrics(&sweep()), expected(&[("FailedTrails", 2.0), ("Sweeps", 1.0)]));
}

#[test]
fn a_retried_event_counts_as_a_failed_trail() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "GetTrail").then(|| Fault::error(400, "ThrottlingException", "")));
    let (_, failed) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(3));
    assert_eq!(metrics(&failed), expected(&[("FailedTrails", 1.0)]));
}

#[test]
fn an_unpublished_alert_counts_as_lost() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "Publish").then(|| Fault::error(403, "AuthorizationError", "")));
    let metrics = scenario.metrics(&event("update-trail-by-name"));
    assert_eq!(metrics, expected(&[("LostAlerts", 1.0), ("Remediations", 1.0)]));
}

#[test]
fn a_sweep_without_a_list_of_trails_is_not_counted() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "ListTrails").then(Fault::access_denied));
    assert_eq!(scenario.metrics(&sweep()), expected(&[]));
}

#[test]
fn an_ignored_event_is_not_counted() {
    let mut scenario = Scenario::enforce(account());
    assert_eq!(scenario.metrics(&event("get-trail")), expected(&[]));
}

//! What could drift apart: the template, the code, the documents.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests may"
)]

#[path = "drift/permissions.rs"]
mod permissions;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
mod template;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use template::{Deployment, Template};

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every word of a text that starts like that and goes on with the characters that `more` accepts.
fn words(text: &str, start: &str, more: fn(char) -> bool) -> BTreeSet<String> {
    let rest = text.match_indices(start).map(|(at, _)| text.split_at(at).1);
    rest.map(|rest| rest.chars().take_while(|c| more(*c)).collect()).collect()
}

fn variables(path: &str) -> BTreeSet<String> {
    words(&file(path), "TRAILSEAL_", |c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn template_readme_and_code_know_the_same_variables() {
    let code = variables("crates/core/src/config.rs");
    assert_eq!(code.len(), 12);
    assert_eq!(variables("template.yaml"), code);
    assert_eq!(variables("README.md"), code);
}

/// The event names in a constant of the code's.
fn named(source: &str, constant: &str) -> Vec<String> {
    let line = source.lines().find(|line| line.starts_with(&format!("const {constant}: "))).unwrap();
    let (_, list) = line.split_once(" = ").unwrap();
    serde_json::from_str(list.trim_end_matches(';')).unwrap()
}

#[test]
fn the_rules_match_the_events_that_the_code_acts_on() {
    let stack = Template::read().deployed(&Deployment::new("trailseal", "123456789012", "aws", "eu-west-1"));
    let rules = stack.resources.values().filter(|resource| resource.kind == "AWS::Events::Rule");
    let matched: BTreeSet<(String, Vec<String>)> = rules
        .map(|rule| {
            let pattern = &rule.properties["EventPattern"];
            let texts = |list: &Value| serde_json::from_value::<Vec<String>>(list.clone()).unwrap();
            (texts(&pattern["source"]).concat(), texts(&pattern["detail"]["eventName"]))
        })
        .collect();
    let trigger = file("crates/core/src/trigger.rs");
    let of = |source: &str, constant| (source.to_owned(), named(&trigger, constant));
    assert_eq!(matched, BTreeSet::from([of("aws.cloudtrail", "TRAIL_EVENTS"), of("aws.kms", "KEY_EVENTS")]));
}

//! Keeps the template, the code and the documents consistent with each other.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic fails the test"
)]

#[path = "drift/permissions.rs"]
mod permissions;
#[expect(dead_code, reason = "the end-to-end tests use the rest")]
mod template;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use template::{Deployment, Template};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn variables(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let names = text.match_indices("TRAILSEAL_").map(|(start, _)| text.split_at(start).1);
    names.map(|rest| rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect()).collect()
}

#[test]
fn template_readme_and_code_have_the_same_variables() {
    let code = variables("crates/core/src/config.rs");
    assert_eq!(code.len(), 13);
    assert_eq!(variables("template.yaml"), code);
    assert_eq!(variables("README.md"), code);
}

/// The event names in a constant of the source code.
fn event_names(source: &str, constant: &str) -> Vec<String> {
    let line = source.lines().find(|line| line.starts_with(&format!("const {constant}: "))).unwrap();
    let (_, list) = line.split_once(" = ").unwrap();
    serde_json::from_str(list.trim_end_matches(';')).unwrap()
}

#[test]
fn rules_match_the_events_that_the_code_handles() {
    let stack = Template::read().deploy(&Deployment::new("trailseal", "123456789012", "aws", "eu-west-1"));
    let rules = stack.resources.values().filter(|resource| resource.kind == "AWS::Events::Rule");
    let matched: BTreeSet<(String, Vec<String>)> = rules
        .map(|rule| {
            let pattern = &rule.properties["EventPattern"];
            let strings = |list: &Value| serde_json::from_value::<Vec<String>>(list.clone()).unwrap();
            (strings(&pattern["source"]).concat(), strings(&pattern["detail"]["eventName"]))
        })
        .collect();
    let code = read("crates/core/src/trigger/event.rs");
    let handled = [("aws.cloudtrail", "TRAIL_EVENTS"), ("aws.kms", "KEY_EVENTS")];
    let handled = handled.map(|(source, constant)| (source.to_owned(), event_names(&code, constant)));
    assert_eq!(matched, BTreeSet::from(handled));
}

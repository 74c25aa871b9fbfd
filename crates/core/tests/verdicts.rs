//! Every file in `policies/`: a policy, where it is from, and what it says to some questions.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::PathBuf;

use serde_json::Value;
use trailseal_core::iam::Document;

#[expect(dead_code, reason = "each test uses some of it")]
mod asked;

fn files() -> Vec<(PathBuf, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, value)
    };
    files.into_iter().map(read).collect()
}

/// A policy that JSON itself could not hold is written as a text.
fn text(policy: &Value) -> String {
    policy.as_str().map_or_else(|| policy.to_string(), str::to_owned)
}

#[test]
fn every_policy_says_what_aws_documents() {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (path, file) in files() {
        let policy = text(&file["policy"]);
        for question in file["questions"].as_array().unwrap() {
            let verdict = asked::decide(&policy, question);
            let because = question["because"].as_str().unwrap_or_default();
            let outcome = if verdict.is_denied() { "denied" } else { asked::outcome(&verdict) };
            if Some(outcome) != question["outcome"].as_str() || !verdict.to_string().contains(because) {
                wrong.push(format!("{}\n  {question}\n  {verdict}", path.display()));
            }
            asked += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 100, "only {asked} questions were found");
}

#[test]
fn every_policy_names_its_source() {
    for (path, file) in files() {
        let source = file["source"].as_str().expect("a source");
        assert!(source.starts_with("https://") && file["about"].is_string(), "{}", path.display());
    }
}

#[test]
fn every_policy_is_written_back_as_it_was() {
    for (path, file) in files() {
        let text = text(&file["policy"]);
        if let Ok(document) = Document::parse(&text) {
            assert_eq!(document.text(), text, "{}", path.display());
        }
    }
}

//! What could drift apart: the template, the code, the documents.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::path::Path;

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

/// The part of a text from one mark to another.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn every_call_that_the_code_makes_is_allowed() {
    let template = file("template.yaml");
    let policies = [("PolicyName: Read", "PolicyName: Never"), ("PolicyName: Seal", "PolicyName: DryRun")];
    let allowing: Vec<&str> = policies.map(|(from, to)| between(&template, from, to)).into();
    let by_iam = |action: &str| {
        let listed = |line: &str| line.trim().trim_start_matches("- ").trim_start_matches("Action: ") == action;
        allowing.iter().any(|policy| policy.lines().any(listed))
    };
    let sealing = file("crates/core/src/policy/sealing.rs");
    let finishing = between(&sealing, "\"TrailsealFinishesCreation\"", "None");
    let by_new_keys = |action: &str| finishing.contains(&format!("\"{action}\""));

    let mut calls = BTreeSet::new();
    for path in ["read", "write", "publish"] {
        let source = file(&format!("src/aws/{path}.rs"));
        for service in ["cloudtrail:", "kms:", "s3:", "sns:"] {
            calls
                .extend(words(&source, &format!("\"{service}"), |c| c.is_ascii_alphanumeric() || c == ':' || c == '"'));
        }
    }
    assert_eq!(calls.len(), 12, "{calls:?}");
    for call in &calls {
        match call.trim_matches('"') {
            "s3:HeadBucket" => assert!(by_iam("s3:ListBucket")),
            // The key's policy names the role itself, which is enough within an account.
            action @ "kms:EnableKeyRotation" => assert!(by_new_keys(action), "{action}"),
            // Asked of the alias and of the key.
            action @ "kms:CreateAlias" => assert!(by_iam(action) && by_new_keys(action), "{action}"),
            action => assert!(by_iam(action), "{action}"),
        }
    }
    assert!(by_iam("kms:TagResource"), "CreateKey with tags asks for it");
}

#[test]
fn the_rule_matches_the_events_that_the_code_acts_on() {
    let trigger = file("crates/core/src/trigger.rs");
    let events = trigger.lines().find_map(|line| line.strip_prefix("const TRAIL_EVENTS: [&str; 4] = [")).unwrap();
    let listed = events.trim_end_matches("];").replace('"', "");
    assert!(file("template.yaml").contains(&format!("eventName: [{listed}]")), "{listed}");
}

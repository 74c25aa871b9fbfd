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

/// Every operation that a file under `src/aws` names, like `kms:CreateKey`. (`kms:key` is none.)
fn operations(path: &str) -> BTreeSet<String> {
    let source = file(&format!("src/aws/{path}.rs"));
    let named = ["cloudtrail", "kms", "s3", "sns", "tag"]
        .map(|service| words(&source, &format!("\"{service}:"), |c| c.is_ascii_alphanumeric() || c == ':' || c == '"'));
    let named = named.iter().flatten().map(|quoted| quoted.trim_matches('"'));
    let is_operation = |name: &&str| name.split_once(':').is_some_and(|(_, name)| name.starts_with(char::is_uppercase));
    named.filter(is_operation).map(str::to_owned).collect()
}

/// The IAM action that allows an operation.
fn action(operation: &str) -> &str {
    match operation {
        "s3:HeadBucket" => "s3:ListBucket",
        "s3:GetBucketReplication" => "s3:GetReplicationConfiguration",
        operation => operation,
    }
}

/// Whether a part of the template lists the action.
fn lists(part: &str, action: &str) -> bool {
    part.lines().any(|line| line.trim().trim_start_matches("- ").trim_start_matches("Action: ") == action)
}

#[test]
fn every_call_that_the_code_makes_is_allowed() {
    let template = file("template.yaml");
    let reading = between(&template, "PolicyName: Read", "PolicyName: Report");
    let reporting = between(&template, "PolicyName: Report", "PolicyName: Never");
    let sealing = between(&template, "PolicyName: Seal", "PolicyName: DryRun");
    let restoring = between(sealing, "Sid: RestoreAndExtendTheSealingKey", "kms:ResourceAliases: !Ref KeyAlias");
    let policy = file("crates/core/src/policy/sealing.rs");
    let finishing = between(&policy, "\"TrailsealFinishesCreation\"", "None");
    let by_new_keys = |action: &str| finishing.contains(&format!("\"{action}\""));

    let reads: BTreeSet<String> =
        ["read/trails", "read/keys", "read/buckets"].iter().flat_map(|path| operations(path)).collect();
    let writes = operations("write");
    let reports = operations("publish");
    assert_eq!((reads.len(), writes.len(), reports.len()), (13, 8, 1), "{reads:?} {writes:?} {reports:?}");
    assert!(operations("read/mod").is_empty(), "what is sent from there is not looked at here");
    for read in &reads {
        assert!(lists(reading, action(read)), "{read}");
    }
    for write in &writes {
        assert!(!lists(reading, write), "{write}");
        match write.as_str() {
            // The key's policy names the role itself, which is enough within an account.
            "kms:EnableKeyRotation" => assert!(by_new_keys(write), "{write}"),
            // Asked of the alias and of the key.
            "kms:CreateAlias" => assert!(lists(sealing, write) && by_new_keys(write), "{write}"),
            // Of a key that is there, and only if it carries the alias. That a new key's policy allows
            // it too is for KMS's lock-out check.
            "kms:PutKeyPolicy" => assert!(lists(restoring, write) && by_new_keys(write), "{write}"),
            "kms:CancelKeyDeletion" | "kms:EnableKey" => assert!(lists(restoring, write), "{write}"),
            _ => assert!(lists(sealing, write), "{write}"),
        }
    }
    assert!(reports.iter().all(|report| lists(reporting, report)));
    assert!(lists(sealing, "kms:TagResource"), "CreateKey with tags asks for it");
}

#[test]
fn every_write_is_denied_in_dry_run() {
    let template = file("template.yaml");
    let denying = between(&template, "PolicyName: DryRun", "Outputs:");
    for write in operations("write") {
        let denied = denying.lines().filter_map(|line| line.trim().strip_prefix("- ")?.strip_suffix('*'));
        assert!(denied.clone().any(|start| write.starts_with(start)), "{write}");
        assert!(!denied.clone().any(|start| start.ends_with(':')), "reads are not denied");
    }
}

#[test]
fn the_rule_matches_the_events_that_the_code_acts_on() {
    let trigger = file("crates/core/src/trigger.rs");
    let events = trigger.lines().find_map(|line| line.strip_prefix("const TRAIL_EVENTS: [&str; 4] = [")).unwrap();
    let listed = events.trim_end_matches("];").replace('"', "");
    assert!(file("template.yaml").contains(&format!("eventName: [{listed}]")), "{listed}");
}

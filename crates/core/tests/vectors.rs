//! Every file below `vectors/`: a policy, and what AWS's documentation says that it decides. See `vectors/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use trailseal_core::access::{
    KeyAccess, LogFiles, cloudtrail_bucket_access, cloudtrail_key_access, locked_out_readers,
};
use trailseal_core::config::Config;
use trailseal_core::iam::{Decision, Document, evaluate};
use trailseal_core::ids::{AccountId, KeyArn, OrganizationId, TrailArn};
use trailseal_core::key_policy::KeyPolicy;

#[expect(dead_code, reason = "each test uses some of it")]
mod support;

const KEY: &str = "arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const TRAIL: &str = "arn:aws:cloudtrail:us-east-1:111111111111:trail/audit";

struct Vector {
    path: PathBuf,
    json: Value,
}

fn vectors() -> Vec<Vector> {
    let (mut folders, mut vectors) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let json = serde_json::from_str(&fs::read_to_string(&path).unwrap());
                let json = json.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                vectors.push(Vector { path, json });
            }
        }
    }
    vectors
}

impl Vector {
    /// The policy's text. A policy that is not JSON is written as a text.
    fn text(&self) -> String {
        let policy = &self.json["policy"];
        policy.as_str().map_or_else(|| policy.to_string(), str::to_owned)
    }

    fn checks(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.json[kind].as_array().into_iter().flatten()
    }

    /// Each check with the decisions in words, and the reasons.
    fn results(&self) -> Vec<(&Value, Value, String)> {
        let policy = match Document::parse(&self.text()) {
            Ok(policy) => policy,
            Err(malformed) => {
                let result = |check| (check, json!("malformed"), malformed.to_string());
                return self.checks("requests").map(result).collect();
            }
        };
        let words = |decision: &Decision| (json!(decision.name()), decision.to_string());
        let requests = self.checks("requests").map(|check| {
            let mut request = check.clone();
            if request["resource"].is_null() {
                request["resource"] = json!(KEY);
            }
            (check, words(&evaluate(&policy, &support::request(&request))))
        });
        let key_access = self.checks("key_access").map(|check| {
            let id = organization_id(check);
            let access = cloudtrail_key_access(&policy, &key(check), &trail(check), id.as_ref());
            let KeyAccess { generate_data_key, describe_key, decrypt } = access;
            let decisions = [generate_data_key, describe_key, decrypt];
            (check, (json!(decisions.each_ref().map(Decision::name)), decisions.map(|it| it.to_string()).join("; ")))
        });
        let bucket_access = self.checks("bucket_access").map(|check| {
            let trail = trail(check);
            let id = organization_id(check);
            let files = LogFiles {
                organization_id: id.as_ref(),
                bucket_owner: Some(trail.account()),
                ..log_files(check, &trail)
            };
            let access = cloudtrail_bucket_access(&policy, &files, &key(check), check["current_key"].as_str());
            (check, words(access.decisive().1))
        });
        let readers = self.checks("locked_out_readers").map(|check| (check, locked_out(&policy, check)));
        let all = requests.chain(key_access).chain(bucket_access).chain(readers);
        all.map(|(check, (result, reasons))| (check, result, reasons)).collect()
    }
}

fn key(check: &Value) -> KeyArn {
    check["key"].as_str().unwrap_or(KEY).parse().unwrap()
}

fn trail(check: &Value) -> TrailArn {
    check["trail"].as_str().unwrap_or(TRAIL).parse().unwrap()
}

fn organization_id(check: &Value) -> Option<OrganizationId> {
    check["organization_id"].as_str().map(|id| id.parse().unwrap())
}

fn log_files<'a>(check: &'a Value, trail: &'a TrailArn) -> LogFiles<'a> {
    let organization = check["organization"] == true;
    LogFiles { organization, ..LogFiles::new("logs", check["prefix"].as_str(), trail) }
}

/// The readers that the key which trailseal creates for these `log_readers` locks out, with a `?` where uncertain. With
/// `log_readers` of `null`, the key policy is unknown.
fn locked_out(bucket_policy: &Document, check: &Value) -> (Value, String) {
    let trail = trail(check);
    let account: AccountId = trail.account().clone();
    let (partition, region) = (trail.partition(), trail.region());
    let written = check["key_policy"].is_object().then(|| Document::parse(&check["key_policy"].to_string()).unwrap());
    let created = check["log_readers"].as_str().map(|readers| {
        let config = Config::parse(|name| match name {
            "TRAILSEAL_ROLE_ARN" => Some(format!("arn:{partition}:iam::{account}:role/trailseal")),
            "TRAILSEAL_LOG_READERS" => Some(readers.to_owned()),
            _ => None,
        });
        let function = format!("arn:{partition}:lambda:{region}:{account}:function:trailseal");
        KeyPolicy::new(&config.unwrap(), &function.parse().unwrap()).document()
    });
    let (files, key_policy) = (log_files(check, &trail), written.or(created));
    let found = locked_out_readers(bucket_policy, &files, key_policy.as_ref(), &key(check), &account);
    let names = found.iter().map(|it| format!("{}{}", it.reader, if it.certain { "" } else { "?" }));
    let barriers: Vec<String> = found.iter().map(|it| format!("{}: {:?}", it.statement, it.barrier)).collect();
    (names.collect(), barriers.join("; "))
}

#[test]
fn every_policy_decides_as_aws_documents() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        for (check, result, reasons) in vector.results() {
            if result != check["expected"] || !reasons.contains(check["because"].as_str().unwrap_or_default()) {
                wrong.push(format!("{}\n  {check}\n  {result} {reasons}", vector.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_vector_is_complete_and_sourced() {
    let vectors = vectors();
    assert!(vectors.len() >= 100, "only {} vectors", vectors.len());
    let kinds = ["requests", "key_access", "bucket_access", "locked_out_readers"];
    let known = ["caller", "action", "resource", "context", "absent_prefixes", "expected", "because"];
    let known = [
        &known[..],
        &["key", "trail", "organization", "prefix", "log_readers", "key_policy", "organization_id", "current_key"],
    ]
    .concat();
    for Vector { path, json } in vectors {
        let members = json.as_object().unwrap();
        let expected =
            |name: &String| ["source", "why", "policy"].contains(&name.as_str()) || kinds.contains(&name.as_str());
        assert!(members.keys().all(expected), "{}", path.display());
        assert!(
            json["source"].as_str().unwrap().starts_with("https://") && json["why"].is_string(),
            "{}",
            path.display()
        );
        let checks: Vec<&Value> = kinds.iter().filter_map(|kind| json[kind].as_array()).flatten().collect();
        assert!(!checks.is_empty(), "{}", path.display());
        for check in checks {
            let names = check.as_object().unwrap().keys();
            assert!(names.into_iter().all(|name| known.contains(&name.as_str())), "{}: {check}", path.display());
        }
    }
}

#[test]
fn every_policy_is_written_back_unchanged() {
    for vector in vectors() {
        if let Ok(document) = Document::parse(&vector.text()) {
            assert_eq!(document.text(), vector.text(), "{}", vector.path.display());
        }
    }
}

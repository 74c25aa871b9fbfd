//! Policies: parsed, written back and evaluated without a panic, and the evaluation keeps to the rules of IAM that hold
//! for every policy.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use trailseal_core::access::{
    LogFiles, account_readers, cloudtrail_bucket_access, cloudtrail_context, cloudtrail_key_access, decrypters,
    excludes_other_accounts, locked_out_readers, named_key, named_trail_accounts, named_trails,
};
use trailseal_core::iam::{Caller, Context, Decision, Document, Identity, Request, evaluate};
use trailseal_core::ids::{AccountId, KeyArn, TrailArn};

const ACCOUNT: &str = "123456789012";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const TRAIL: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";

fn requests(trail: &TrailArn) -> [Request; 3] {
    let role = Identity::parse("arn:aws:iam::123456789012:role/siem").unwrap();
    let request = |caller, action: &str, resource: &str, context| Request {
        caller,
        action: action.to_owned(),
        resource: resource.to_owned(),
        context,
    };
    let object = "arn:aws:s3:::logs/AWSLogs/123456789012/x.gz";
    let context = cloudtrail_context(trail, None);
    [
        request(Caller::service("cloudtrail.amazonaws.com"), "kms:GenerateDataKey", KEY, context),
        request(Caller::Identity(role), "kms:Decrypt", KEY, Context::new().with("aws:SecureTransport", "true")),
        request(Caller::Anonymous, "s3:GetObject", object, Context::new()),
    ]
}

/// From denied to unknown to allowed.
fn rank(decision: &Decision) -> u8 {
    match decision.name() {
        "unknown" => 1,
        "delegated" => 2,
        "allowed" => 3,
        _ => 0,
    }
}

/// The policy with its statements as `change` returns them.
fn changed(document: &Document, change: impl Fn(&mut Vec<Box<RawValue>>)) -> Document {
    let text = document.text();
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
    let raws = document.statements().iter().map(|it| RawValue::from_string(it.raw().to_owned()).unwrap());
    let mut statements: Vec<Box<RawValue>> = raws.collect();
    change(&mut statements);
    members.insert("Statement".to_owned(), serde_json::value::to_raw_value(&statements).unwrap());
    Document::parse(&serde_json::to_string(&members).unwrap()).unwrap()
}

fn for_everyone(effect: &str) -> Value {
    json!({ "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*" })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(document) = Document::parse(text) else { return };
    let written = document.text();
    let read = Document::parse(&written).unwrap();
    assert_eq!((&read, read.text()), (&document, written), "a policy is written back unchanged");

    let (trail, key): (TrailArn, KeyArn) = (TRAIL.parse().unwrap(), KEY.parse().unwrap());
    let account: AccountId = ACCOUNT.parse().unwrap();
    let reversed = changed(&document, |statements| statements.reverse());
    let twice = changed(&document, |statements| statements.extend_from_slice(&statements.clone()));
    let denied = document.clone().with(&for_everyone("Deny"));
    let open = document.clone().with(&for_everyone("Allow"));
    for request in requests(&trail) {
        let decision = evaluate(&document, &request);
        assert_eq!(decision.name(), evaluate(&reversed, &request).name(), "the order of statements does not matter");
        assert_eq!(decision.name(), evaluate(&twice, &request).name(), "a repeated statement changes nothing");
        let (denied, open) = (evaluate(&denied, &request), evaluate(&open, &request));
        assert!(denied.explicit_deny().is_some() || denied.is_unknown(), "a Deny for everyone denies: {denied}");
        assert!(rank(&denied) <= rank(&decision), "a Deny only lowers");
        assert!(rank(&open) >= rank(&decision), "an Allow only raises");
        // What the report says about it.
        let _ = decision.to_string();
    }

    let files = LogFiles::new("logs", None, &trail);
    let _ = cloudtrail_bucket_access(&document, &files, &key, None).decisive().1.to_string();
    let access = cloudtrail_key_access(&document, &key, &trail, None);
    assert!(access.denied().len() <= 3 && access.unknown().len() <= 2);
    for reader in locked_out_readers(&document, &files, Some(&document), &key, &account) {
        assert!(!reader.reader.is_empty());
    }
    let _ = account_readers(&document, &files, &account);
    let _ = decrypters(&document, &key, &account);
    let _ = excludes_other_accounts(Some(&document), &account);
    let _ = named_key(&document, &account, trail.region());
    let _ = named_trail_accounts(&document);
    let _ = named_trails(&document, &account, trail.region());
});

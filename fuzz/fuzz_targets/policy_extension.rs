//! Key policies that trailseal extends: nothing is lost, nothing but trailseal's own statements is gained, and a second
//! extension adds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use trailseal_core::config::Config;
use trailseal_core::iam::{Caller, Context, Decision, Document, Identity, Request, evaluate};
use trailseal_core::ids::FunctionArn;
use trailseal_core::key_policy::{KeyAdministrator, KeyPolicy};

const READERS: [&str; 5] = [
    "account",
    "210987654321",
    "o-abcdefghij",
    "arn:aws:iam::210987654321:role/siem",
    "arn:aws:iam::123456789012:user/ann",
];

/// The policy of the configuration that these bits choose.
fn key_policy(bits: u8) -> KeyPolicy {
    let is_set = |bit: usize| bits & (1 << bit) != 0;
    let readers: Vec<&str> = READERS.iter().enumerate().filter(|(bit, _)| is_set(*bit)).map(|(_, it)| *it).collect();
    let config = Config::parse(|name| match name {
        "TRAILSEAL_ROLE_ARN" => is_set(5).then(|| "arn:aws:iam::123456789012:role/trailseal".to_owned()),
        "TRAILSEAL_ORG_TRAIL_OWNER" => is_set(6).then(|| "999999999999".to_owned()),
        "TRAILSEAL_LOG_READERS" => Some(readers.join(",")),
        _ => None,
    });
    let function_arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
    KeyPolicy::new(&config.unwrap(), &function_arn)
}

/// What the policy decides about principals that no configuration names.
fn decisions_for_others(document: &Document) -> [Decision; 2] {
    let decide = |caller, action: &str| {
        let resource = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".to_owned();
        evaluate(document, &Request { caller, action: action.to_owned(), resource, context: outsider() })
    };
    let role = Identity::parse("arn:aws:iam::555555555555:role/other").unwrap();
    [decide(Caller::Identity(role), "kms:Decrypt"), decide(Caller::service("logs.amazonaws.com"), "kms:Decrypt")]
}

fn outsider() -> Context {
    Context::new()
        .with("aws:PrincipalOrgID", "o-zzzzzzzzzz")
        .with("aws:PrincipalArn", "arn:aws:iam::555555555555:role/other")
        .with("aws:PrincipalAccount", "555555555555")
        .with("kms:CallerAccount", "555555555555")
        .with("kms:ViaService", "s3.eu-west-1.amazonaws.com")
}

/// A policy's elements besides its statements.
fn without_statements(document: &Document) -> Value {
    let mut policy: Value = serde_json::from_str(&document.text()).unwrap();
    policy.as_object_mut().unwrap().remove("Statement");
    policy
}

fuzz_target!(|data: &[u8]| {
    let Some((bits, text)) = data.split_first() else { return };
    let Some(before) = std::str::from_utf8(text).ok().and_then(|text| Document::parse(text).ok()) else { return };
    // A document keeps numbers that are out of range; this target cannot compare them.
    if serde_json::from_str::<Value>(&before.text()).is_err() {
        return;
    }
    let policy = key_policy(*bits);
    let _ = policy.covers(&before);
    let _ = policy.role_can_finish(&before);
    let _ = policy.unrevoked_readers(&before);
    let _ = policy.rejected_statements(&before);
    let administrator = policy.administrator(&before);
    let Some(extension) = policy.full_extension(&before) else { return };

    let after = Document::parse(&extension.document.text()).unwrap();
    assert_eq!(policy.full_extension(&after), None, "a second extension adds nothing");
    assert_eq!(without_statements(&after), without_statements(&before));
    let (kept, added) = after.statements().split_at(before.statements().len());
    let json = |raw: &str| serde_json::from_str::<Value>(raw).unwrap();
    let changed: Vec<&str> = before
        .statements()
        .iter()
        .zip(kept)
        .filter(|(before, after)| before.raw() != after.raw() && json(before.raw()) != json(after.raw()))
        .filter_map(|(before, _)| before.sid())
        .collect();
    assert_eq!(changed, extension.rewritten, "only a deleted role is replaced");
    let own: Value = json!(policy);
    for (statement, text) in extension.added.iter().zip(added) {
        assert_eq!(*statement, json(text.raw()));
        let template = |own: &Value| ["Effect", "Resource"].iter().all(|name| own[name] == statement[name]);
        assert!(own["Statement"].as_array().unwrap().iter().any(template), "{statement}");
    }
    assert_eq!(extension.added.len(), added.len());
    assert_eq!(decisions_for_others(&before).map(|it| it.name()), decisions_for_others(&after).map(|it| it.name()));
    if administrator != KeyAdministrator::NoPrincipal {
        assert_ne!(policy.administrator(&after), KeyAdministrator::NoPrincipal, "no key is locked");
    }
    assert_eq!(extension.is_applied_to(&after), extension.rewritten.is_empty());
});

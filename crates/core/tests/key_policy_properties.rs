//! What holds for every key policy that is extended, whatever is in it: nothing in it is altered, whom
//! the configuration means gets in, and nobody else does.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Value, json};
use trailseal_core::access::{KeyAccess, cloudtrail_key_access};
use trailseal_core::iam::{Decision, Document};
use trailseal_core::ids::KeyArn;
use trailseal_core::key_policy::{Extension, KeyPolicy, UnrevokedReader};

#[expect(dead_code, reason = "each test uses some of it")]
mod arbitrary_policies;
#[expect(clippy::panic, reason = "a test")]
mod asked;
mod cases;
mod setups;

use asked::{decide, outcome, rank};
use setups::{KEY, READERS, Setup, request, setup};

/// Whether the trail on whose behalf something is asked is the one in the encryption context, if any is.
fn is_about_one_trail(question: &Value) -> bool {
    let [on, inside] =
        ["aws:SourceArn", "kms:EncryptionContext:aws:cloudtrail:arn"].map(|key| &question["context"][key]);
    on.is_null() || inside.is_null() || on == inside
}

fn rank_of(outcome: &str) -> u8 {
    match outcome {
        "allowed" => 3,
        "delegated" => 2,
        _ => 0,
    }
}

/// One element of a statement, changed as somebody might.
fn change() -> impl Strategy<Value = (&'static str, Option<Value>)> {
    let deleted = json!({ "AWS": "AROADBQP57FF2AEXAMPLE" });
    select(vec![
        ("Sid", None),
        ("Sid", Some(json!("TrailsealFinishesCreation"))),
        ("Sid", Some(json!("TrailsealFinishesCreation2"))),
        ("Sid", Some(json!("LogReadersDecrypt"))),
        ("Sid", Some(json!("CloudTrailEncrypts3"))),
        ("Effect", Some(json!("Deny"))),
        ("Principal", Some(deleted.clone())),
        ("Principal", Some(deleted.clone())),
        ("Principal", Some(deleted)),
        ("Principal", Some(json!({ "AWS": ["AROADBQP57FF2AEXAMPLE", "AROADBQP57FF2AEXAMPL2"] }))),
        ("Principal", Some(json!({ "AWS": ["AIDADBQP57FF2AEXAMPLE"] }))),
        ("Principal", Some(json!({ "AWS": ["123456789012", "123456789012"] }))),
        ("Principal", Some(json!("*"))),
        ("Principal", Some(json!({ "AWS": "*" }))),
        ("Action", Some(json!(["KMS:putkeypolicy", "kms:PutKeyPolicy"]))),
        ("Action", Some(json!("kms:*"))),
        ("Action", Some(json!("kms:?ecrypt"))),
        ("Action", Some(json!(["kms:Decrypt", "kms:GenerateDataKey?"]))),
        ("Action", None),
        ("Resource", None),
        ("Resource", Some(json!(["*", KEY]))),
        ("Resource", Some(json!(KEY))),
        ("Condition", None),
        ("Condition", Some(json!({}))),
        ("Condition", Some(json!({ "Bool": { "aws:SecureTransport": "true" } }))),
        ("Condition", Some(json!({ "StringNotEquals": { "kms:ViaService": ["a", "b"] } }))),
        ("Condition", Some(json!({ "StringLike": { "KMS:ViaService": ["s3.*", "ec2.*"] } }))),
        ("Note", Some(json!("x"))),
    ])
}

fn make((element, value): (&str, Option<Value>), place: Index, statements: &mut [Value]) {
    let place = place.index(statements.len());
    let members = statements[place].as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(element.to_owned(), value)),
        None => drop(members.remove(element)),
    }
}

/// A configuration, and the policy of a smaller one with at most one element changed.
fn setup_and_part() -> impl Strategy<Value = (Setup, Value)> {
    let change = prop::option::of((any::<Index>(), change()));
    (setup(), any::<[bool; 8]>(), any::<Index>(), change).prop_map(|(setup, kept, dropped, change)| {
        let readers = setup.readers.iter().zip(kept).filter_map(|(reader, kept)| kept.then_some(*reader)).collect();
        let mut policy = json!(Setup { readers, ..setup.clone() }.policy());
        let statements = policy["Statement"].as_array_mut().unwrap();
        statements.remove(dropped.index(statements.len()));
        if let Some((place, change)) = change {
            make(change, place, statements);
        }
        (setup, policy)
    })
}

/// What trailseal wrote for some configuration, and what became of it.
fn grown_policy() -> impl Strategy<Value = Value> {
    let dropped = prop::collection::vec(any::<Index>(), 0..=3);
    let changes = prop::collection::vec((any::<Index>(), change()), 0..=3);
    let foreign = prop::collection::vec((any::<Index>(), arbitrary_policies::statement()), 0..=3);
    (setup(), dropped, changes, foreign).prop_map(|(setup, dropped, changes, foreign)| {
        let mut policy = json!(setup.policy());
        let statements = policy["Statement"].as_array_mut().unwrap();
        for place in dropped {
            statements.remove(place.index(statements.len()));
        }
        for (place, change) in changes {
            make(change, place, statements);
        }
        for (place, statement) in foreign {
            statements.insert(place.index(statements.len().saturating_add(1)), statement);
        }
        policy
    })
}

fn any_policy() -> impl Strategy<Value = Value> {
    let policy =
        prop_oneof![2 => arbitrary_policies::policy(), 1 => arbitrary_policies::broken_policy(), 5 => grown_policy()];
    (policy, any::<bool>()).prop_map(|(mut policy, alone)| {
        match policy["Statement"].as_array_mut() {
            Some(statements) if alone && statements.len() == 1 => policy["Statement"] = statements.remove(0),
            _ => {}
        }
        policy
    })
}

/// The statements of a policy, also of one in which one stands alone.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        alone => vec![alone.clone()],
    }
}

/// A policy in which nothing is denied, nor may be.
fn open_policy() -> impl Strategy<Value = Value> {
    any_policy().prop_map(|mut policy| {
        let mut statements = statements(&policy);
        statements.iter_mut().for_each(|statement| statement["Effect"] = json!("Allow"));
        policy["Statement"] = json!(statements);
        policy
    })
}

/// The policy's text with what the configuration's lacks, be it nothing.
fn extended(setup: &Setup, policy: &Value) -> String {
    let document = Document::parse(&policy.to_string()).unwrap();
    setup.policy().full_extension(&document).map_or_else(|| document.text(), |extension| extension.document.text())
}

fn readers(unrevoked_readers: Vec<UnrevokedReader>) -> BTreeSet<String> {
    unrevoked_readers.into_iter().map(|it| it.reader).collect()
}

proptest! {
    #![proptest_config(cases::config(1000))]

    #[test]
    fn nothing_that_is_there_is_altered_but_a_deleted_role(setup in setup(), policy in any_policy()) {
        let document = Document::parse(&policy.to_string()).unwrap();
        let Some(Extension { document: extended, added, rewritten, .. }) = setup.policy().full_extension(&document) else { return Ok(()) };
        let (mut after, mut before): (Value, Value) = (serde_json::from_str(&extended.text()).unwrap(), policy);
        let (kept, appended) = (statements(&after), statements(&before));
        let (kept, appended) = (kept[..appended.len()].to_vec(), kept[appended.len()..].to_vec());
        prop_assert_eq!(&appended, &added);
        let mut replaced = Vec::new();
        for (mut after, mut before) in kept.into_iter().zip(statements(&before)) {
            if after != before {
                prop_assert_eq!(&after["Principal"], &json!({ "AWS": setup.role.unwrap() }));
                let role = before["Principal"]["AWS"].to_string();
                prop_assert!(role.trim_start_matches('[').starts_with("\"AROA"), "{}", role);
                replaced.push(after["Sid"].as_str().unwrap().to_owned());
                (after["Principal"], before["Principal"]) = (Value::Null, Value::Null);
                prop_assert_eq!(after, before);
            }
        }
        prop_assert_eq!(replaced, rewritten);
        let sids: Vec<Value> = statements(&before).iter().map(|it| it["Sid"].clone()).collect();
        for (place, statement) in added.iter().enumerate() {
            let sid = &statement["Sid"];
            prop_assert!(!sids.contains(sid) && added[..place].iter().all(|it| it["Sid"] != *sid));
            prop_assert!(["Principal", "Action", "Resource"].iter().all(|it| statement.get(it).is_some()));
        }
        (after["Statement"], before["Statement"]) = (Value::Null, Value::Null);
        prop_assert_eq!(after, before);
    }

    #[test]
    fn a_policy_that_was_extended_needs_nothing_more(setup in setup(), policy in any_policy()) {
        let after = Document::parse(&extended(&setup, &policy)).unwrap();
        prop_assert_eq!(setup.policy().full_extension(&after), None);
    }

    #[test]
    fn whom_the_configuration_means_gets_in(
        setup in setup(),
        policy in open_policy(),
        // CloudTrail asks for one trail, and a policy may know each by a statement of its own.
        question in request().prop_filter("about one trail", is_about_one_trail),
    ) {
        let after = extended(&setup, &policy);
        let (decision, means) = (decide(&after, &question), setup.means(&question));
        prop_assert!(rank(&decision) >= rank_of(means), "{} instead of {} by {}", decision, means, after);
    }

    #[test]
    fn cloudtrail_gets_in_for_the_trails_that_are_meant(setup in setup(), policy in open_policy()) {
        let (after, key) = (extended(&setup, &policy), KEY.parse::<KeyArn>().unwrap());
        for owner in setup.owners() {
            let trail = format!("arn:aws:cloudtrail:us-east-1:{owner}:trail/audit").parse().unwrap();
            let document = Document::parse(&after).unwrap();
            let KeyAccess { generate_data_key, describe_key, decrypt } = cloudtrail_key_access(&document, &key, &trail);
            prop_assert!([generate_data_key, describe_key, decrypt].iter().all(Decision::is_allowed), "{}", after);
        }
    }

    #[test]
    fn nobody_else_gets_in_who_did_not_before(setup in setup(), policy in any_policy(), question in request()) {
        let (before, after) = (decide(&policy.to_string(), &question), decide(&extended(&setup, &policy), &question));
        match setup.means(&question) {
            "allowed" => prop_assert!(rank(&before) <= rank(&after)),
            "delegated" => prop_assert!(outcome(&after) != "allowed" || outcome(&before) == "allowed"),
            _ => prop_assert_eq!(outcome(&before), outcome(&after)),
        }
    }

    #[test]
    fn a_new_keys_policy_answers_what_the_configuration_means(setup in setup(), question in request()) {
        let text = setup.policy().text();
        prop_assert_eq!(outcome(&decide(&text, &question)), setup.means(&question), "{}", text);
    }

    #[test]
    fn a_new_keys_policy_has_nothing_to_be_said_about(setup in setup()) {
        let policy = setup.policy();
        let document = Document::parse(&policy.text()).unwrap();
        prop_assert_eq!(policy.full_extension(&document), None);
        prop_assert!(policy.covers(&document) && KeyPolicy::resembles(&document));
        prop_assert!(policy.unrevoked_readers(&document).is_empty() && policy.rejected_statements(&document).is_empty());
    }

    #[test]
    fn what_a_policy_covers_lets_in_nobody_whom_it_does_not(
        (setup, policy) in prop_oneof![1 => (setup(), any_policy()), 4 => setup_and_part()], question in request(),
    ) {
        let document = Document::parse(&policy.to_string()).unwrap();
        if setup.policy().covers(&document) {
            prop_assert!(rank(&decide(&document.text(), &question)) <= rank_of(setup.means(&question)), "{}", document.text());
        }
    }

    #[test]
    fn new_readers_are_added_and_old_ones_named(
        setup in setup(), readers_before in subsequence(&READERS[..], 0..=READERS.len()),
    ) {
        let before = Setup { readers: readers_before, ..setup.clone() };
        let but = |these: &Setup, those: &Setup| -> BTreeSet<String> {
            these.readers.iter().filter(|it| !those.readers.contains(it)).map(|it| (*it).to_owned()).collect()
        };
        let document = Document::parse(&before.policy().text()).unwrap();
        let extension = setup.policy().full_extension(&document);
        let gained = but(&setup, &before);
        prop_assert_eq!(extension.is_none(), gained.is_empty());
        if let Some(Extension { document, .. }) = extension {
            prop_assert_eq!(readers(before.policy().unrevoked_readers(&document)), gained);
        }
        prop_assert_eq!(readers(setup.policy().unrevoked_readers(&document)), but(&before, &setup));
    }
}

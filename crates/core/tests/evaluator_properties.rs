//! What holds for every policy: no panic, nothing lost, and a decision that is made although something is unknown stays
//! the same whatever that turns out to be.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use proptest::prelude::*;
use serde_json::{Value, json};
use trailseal_core::access::{LogFiles, cloudtrail_bucket_access, locked_out_readers};
use trailseal_core::iam::{Decision, Document, evaluate};

mod cases;
mod support;

use support::{any_policy, any_request, rank, statement};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const TRAIL: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";

fn document(policy: &Value) -> Document {
    Document::parse(&policy.to_string()).unwrap()
}

fn decide(policy: &Value, request: &Value) -> Decision {
    evaluate(&document(policy), &support::request(request))
}

fn rank_of(policy: &Value, request: &Value) -> u8 {
    rank(decide(policy, request).name())
}

fn with(policy: &Value, statement: Value) -> Value {
    let mut longer = policy.clone();
    longer["Statement"].as_array_mut().unwrap().push(statement);
    longer
}

/// The same request without the keys that are bits of `unknown`, or without their values.
fn forget(request: &Value, unknown: u32, only_values: u32) -> Value {
    let mut request = request.clone();
    let context = request["context"].as_object_mut().unwrap();
    let keys: Vec<String> = context.keys().cloned().collect();
    for (bit, key) in keys.iter().enumerate().filter(|(bit, _)| unknown & (1 << bit) != 0) {
        if only_values & (1 << bit) != 0 && !context[key].is_null() {
            context.insert(key.clone(), json!({}));
        } else {
            context.remove(key);
        }
    }
    request
}

proptest! {
    #![proptest_config(cases::config(2000))]

    #[test]
    fn a_decision_with_unknown_keys_is_the_one_with_all_keys(
        policy in any_policy(), request in any_request(), unknown: u32, only_values: u32,
    ) {
        let full = decide(&policy, &request);
        let partial = decide(&policy, &forget(&request, unknown, only_values));
        match (&partial, &full) {
            // More keys can also show that a statement allows the caller itself.
            (Decision::Unknown(_), _) | (Decision::Delegated(_), Decision::Allowed(_)) => {}
            _ => prop_assert_eq!(rank(partial.name()), rank(full.name()), "{} / {}", partial, full),
        }
    }

    #[test]
    fn a_deny_only_lowers_and_an_allow_only_raises(
        policy in any_policy(), more in statement(), request in any_request(),
    ) {
        let (before, after) = (rank_of(&policy, &request), rank_of(&with(&policy, more.clone()), &request));
        if more["Effect"] == "Deny" {
            prop_assert!(after <= before, "{} became {}", before, after);
        } else {
            prop_assert!(after >= before, "{} became {}", before, after);
        }
    }

    #[test]
    fn the_order_of_statements_does_not_matter(policy in any_policy(), request in any_request()) {
        let mut reversed = policy.clone();
        reversed["Statement"].as_array_mut().unwrap().reverse();
        prop_assert_eq!(decide(&policy, &request).name(), decide(&reversed, &request).name());
    }

    #[test]
    fn a_policy_is_written_back_unchanged(policy in any_policy(), more in statement()) {
        let text = policy.to_string();
        let document = Document::parse(&text).unwrap();
        prop_assert_eq!(document.text(), text);
        let longer: Value = serde_json::from_str(&document.with(&more).text()).unwrap();
        prop_assert_eq!(longer, with(&policy, more));
    }

    #[test]
    fn any_text_is_parsed_or_malformed(text in ".{0,60}") {
        if let Ok(document) = Document::parse(&text) {
            prop_assert_eq!(document.text(), text);
        }
    }

    #[test]
    fn a_policy_with_one_changed_character_is_decided(
        policy in any_policy(), place: prop::sample::Index, character in any::<char>(), request in any_request(),
    ) {
        let mut characters: Vec<char> = policy.to_string().chars().collect();
        let place = place.index(characters.len());
        characters[place] = character;
        if let Ok(document) = Document::parse(&characters.into_iter().collect::<String>()) {
            let _: Decision = evaluate(&document, &support::request(&request));
        }
    }
}

proptest! {
    #![proptest_config(cases::config(1000))]

    #[test]
    fn a_deny_adds_no_reader_and_no_bucket_access(
        policy in any_policy(), more in statement(), key_policy in any_policy(), organization: bool,
    ) {
        let mut deny = more;
        deny["Effect"] = json!("Deny");
        let (trail, key, account) = (TRAIL.parse().unwrap(), KEY.parse().unwrap(), "123456789012".parse().unwrap());
        let files = LogFiles { organization, ..LogFiles::new("logs", None, &trail) };
        let denied = deny.to_string();
        let [before, after] = [policy.clone(), with(&policy, deny)].map(|policy| document(&policy));
        let readers = |bucket: &Document| locked_out_readers(bucket, &files, Some(&document(&key_policy)), &key, &account);
        let readers_before = readers(&before);
        for reader in readers(&after) {
            // A Deny can exempt one of many readers, which is then named.
            if denied.contains(&reader.reader) {
                continue;
            }
            let earlier = readers_before.iter().find(|it| it.reader == reader.reader);
            prop_assert!(earlier.is_some_and(|earlier| earlier.certain || !reader.certain), "{:?}", reader);
        }
        let access = |bucket: &Document| cloudtrail_bucket_access(bucket, &files, &key, None).decisive().1.is_allowed();
        prop_assert!(!access(&after) || access(&before));
    }
}

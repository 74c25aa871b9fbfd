//! What holds for every policy, whatever is in it: no panic, nothing lost, and an answer that is given
//! although something is unknown stays true whatever that turns out to be.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use proptest::prelude::*;
use serde_json::{Value, json};
use trailseal_core::iam::{Decision, Document};

mod arbitrary_policies;
mod asked;
mod cases;

use asked::{decide, outcome, rank};

fn any_policy() -> impl Strategy<Value = Value> {
    prop_oneof![3 => arbitrary_policies::policy(), 1 => arbitrary_policies::broken_policy()]
}

/// The same question with some of the facts forgotten, as bits of `forgotten`: `forgotten` altogether,
/// or all but that the key is there.
fn forget(question: &Value, forgotten: u32, only_values: u32) -> Value {
    let mut question = question.clone();
    let context = question["context"].as_object_mut().unwrap();
    let keys: Vec<String> = context.keys().cloned().collect();
    for (bit, key) in keys.iter().enumerate() {
        if forgotten & (1 << bit) == 0 {
            continue;
        }
        if only_values & (1 << bit) != 0 && !context[key].is_null() {
            context.insert(key.clone(), json!({}));
        } else {
            context.remove(key);
        }
    }
    question
}

proptest! {
    #![proptest_config(cases::config(2000))]

    #[test]
    fn an_answer_without_all_facts_is_the_answer_with_them(
        policy in any_policy(), question in arbitrary_policies::request(), forgotten: u32, only_values: u32,
    ) {
        let policy = policy.to_string();
        let (full, partial) = (decide(&policy, &question), decide(&policy, &forget(&question, forgotten, only_values)));
        match (&partial, &full) {
            // More facts may resolve what was unknown: also whether a statement allows the caller itself.
            (Decision::Unknown(_), _) | (Decision::Delegated(_), Decision::Allowed(_)) => {}
            _ => prop_assert_eq!(rank(&partial), rank(&full), "{} / {}", partial, full),
        }
    }

    #[test]
    fn a_deny_more_never_lets_anybody_in_and_an_allow_more_never_keeps_anybody_out(
        policy in any_policy(), more in arbitrary_policies::statement(), question in arbitrary_policies::request(),
    ) {
        let document = Document::parse(&policy.to_string()).unwrap();
        let before = decide(&document.text(), &question);
        let after = decide(&document.with(&more).text(), &question);
        if more["Effect"] == "Deny" {
            prop_assert!(rank(&after) <= rank(&before), "{} became {}", before, after);
        } else {
            prop_assert!(rank(&after) >= rank(&before), "{} became {}", before, after);
        }
    }

    #[test]
    fn the_order_of_the_statements_does_not_matter(policy in any_policy(), question in arbitrary_policies::request()) {
        let mut reversed = policy.clone();
        reversed["Statement"].as_array_mut().unwrap().reverse();
        prop_assert_eq!(outcome(&decide(&policy.to_string(), &question)), outcome(&decide(&reversed.to_string(), &question)));
    }

    #[test]
    fn a_policy_is_written_back_to_the_letter(policy in any_policy(), more in arbitrary_policies::statement()) {
        let text = policy.to_string();
        let document = Document::parse(&text).unwrap();
        prop_assert_eq!(document.text(), text);
        let longer: Value = serde_json::from_str(&document.with(&more).text()).unwrap();
        let (kept, added) = longer["Statement"].as_array().unwrap().split_at(policy["Statement"].as_array().unwrap().len());
        prop_assert_eq!(Value::from(kept.to_vec()), policy["Statement"].clone());
        prop_assert_eq!(added, [more]);
    }

    #[test]
    fn any_text_gets_a_verdict(text in ".{0,60}", question in arbitrary_policies::request()) {
        let _: Decision = decide(&text, &question);
    }

    #[test]
    fn a_policy_with_one_character_changed_gets_a_verdict(
        policy in any_policy(), place: prop::sample::Index, character in any::<char>(), question in arbitrary_policies::request(),
    ) {
        let mut characters: Vec<char> = policy.to_string().chars().collect();
        let place = place.index(characters.len());
        characters[place] = character;
        let _: Decision = decide(&characters.into_iter().collect::<String>(), &question);
    }
}

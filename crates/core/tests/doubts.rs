//! What holds for every policy, whatever is in it: no panic, nothing lost, and an answer that is given
//! although something is unknown stays true whatever that turns out to be.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use proptest::prelude::*;
use serde_json::{Value, json};
use trailseal_core::iam::document::Document;
use trailseal_core::iam::evaluate::{Says, Verdict, ask};

#[expect(dead_code, reason = "each test uses some of it")]
mod asked;
mod cases;
mod hostile;

fn any_policy() -> impl Strategy<Value = Value> {
    prop_oneof![3 => hostile::policy(), 1 => hostile::broken_policy()]
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

fn says(policy: &str, question: &Value) -> Verdict {
    ask(policy, &asked::question(question))
}

proptest! {
    #![proptest_config(cases::config(2000))]

    #[test]
    fn an_answer_without_all_facts_is_the_answer_with_them(
        policy in any_policy(), question in hostile::question(), forgotten: u32, only_values: u32,
    ) {
        let policy = policy.to_string();
        let (full, partial) = (says(&policy, &question), says(&policy, &forget(&question, forgotten, only_values)));
        match (partial.says(), full.says()) {
            // More facts may settle a doubt; and IAM decides at least, where a direct allowance was in doubt.
            (Says::CannotTell, _) | (Says::AccountDecides, Says::Yes) => {}
            (partial_says, full_says) => prop_assert_eq!(partial_says, full_says, "{} / {}", partial, full),
        }
    }

    #[test]
    fn a_deny_more_never_lets_anybody_in_and_an_allow_more_never_keeps_anybody_out(
        policy in any_policy(), more in hostile::statement(), question in hostile::question(),
    ) {
        let document = Document::parse(&policy.to_string()).unwrap();
        let before = says(&document.text(), &question).says();
        let after = says(&document.with(&more).text(), &question).says();
        // From no to cannot tell to yes.
        let rank = |says: Says| match says { Says::No => 0, Says::CannotTell => 1, Says::AccountDecides => 2, Says::Yes => 3 };
        if more["Effect"] == "Deny" {
            prop_assert!(rank(after) <= rank(before), "{:?} became {:?}", before, after);
        } else {
            prop_assert!(rank(after) >= rank(before), "{:?} became {:?}", before, after);
        }
    }

    #[test]
    fn the_order_of_the_statements_does_not_matter(policy in any_policy(), question in hostile::question()) {
        let mut reversed = policy.clone();
        reversed["Statement"].as_array_mut().unwrap().reverse();
        prop_assert_eq!(says(&policy.to_string(), &question).says(), says(&reversed.to_string(), &question).says());
    }

    #[test]
    fn a_policy_is_written_back_to_the_letter(policy in any_policy(), more in hostile::statement()) {
        let text = policy.to_string();
        let document = Document::parse(&text).unwrap();
        prop_assert_eq!(document.text(), text);
        let longer: Value = serde_json::from_str(&document.with(&more).text()).unwrap();
        let (kept, added) = longer["Statement"].as_array().unwrap().split_at(policy["Statement"].as_array().unwrap().len());
        prop_assert_eq!(Value::from(kept.to_vec()), policy["Statement"].clone());
        prop_assert_eq!(added, [more]);
    }

    #[test]
    fn any_text_gets_a_verdict(text in ".{0,60}", question in hostile::question()) {
        let _: Verdict = says(&text, &question);
    }

    #[test]
    fn a_policy_with_one_character_changed_gets_a_verdict(
        policy in any_policy(), place: prop::sample::Index, character in any::<char>(), question in hostile::question(),
    ) {
        let mut characters: Vec<char> = policy.to_string().chars().collect();
        let place = place.index(characters.len());
        characters[place] = character;
        let _: Verdict = says(&characters.into_iter().collect::<String>(), &question);
    }
}

//! The evaluator against an independent one, the crate `iam-rs`.
//!
//! What `iam-rs` cannot read or is documented to get wrong is put into words that it understands; what
//! then still differs has to be in `judge/differences.json`, with AWS's documentation beside it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, Principal, PrincipalId, evaluate_policy};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use trailseal_core::iam::evaluate::{Says, Verdict, ask};

mod asked;
mod cases;
mod hostile;
#[path = "judge/normal.rs"]
mod normal;

/// What `iam-rs` says; nothing if it refuses the policy or the question.
fn judge(policy: &Value, question: &Value) -> Option<Decision> {
    let mut context = Context::new();
    for (key, values) in question["context"].as_object().into_iter().flatten() {
        let texts: Vec<String> = match values {
            Value::Null => continue,
            Value::String(one) => vec![one.clone()],
            many => many.as_array()?.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
        };
        let value = match texts.as_slice() {
            [one] if one == "true" || one == "false" => ContextValue::Boolean(one == "true"),
            [one] => ContextValue::String(one.clone()),
            _ => ContextValue::StringList(texts),
        };
        context.insert(key.clone(), value);
    }
    let caller = question["caller"].as_str()?.to_owned();
    let principal = if caller.starts_with("arn:") { Principal::Aws } else { Principal::Service };
    let request = IAMRequest::new_with_context(
        principal(PrincipalId::String(caller)),
        question["action"].as_str()?,
        Arn::parse(question["resource"].as_str()?).ok()?,
        context,
    );
    evaluate_policy(&IAMPolicy::from_json(&policy.to_string()).ok()?, &request).ok()
}

fn agree(verdict: &Verdict, decision: Decision) -> bool {
    match verdict {
        Verdict::Allowed(_) | Verdict::Delegated(_) => decision == Decision::Allow,
        Verdict::Denied(_) => decision == Decision::Deny,
        // Where nothing is allowed, whether something is denied may have been left open.
        Verdict::NotAllowed(_) => decision != Decision::Allow,
        Verdict::Unclear(_) => false,
    }
}

fn table() -> Value {
    serde_json::from_str(include_str!("judge/differences.json")).unwrap()
}

/// Why they differ, by the id of an entry of the table.
fn explanation(table: &Value, policy: &Value, question: &Value, verdict: &Verdict) -> Option<String> {
    if let Verdict::Unclear(reasons) = verdict {
        // One reason that is known is enough for a doubt, but every one has to be known.
        let known = |why: &str| {
            let entry =
                table["abstentions"].as_array().unwrap().iter().find(|it| why.contains(it["why"].as_str().unwrap()));
            entry.map(|it| it["id"].as_str().unwrap().to_owned())
        };
        let ids: Option<Vec<String>> = reasons.iter().map(|reason| known(&reason.why)).collect();
        return ids?.first().cloned();
    }
    let id = normal::known_failing(policy, question)?;
    let listed = table["differences"].as_array().unwrap().iter().any(|it| it["id"] == id);
    listed.then(|| id.to_owned())
}

#[test]
fn both_judges_agree_or_the_difference_is_explained() {
    let table = table();
    let tally: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let count = |what: &str| *tally.borrow_mut().entry(what.to_owned()).or_default() += 1;
    let compare = |policy: &Value, question: &Value| {
        let verdict = ask(&policy.to_string(), &asked::question(question));
        let words = normal::for_the_judge(policy, question);
        match judge(&words, question) {
            None => match normal::known_refusal(&words) {
                Some(id) => count(&format!("refused: {id}")),
                None => return Err(TestCaseError::fail(format!("iam-rs refuses\n{words}\n{question}"))),
            },
            Some(decision) if agree(&verdict, decision) => count(&format!("agreed: {decision:?}")),
            Some(decision) => match explanation(&table, policy, question, &verdict) {
                Some(id) => count(&format!("explained: {id}")),
                None => {
                    let told = format!("{verdict}\nbut iam-rs: {decision:?}\n{policy}\nread as {words}\n{question}");
                    return Err(TestCaseError::fail(told));
                }
            },
        }
        Ok(())
    };
    let outcome = TestRunner::new(cases::config(4000)).run(
        &(hostile::policy(), hostile::question()),
        |(mut policy, question)| {
            compare(&policy, &question)?;
            // Where everything is allowed, every denial shows.
            let all = json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" });
            policy["Statement"].as_array_mut().unwrap().push(all);
            compare(&policy, &question)
        },
    );
    let tally = tally.into_inner();
    println!("{tally:#?}");
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let of = |prefix: &str| tally.iter().filter(|(what, _)| what.starts_with(prefix)).map(|(_, n)| n).sum::<usize>();
    assert!(of("agreed") * 2 > of(""), "they were compared too rarely");
    for decision in ["agreed: Allow", "agreed: Deny", "agreed: NotApplicable"] {
        assert!(of(decision) * 40 > of(""), "{decision} came too rarely");
    }
}

#[test]
fn on_a_broken_policy_they_never_give_opposite_answers() {
    let table = table();
    TestRunner::new(cases::config(4000))
        .run(&(hostile::broken_policy(), hostile::question()), |(policy, question)| {
            let verdict = ask(&policy.to_string(), &asked::question(&question));
            let words = normal::for_the_judge(&policy, &question);
            if let (false, Some(decision)) = (verdict.says() == Says::CannotTell, judge(&words, &question)) {
                let explained =
                    agree(&verdict, decision) || explanation(&table, &policy, &question, &verdict).is_some();
                prop_assert!(explained, "{}\nbut iam-rs: {:?}\n{}\n{}", verdict, decision, policy, question);
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_difference_in_the_table_is_one_and_names_its_source() {
    let table = table();
    let entries = |what: &str| table[what].as_array().unwrap().clone();
    for entry in entries("differences").iter().chain(&entries("abstentions")) {
        let id = entry["id"].as_str().expect("an id");
        assert!(entry["source"].as_str().is_some_and(|it| it.starts_with("https://")), "{id} has no source");
        assert!(entry["about"].is_string(), "{id} says nothing");
        let (policy, question) = (&entry["policy"], &entry["question"]);
        let verdict = ask(&policy.to_string(), &asked::question(question));
        let theirs = judge(policy, question).map_or("refuses".to_owned(), |decision| format!("{decision:?}"));
        assert_eq!(theirs, entry["theirs"].as_str().unwrap(), "{id}: iam-rs");
        assert_eq!(verdict.says(), asked::says(entry["ours"].as_str().unwrap()), "{id}: {verdict}");
        if verdict.says() == Says::CannotTell {
            assert!(verdict.to_string().contains(entry["why"].as_str().unwrap()), "{id}: {verdict}");
        }
    }
}

#[test]
fn the_policies_from_the_documentation_are_read_alike_where_everything_is_known() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    let (table, mut compared) = (table(), 0);
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let policy = &file["policy"];
        for question in file["questions"].as_array().unwrap() {
            let unknown = |values: &Value| values.is_object();
            let context = question["context"].as_object();
            let settled = question["says"] != "cannot tell" && question["caller"] != "anonymous";
            if !settled || !policy.is_object() || context.is_some_and(|keys| keys.values().any(unknown)) {
                continue;
            }
            let verdict = ask(&policy.to_string(), &asked::question(question));
            let Some(decision) = judge(&normal::for_the_judge(policy, question), question) else { continue };
            let explained = agree(&verdict, decision) || explanation(&table, policy, question, &verdict).is_some();
            assert!(explained, "{}: {question}\n{verdict}\nbut iam-rs: {decision:?}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 60, "only {compared} were compared");
}

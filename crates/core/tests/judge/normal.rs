//! Policies in words that `iam-rs` understands, and what of them it still gets wrong.

use iam_rs::Arn;
use serde_json::{Map, Value, json};

fn listed(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn statements(policy: &Value) -> Vec<Value> {
    listed(&policy["Statement"])
}

/// What the table calls `mixed-principals`, `aws-star-and-services`, `no-version`, `arn-equals-wildcards`,
/// `root-delegation`, `role-and-session` and `variables-before-2012`, put differently; nothing else.
pub(crate) fn for_the_judge(policy: &Value, question: &Value) -> Value {
    let mut policy = policy.clone();
    let caller = question["caller"].as_str().unwrap();
    let each = statements(&policy).into_iter().flat_map(|statement| principals_apart(&statement, caller));
    let older = older(&policy);
    let each = each.map(arn_equals_as_arn_like);
    policy["Statement"] = each.map(|statement| if older { variables_as_texts(statement) } else { statement }).collect();
    if policy.get("Version").is_none() {
        policy["Version"] = json!("2008-10-17");
    }
    policy
}

/// One statement for each kind of principal; for `NotPrincipal`, which cannot be taken apart, one with
/// the caller's kind alone.
fn principals_apart(statement: &Value, caller: &str) -> Vec<Value> {
    let with = |element: &str, principal: Value| {
        let mut statement = statement.clone();
        statement[element] = principal;
        statement
    };
    if let Some(kinds) = statement["Principal"].as_object() {
        return kinds.iter().map(|kind| with("Principal", one_kind(kind, caller))).collect();
    }
    if let Some(kinds) = statement["NotPrincipal"].as_object() {
        let callers = if caller.starts_with("arn:") { "AWS" } else { "Service" };
        // Whoever is everybody is the caller too.
        let everybody = |(kind, value): &(&String, &Value)| *kind == "AWS" && listed(value).contains(&json!("*"));
        let kind = kinds
            .iter()
            .find(everybody)
            .or_else(|| kinds.iter().find(|(kind, _)| *kind == callers))
            .or_else(|| kinds.iter().next());
        return vec![kind.map_or_else(|| statement.clone(), |kind| with("NotPrincipal", one_kind(kind, caller)))];
    }
    vec![statement.clone()]
}

fn one_kind((kind, value): (&String, &Value), caller: &str) -> Value {
    let entries = listed(value);
    if kind == "AWS" && entries.contains(&json!("*")) {
        return json!("*");
    }
    let entry = |entry: &Value| {
        if kind == "AWS" && covers(entry.as_str().unwrap_or_default(), caller) { json!(caller) } else { entry.clone() }
    };
    json!({ kind: entries.iter().map(entry).collect::<Vec<Value>>() })
}

/// Whether an account stands for the caller, or a role for its session.
fn covers(entry: &str, caller: &str) -> bool {
    let mut parts = caller.split(':');
    let (account, resource) = (parts.nth(4).unwrap_or_default(), parts.next().unwrap_or_default());
    let session_of = resource.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next());
    let role = entry.split(":role/").nth(1).and_then(|path| path.rsplit('/').next());
    caller.starts_with("arn:")
        && (entry == account
            || entry == format!("arn:aws:iam::{account}:root")
            || (session_of.is_some() && session_of == role && entry.contains(&format!("::{account}:"))))
}

fn arn_equals_as_arn_like(mut statement: Value) -> Value {
    if let Some(operators) = statement["Condition"].as_object() {
        let mut merged: Map<String, Value> = Map::new();
        for (name, keys) in operators {
            let name = name.replace("ArnEquals", "ArnLike").replace("ArnNotEquals", "ArnNotLike");
            let known = merged.entry(name).or_insert_with(|| json!({}));
            for (key, values) in keys.as_object().into_iter().flatten() {
                // Two operators that become one keep their keys apart by case.
                let key = if known.get(key).is_some() { key.to_ascii_uppercase() } else { key.clone() };
                known[key] = values.clone();
            }
        }
        statement["Condition"] = merged.into();
    }
    statement
}

fn older(policy: &Value) -> bool {
    policy["Version"] != "2012-10-17"
}

/// A resource that no request has, as a variable that is none, and that is not taken for one.
fn variables_as_texts(mut statement: Value) -> Value {
    for element in ["Resource", "NotResource"] {
        if let Some(value) = statement.get_mut(element) {
            *value = serde_json::from_str(&value.to_string().replace("${", "$ {")).unwrap();
        }
    }
    statement
}

fn values_of(question: &Value, key: &str) -> Vec<String> {
    let keys = question["context"].as_object().into_iter().flatten();
    let values = keys.filter(|(name, _)| name.eq_ignore_ascii_case(key)).flat_map(|(_, values)| listed(values));
    values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Each operator, key and value of a policy's conditions.
fn conditions(policy: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for statement in statements(policy) {
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            for (key, values) in keys.as_object().into_iter().flatten() {
                let texts = listed(values).into_iter().filter_map(|value| value.as_str().map(str::to_owned));
                found.extend(texts.map(|value| (operator.clone(), key.clone(), value)));
            }
        }
    }
    found
}

/// What of a policy and a question `iam-rs` is known to get wrong, by the id of an entry of the table.
pub(crate) fn known_failing(policy: &Value, question: &Value) -> Option<&'static str> {
    let parts = |text: &str| text.splitn(6, ':').map(str::to_owned).collect::<Vec<String>>();
    let crosses_a_colon = |(operator, key, value): &(String, String, String)| {
        operator.contains("Arn")
            && values_of(question, key).iter().any(|actual| {
                let apart = parts(value).len() == 6
                    && parts(value)
                        .iter()
                        .zip(parts(actual))
                        .all(|(pattern, part)| Arn::wildcard_match(&part, pattern));
                Arn::wildcard_match(actual, value) && !apart
            })
    };
    let escaped = |text: &str| ["${*}", "${?}", "${$}"].iter().any(|escape| text.contains(escape));
    let in_resources =
        |statement: &Value| ["Resource", "NotResource"].iter().any(|element| escaped(&statement[element].to_string()));
    match conditions(policy) {
        found if found.iter().any(crosses_a_colon) => Some("arn-parts"),
        _ if older(policy) && question["resource"].to_string().contains("${") => Some("variables-before-2012"),
        found if !older(policy) && found.iter().any(|(.., value)| escaped(value)) => Some("escapes-in-conditions"),
        _ if !older(policy) && statements(policy).iter().any(in_resources) => Some("escapes-in-resources"),
        _ => None,
    }
}

/// Why `iam-rs` refuses a policy, by the id of an entry of the table.
pub(crate) fn known_refusal(policy: &Value) -> Option<&'static str> {
    let no_arn = |statement: &Value| {
        ["Resource", "NotResource"]
            .iter()
            .filter_map(|element| statement.get(element))
            .flat_map(listed)
            .any(|resource| resource.as_str().is_some_and(|text| text != "*" && Arn::parse(text).is_err()))
    };
    let of_sets =
        |(operator, ..): &(String, String, String)| operator.starts_with("For") && operator.ends_with("IfExists");
    match conditions(policy) {
        found if found.iter().any(of_sets) => Some("sets-with-if-exists"),
        _ if statements(policy).iter().any(no_arn) => Some("resources-that-are-no-arns"),
        _ => None,
    }
}

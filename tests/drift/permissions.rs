//! docs/permissions.md has a row for every statement of the function's role, as it comes out of the template.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::file;
use crate::template::{Deployment, Template};

/// A row of the page, but for its last cell, which says why. The first cell names the statement.
type Row = [String; 4];

/// A deployment: the mode, and the parameter that is set.
type Case = (&'static str, Option<String>);

/// Every row that the page must have, under the name of its policy.
fn expected() -> BTreeSet<(String, Row)> {
    let template = Template::read();
    let parameters = template.optional_parameters();
    let settings: Vec<Option<String>> =
        std::iter::once(None).chain(parameters.iter().map(|name| Some(name.clone()))).collect();
    let mut rows: BTreeMap<(String, [String; 3]), BTreeSet<Case>> = BTreeMap::new();
    for mode in ["dry-run", "enforce"] {
        for set in &settings {
            let deployment = Deployment::new("STACK", "ACCOUNT", "aws", "REGION").with("Mode", mode);
            let deployment = set.iter().fold(deployment, |it, name| it.with(name, &format!("<{name}>")));
            for (policy, document) in template.deployed(&deployment).policies() {
                for statement in document["Statement"].as_array().unwrap() {
                    let cells = [code(&statement["Sid"]), actions(statement), on(statement)];
                    rows.entry((policy.clone(), cells)).or_default().insert((mode, set.clone()));
                }
            }
        }
    }
    rows.into_iter()
        .map(|((policy, [sid, actions, on]), cases)| (policy, [sid, actions, on, when(&cases, &settings)]))
        .collect()
}

/// In which deployments a statement is there, in words.
fn when(cases: &BTreeSet<Case>, settings: &[Option<String>]) -> String {
    let modes: BTreeSet<&str> = cases.iter().map(|(mode, _)| *mode).collect();
    let sets: BTreeSet<&Option<String>> = cases.iter().map(|(_, set)| set).collect();
    assert_eq!(cases.len(), modes.len() * sets.len(), "a statement hangs on the mode and on a parameter at once");
    let mode = match modes.len() {
        2 => "both modes".to_owned(),
        _ => modes.into_iter().collect(),
    };
    let without: Vec<&Option<String>> = settings.iter().filter(|set| !sets.contains(set)).collect();
    let names = |sets: &[&Option<String>]| match sets {
        [Some(name)] => format!("`{name}`"),
        _ => panic!("a statement hangs on more than one parameter: {sets:?}"),
    };
    if without.is_empty() {
        mode
    } else if sets.contains(&None) {
        format!("{mode}, without {}", names(&without))
    } else {
        format!("{mode}, with {}", names(&sets.into_iter().collect::<Vec<_>>()))
    }
}

fn listed(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |values| values.iter().collect())
}

fn code(value: &Value) -> String {
    format!("`{}`", value.as_str().unwrap())
}

fn codes(value: &Value, between: &str) -> String {
    listed(value).into_iter().map(code).collect::<Vec<_>>().join(between)
}

fn actions(statement: &Value) -> String {
    codes(&statement["Action"], ", ")
}

/// The resources, and the conditions in words.
fn on(statement: &Value) -> String {
    let resources = match (&statement["Resource"], &statement["NotResource"]) {
        (Value::Null, not) => format!("all but {}", codes(not, " and ")),
        (resources, _) => codes(resources, ", "),
    };
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let conditions = operators.flat_map(|(operator, keys)| {
        keys.as_object().unwrap().iter().map(move |(key, value)| {
            let (whose, how) = match operator.as_str() {
                "StringEquals" | "Bool" => ("", "is"),
                "StringNotLike" | "ArnNotLike" => ("", "is not like"),
                "Null" if value == "false" => return format!("`{key}` is there"),
                "ForAnyValue:StringEquals" => ("one of ", "is"),
                "ForAllValues:StringLike" => ("each of ", "is like"),
                operator => panic!("the page has no words for {operator}"),
            };
            format!("{whose}`{key}` {how} {}", codes(value, " or "))
        })
    });
    let conditions: Vec<String> = conditions.collect();
    match conditions.is_empty() {
        true => resources,
        false => format!("{resources} if {}", conditions.join(" and ")),
    }
}

/// The rows of the page, under the policy that the heading above them names, and the reason in each.
fn documented() -> Vec<(String, Row, String)> {
    let page = file("docs/permissions.md");
    let (mut policy, mut rows) = (String::new(), Vec::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.split('`').nth(1).unwrap_or_default().clone_into(&mut policy);
        }
        let cells = line.strip_prefix("| `").and_then(|rest| rest.strip_suffix('|'));
        let cells: Vec<String> =
            cells.into_iter().flat_map(|rest| rest.split('|')).map(|it| it.trim().into()).collect();
        if let [sid, actions, on, when, why] = cells.as_slice() {
            let row = [format!("`{sid}"), actions.clone(), on.clone(), when.clone()];
            rows.push((policy.clone(), row, why.clone()));
        }
    }
    rows
}

#[test]
fn the_page_of_permissions_has_every_statement_of_the_role_and_a_reason_for_each() {
    let (expected, documented) = (expected(), documented());
    let there: BTreeSet<(String, Row)> =
        documented.iter().map(|(policy, row, _)| (policy.clone(), row.clone())).collect();
    let line = |(policy, row): &(String, Row)| format!("under `{policy}`: | {} | … |", row.join(" | "));
    let differences = |of: &BTreeSet<_>, to: &BTreeSet<_>| of.difference(to).map(line).collect::<Vec<_>>().join("\n");
    let (missing, stale) = (differences(&expected, &there), differences(&there, &expected));
    assert!(missing.is_empty() && stale.is_empty(), "docs/permissions.md\nlacks\n{missing}\nhas\n{stale}");
    assert_eq!(documented.len(), there.len(), "no row twice");
    for (_, [sid, ..], why) in documented {
        assert!(why.len() > 20, "{sid} has no reason");
    }
}

#[test]
fn a_policy_of_the_role_either_allows_or_denies_and_its_heading_says_which() {
    let page = file("docs/permissions.md");
    for statement in Template::read().statements() {
        let name = format!("`{}`", statement.policy);
        let heading = page.lines().find(|line| line.starts_with("## ") && line.contains(&name));
        let heading = heading.unwrap_or_else(|| panic!("no heading names {name}"));
        assert_eq!(heading.contains("Denied"), statement.effect == "Deny", "{heading}: {}", statement.sid);
    }
}

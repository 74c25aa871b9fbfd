//! docs/permissions.md has a row for every statement of the function's role in the template.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::read;
use crate::template::{Deployment, Template};

/// The statement's name, its actions, its resources and conditions, and the deployments that have it. The
/// page's fifth cell is the reason.
type Row = [String; 4];

/// The mode, and the optional parameter that is set.
type Case = (&'static str, Option<String>);

/// Every row that the page must have, with the name of its policy.
fn expected_rows() -> BTreeSet<(String, Row)> {
    let template = Template::read();
    let parameters = template.optional_parameters();
    let settings: Vec<Option<String>> =
        std::iter::once(None).chain(parameters.iter().map(|name| Some(name.clone()))).collect();
    let mut rows: BTreeMap<(String, [String; 3]), BTreeSet<Case>> = BTreeMap::new();
    for mode in ["dry-run", "enforce"] {
        for parameter in &settings {
            let deployment = Deployment::new("STACK", "ACCOUNT", "aws", "REGION").with("Mode", mode);
            let deployment = parameter.iter().fold(deployment, |it, name| it.with(name, &format!("<{name}>")));
            for (policy, document) in template.deploy(&deployment).policies() {
                for statement in document["Statement"].as_array().unwrap() {
                    let cells = [code(&statement["Sid"]), element(statement, "Action"), scope(statement)];
                    rows.entry((policy.clone(), cells)).or_default().insert((mode, parameter.clone()));
                }
            }
        }
    }
    rows.into_iter()
        .map(|((policy, [sid, actions, scope]), cases)| (policy, [sid, actions, scope, describe(&cases, &settings)]))
        .collect()
}

/// Describes the deployments that have a statement.
fn describe(cases: &BTreeSet<Case>, settings: &[Option<String>]) -> String {
    let modes: BTreeSet<&str> = cases.iter().map(|(mode, _)| *mode).collect();
    let with: BTreeSet<&Option<String>> = cases.iter().map(|(_, parameter)| parameter).collect();
    assert_eq!(cases.len(), modes.len() * with.len(), "a statement depends on both the mode and a parameter");
    let mode = match modes.len() {
        2 => "both modes".to_owned(),
        _ => modes.into_iter().collect(),
    };
    let without: Vec<&Option<String>> = settings.iter().filter(|parameter| !with.contains(parameter)).collect();
    let name = |parameters: &[&Option<String>]| match parameters {
        [Some(name)] => format!("`{name}`"),
        _ => panic!("a statement depends on more than one parameter: {parameters:?}"),
    };
    if without.is_empty() {
        mode
    } else if with.contains(&None) {
        format!("{mode}, without {}", name(&without))
    } else {
        format!("{mode}, with {}", name(&with.into_iter().collect::<Vec<_>>()))
    }
}

fn code(value: &Value) -> String {
    format!("`{}`", value.as_str().unwrap())
}

/// A value or a list of values, as code.
fn codes(value: &Value, separator: &str) -> String {
    let values = value.as_array().map_or_else(|| vec![value], |values| values.iter().collect());
    values.into_iter().map(code).collect::<Vec<_>>().join(separator)
}

/// The actions or resources, or all but those.
fn element(statement: &Value, name: &str) -> String {
    match &statement[name] {
        Value::Null => format!("all but {}", codes(&statement[format!("Not{name}")], ", ")),
        values => codes(values, ", "),
    }
}

/// The resources and the conditions.
fn scope(statement: &Value) -> String {
    let resources = element(statement, "Resource");
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let conditions = operators.flat_map(|(operator, keys)| {
        keys.as_object().unwrap().iter().map(move |(key, value)| {
            let (quantifier, relation) = match operator.as_str() {
                "StringEquals" | "Bool" => ("", "is"),
                "StringNotLike" | "ArnNotLike" => ("", "is not like"),
                "Null" if value == "false" => return format!("`{key}` is there"),
                "Null" => return format!("`{key}` is not there"),
                "ForAnyValue:StringEquals" => ("one of ", "is"),
                "ForAllValues:StringLike" => ("each of ", "is like"),
                operator => panic!("unsupported condition operator: {operator}"),
            };
            format!("{quantifier}`{key}` {relation} {}", codes(value, " or "))
        })
    });
    let conditions: Vec<String> = conditions.collect();
    match conditions.is_empty() {
        true => resources,
        false => format!("{resources} if {}", conditions.join(" and ")),
    }
}

/// The page's rows, each with the policy that the heading above it names, and with its reason.
fn documented_rows() -> Vec<(String, Row, String)> {
    let page = read("docs/permissions.md");
    let (mut policy, mut rows) = (String::new(), Vec::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.split('`').nth(1).unwrap_or_default().clone_into(&mut policy);
        }
        let cells = line.strip_prefix("| `").and_then(|rest| rest.strip_suffix('|'));
        let cells: Vec<String> =
            cells.into_iter().flat_map(|rest| rest.split('|')).map(|cell| cell.trim().into()).collect();
        if let [sid, actions, scope, deployments, reason] = cells.as_slice() {
            let row = [format!("`{sid}"), actions.clone(), scope.clone(), deployments.clone()];
            rows.push((policy.clone(), row, reason.clone()));
        }
    }
    rows
}

#[test]
fn permissions_page_lists_every_statement_with_a_reason() {
    let (expected, documented) = (expected_rows(), documented_rows());
    let unique: BTreeSet<(String, Row)> =
        documented.iter().map(|(policy, row, _)| (policy.clone(), row.clone())).collect();
    let line = |(policy, row): &(String, Row)| format!("under `{policy}`: | {} | … |", row.join(" | "));
    let difference = |a: &BTreeSet<_>, b: &BTreeSet<_>| a.difference(b).map(line).collect::<Vec<_>>().join("\n");
    let (missing, stale) = (difference(&expected, &unique), difference(&unique, &expected));
    assert!(missing.is_empty() && stale.is_empty(), "docs/permissions.md\nmissing:\n{missing}\nstale:\n{stale}");
    assert_eq!(documented.len(), unique.len(), "a row is duplicated");
    for (_, [sid, ..], reason) in documented {
        assert!(reason.len() > 20, "{sid} has no reason");
    }
}

#[test]
fn permissions_page_headings_say_which_policies_deny() {
    let page = read("docs/permissions.md");
    for statement in Template::read().statements() {
        let name = format!("`{}`", statement.policy);
        let heading = page.lines().find(|line| line.starts_with("## ") && line.contains(&name));
        let heading = heading.unwrap_or_else(|| panic!("no heading names {name}"));
        assert_eq!(heading.contains("Denied"), statement.effect == "Deny", "{heading}: {}", statement.sid);
    }
}

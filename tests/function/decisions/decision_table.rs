//! The decision table as data: terms, each defined once, and rows that use them.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionTable {
    pub terms: Terms,
    pub groups: Vec<Group>,
}

/// A term and its definition.
pub type Term = (String, String);

/// The terms of each column. Several terms in one cell are separated by `, `.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Terms {
    pub trail: Vec<Term>,
    pub key: Vec<Term>,
    pub key_attribute: Vec<Term>,
    pub location: Vec<Term>,
    pub bucket: Vec<Term>,
    pub parameter: Vec<Term>,
}

/// Rows that illustrate one rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub title: String,
    pub summary: String,
    pub rows: Vec<Row>,
}

/// One decision. A step without a status is `done` in enforce mode and `planned` in dry-run mode.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Row {
    #[serde(default = "logging")]
    pub trail: String,
    /// `none`, `sealing key`, or a key and its attributes.
    pub trail_key: String,
    /// `none`, or `location: key`.
    pub sealing_key: String,
    #[serde(default = "default_bucket")]
    pub bucket: String,
    #[serde(default)]
    pub parameters: Vec<String>,
    /// IAM actions that AWS denies the role.
    #[serde(default)]
    pub denied: Vec<String>,
    #[serde(default)]
    pub findings: Vec<String>,
    pub dry_run: String,
    pub enforce: String,
    /// The error class, and the call if a call failed.
    pub error: Option<String>,
    /// The next run's outcome, unless it is `compliant` after `remediated` or unchanged otherwise.
    pub next_run: Option<String>,
    #[serde(default)]
    pub steps: Vec<String>,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub strays: usize,
    /// Why CloudTrail cannot deliver although the outcome is `remediated`.
    pub undelivered: Option<String>,
    #[serde(default)]
    pub note: String,
}

fn logging() -> String {
    "logging".into()
}

fn default_bucket() -> String {
    "default".into()
}

impl DecisionTable {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions.json");
        let table: Self = serde_json::from_str(&std::fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("tests/decisions.json: {error}"));
        let problems = table.problems();
        assert!(problems.is_empty(), "tests/decisions.json: {problems:#?}");
        table
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|group| &group.rows)
    }

    /// Terms that are undefined, duplicated or unused, and duplicate rows.
    fn problems(&self) -> Vec<String> {
        let Terms { trail, key, key_attribute, location, bucket, parameter } = &self.terms;
        let keys = || self.rows().flat_map(|row| row.own_key().into_iter().chain(row.sealing_key().map(|it| it.1)));
        let locations = self.rows().filter_map(|row| Some(row.sealing_key()?.0));
        let parameters = self.rows().flat_map(|row| &row.parameters).map(String::as_str);
        let mut problems = [
            term_problems("trail", trail, self.rows().flat_map(|row| row.trail.split(", "))),
            term_problems("key", key, keys().filter_map(|key| key.split(", ").next())),
            term_problems("key-attribute", key_attribute, keys().flat_map(|key| key.split(", ").skip(1))),
            term_problems("location", location, locations),
            term_problems("bucket", bucket, self.rows().map(|row| row.bucket.as_str())),
            term_problems("parameter", parameter, parameters),
        ]
        .concat();
        let mut situations = BTreeSet::new();
        problems.extend(
            self.rows()
                .map(Row::situation)
                .filter(|situation| !situations.insert(situation.clone()))
                .map(|situation| format!("duplicate row: {situation}")),
        );
        problems
    }
}

fn term_problems<'a>(column: &str, defined: &[Term], used: impl Iterator<Item = &'a str>) -> Vec<String> {
    let used: BTreeSet<&str> = used.collect();
    let mut terms = BTreeSet::new();
    let duplicates: Vec<&str> = defined.iter().map(|(term, _)| term.as_str()).filter(|it| !terms.insert(*it)).collect();
    let undefined = used.difference(&terms).map(|term| format!("`{term}` is undefined for `{column}`: {terms:?}"));
    let unused = terms.difference(&used).map(|term| format!("`{term}` is unused for `{column}`"));
    let duplicates = duplicates.into_iter().map(|term| format!("`{term}` is defined twice for `{column}`"));
    undefined.chain(unused).chain(duplicates).collect()
}

impl Row {
    /// The trail's key and its attributes, if that is neither the sealing key nor none.
    pub fn own_key(&self) -> Option<&str> {
        Some(self.trail_key.as_str()).filter(|key| !["none", "sealing key"].contains(key))
    }

    /// The location of the sealing key, and the key with its attributes.
    pub fn sealing_key(&self) -> Option<(&str, &str)> {
        if self.sealing_key == "none" {
            return None;
        }
        let parts = self.sealing_key.split_once(": ");
        Some(parts.unwrap_or_else(|| panic!("`{}` is not `location: key`", self.sealing_key)))
    }

    /// The row's input, as text.
    pub fn situation(&self) -> String {
        let Self { trail, trail_key, sealing_key, bucket, parameters, denied, .. } = self;
        format!(
            "trail: {trail} | trail's key: {trail_key} | sealing key: {sealing_key} | bucket: {bucket} \
             | parameters: {parameters:?} | denied: {denied:?}"
        )
    }

    /// The steps, each with its status.
    pub fn steps(&self) -> Vec<(&str, &str)> {
        self.steps.iter().map(|step| step.split_once(' ').unwrap_or((step, "done"))).collect()
    }

    /// Whether the plan contains that step.
    pub fn plans(&self, step: &str) -> bool {
        self.steps().iter().any(|(planned, _)| *planned == step)
    }

    /// Whether that step is done in enforce mode.
    pub fn completes(&self, step: &str) -> bool {
        self.steps().contains(&(step, "done"))
    }

    /// The outcome of the run after the first one in enforce mode.
    pub fn next_outcome(&self) -> &str {
        let usual = if self.enforce == "remediated" { "compliant" } else { &self.enforce };
        self.next_run.as_deref().unwrap_or(usual)
    }
}

#[test]
fn undefined_unused_and_duplicate_terms_are_reported() {
    let defined = ["a", "b", "b"].map(|term| (term.to_owned(), String::new()));
    let problems = term_problems("key", &defined, ["a", "c"].into_iter());
    assert_eq!(problems.len(), 3, "{problems:#?}");
    for (problem, expected) in problems.iter().zip(["`c` is undefined", "`b` is unused", "`b` is defined twice"]) {
        assert!(problem.contains(expected), "{problem}");
    }
}

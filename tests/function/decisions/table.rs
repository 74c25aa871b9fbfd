//! The data: words, each defined once, and rows made of them.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub words: Words,
    pub groups: Vec<Group>,
}

/// Every word of each dimension, with what it means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub trail: Vec<(String, String)>,
    pub key: Vec<(String, String)>,
    pub place: Vec<(String, String)>,
    pub bucket: Vec<(String, String)>,
    pub read: Vec<(String, String)>,
    pub write: Vec<(String, String)>,
    pub configuration: Vec<(String, String)>,
}

/// Rows about one idea.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub title: String,
    pub idea: String,
    pub rows: Vec<Row>,
}

/// One decision. A step without a status is `done`, and `planned` in a dry-run.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Row {
    #[serde(default = "logs")]
    pub trail: String,
    /// `none`, `the sealing key`, or a word for a key.
    pub key: String,
    /// `none`, or a place and a word for a key.
    pub sealing: String,
    #[serde(default = "plain")]
    pub bucket: String,
    #[serde(default = "everything")]
    pub read: String,
    #[serde(default = "everything")]
    pub write: String,
    #[serde(default)]
    pub configuration: Vec<String>,
    #[serde(default)]
    pub findings: Vec<String>,
    #[serde(default)]
    pub warnings: Vec<String>,
    pub dry_run: String,
    pub enforce: String,
    #[serde(default)]
    pub steps: Vec<String>,
    /// The class, and the call that failed if it was one.
    pub error: Option<String>,
    #[serde(default)]
    pub strays: usize,
    /// The outcome of the next run, if it is not `compliant` after `remediated` and the same else.
    pub again: Option<String>,
    /// Why CloudTrail cannot deliver although the trail was remediated.
    pub undelivered: Option<String>,
    pub why: String,
}

fn logs() -> String {
    "logs".into()
}

fn plain() -> String {
    "plain".into()
}

fn everything() -> String {
    "everything".into()
}

impl Table {
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

    /// Words that are not defined, defined twice or not used, and rows that say the same twice.
    fn problems(&self) -> Vec<String> {
        let Words { trail, key, place, bucket, read, write, configuration } = &self.words;
        let keys = || self.rows().flat_map(|row| row.own_key().into_iter().chain(row.sealing_key().map(|it| it.1)));
        let mut problems = Vec::new();
        problems.extend(differences("trail", trail, self.rows().map(|row| row.trail.as_str())));
        problems.extend(differences("key", key, keys()));
        problems.extend(differences("place", place, self.rows().filter_map(|row| Some(row.sealing_key()?.0))));
        problems.extend(differences("bucket", bucket, self.rows().map(|row| row.bucket.as_str())));
        problems.extend(differences("read", read, self.rows().map(|row| row.read.as_str())));
        problems.extend(differences("write", write, self.rows().map(|row| row.write.as_str())));
        let configured = self.rows().flat_map(|row| &row.configuration).map(String::as_str);
        problems.extend(differences("configuration", configuration, configured));
        let mut seen = BTreeSet::new();
        problems.extend(
            self.rows().map(Row::given).filter(|row| !seen.insert(row.clone())).map(|row| format!("twice: {row}")),
        );
        problems
    }
}

fn differences<'a>(dimension: &str, defined: &[(String, String)], used: impl Iterator<Item = &'a str>) -> Vec<String> {
    let used: BTreeSet<&str> = used.collect();
    let mut names = BTreeSet::new();
    let twice: Vec<&str> = defined.iter().map(|(name, _)| name.as_str()).filter(|name| !names.insert(*name)).collect();
    let unknown =
        used.difference(&names).map(|name| format!("`{name}` is no word for `{dimension}`; those are {names:?}"));
    let unused = names.difference(&used).map(|name| format!("no row uses `{name}` for `{dimension}`"));
    let twice = twice.into_iter().map(|name| format!("`{name}` is defined twice for `{dimension}`"));
    unknown.chain(unused).chain(twice).collect()
}

impl Row {
    /// The word for the trail's own key, if that is neither the sealing key nor none.
    pub fn own_key(&self) -> Option<&str> {
        Some(self.key.as_str()).filter(|key| !["none", "the sealing key"].contains(key))
    }

    /// Where the sealing key is to be found, and the word for it.
    pub fn sealing_key(&self) -> Option<(&str, &str)> {
        if self.sealing == "none" {
            return None;
        }
        Some(self.sealing.split_once(": ").unwrap_or_else(|| panic!("`{}` is no place and key", self.sealing)))
    }

    /// What is given, as text.
    pub fn given(&self) -> String {
        let mut given = format!("trail: {} | key: {} | sealing key: {}", self.trail, self.key, self.sealing);
        for word in self.besides() {
            given = format!("{given} | {word}");
        }
        given
    }

    /// What is out of the ordinary beside the trail and the keys.
    pub fn besides(&self) -> Vec<String> {
        let mut besides = Vec::new();
        if self.bucket != plain() {
            besides.push(format!("bucket: {}", self.bucket));
        }
        if self.read != everything() {
            besides.push(format!("may read: {}", self.read));
        }
        if self.write != everything() {
            besides.push(format!("may do: {}", self.write));
        }
        besides.extend(self.configuration.iter().map(|word| format!("configured: {word}")));
        besides
    }

    /// The steps, each with its status.
    pub fn steps(&self) -> Vec<(&str, &str)> {
        self.steps.iter().map(|step| step.split_once(' ').unwrap_or((step, "done"))).collect()
    }

    /// Whether that step is listed.
    pub fn has(&self, step: &str) -> bool {
        self.steps().iter().any(|(listed, _)| *listed == step)
    }

    /// Whether that step is taken.
    pub fn takes(&self, step: &str) -> bool {
        self.steps().contains(&(step, "done"))
    }

    /// The outcome of the run after the first one that enforces.
    pub fn next(&self) -> &str {
        let usual = if self.enforce == "remediated" { "compliant" } else { &self.enforce };
        self.again.as_deref().unwrap_or(usual)
    }
}

#[test]
fn a_word_that_is_unknown_unused_or_defined_twice_is_named() {
    let defined = ["a", "b", "b"].map(|word| (word.to_owned(), String::new()));
    let problems = differences("key", &defined, ["a", "c"].into_iter());
    assert_eq!(problems.len(), 3, "{problems:#?}");
    for (problem, word) in problems.iter().zip(["`c` is no word", "no row uses `b`", "`b` is defined twice"]) {
        assert!(problem.contains(word), "{problem}");
    }
}

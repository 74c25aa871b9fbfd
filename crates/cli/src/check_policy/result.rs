//! What was found.

use serde::Serialize;
use serde_json::Value;
use trailseal_core::ids::shorten;

use super::rules::{Level, Rule};
use super::source::{Policy, PolicyKind};

/// Something that was found in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rule: Rule,
    pub(super) level: Level,
    pub(super) place: Location,
    /// On one line.
    pub(super) message: String,
    pub(super) help: Option<Help>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) file: String,
    pub(super) line: usize,
    /// The Terraform address or the logical ID.
    pub(super) resource: Option<String>,
    pub(super) sid: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Help {
    /// On one line.
    pub(super) text: String,
    /// Statements to add.
    pub(super) statements: Vec<Value>,
}

impl Help {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: shorten(&text.into(), 2000), statements: Vec::new() }
    }

    /// The statements as JSON, one element on a line, in the order of AWS's documentation.
    pub(super) fn json(&self) -> Option<String> {
        let element =
            |statement: &Value, name: &str| Some(shorten(&format!("  \"{name}\": {}", statement.get(name)?), 4000));
        let statement = |it: &Value| {
            let elements = ELEMENTS.iter().filter_map(|name| element(it, name));
            format!("{{\n{}\n}}", elements.collect::<Vec<String>>().join(",\n"))
        };
        let statements: Vec<String> = self.statements.iter().map(statement).collect();
        (!statements.is_empty()).then(|| statements.join(",\n"))
    }

    /// The text, then the JSON.
    pub(super) fn lines(&self) -> String {
        self.json().map_or_else(|| self.text.clone(), |json| format!("{}\n{json}", self.text))
    }
}

const ELEMENTS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

/// The results for all files.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) policies: Vec<Checked>,
    pub(super) found: Vec<Found>,
    pub(super) not_about_cloudtrail: usize,
    pub(super) unknown: usize,
}

/// A policy that was checked.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    file: String,
    line: usize,
    resource: Option<String>,
    kind: &'static str,
    /// The trails that it was checked for.
    trails: Vec<String>,
    unresolved: Vec<Open>,
}

/// An expression that the file leaves open.
#[derive(Debug, Serialize)]
struct Open {
    expression: String,
    line: usize,
}

impl Checked {
    pub(super) fn new(file: &str, policy: &Policy, trails: Vec<String>) -> Self {
        let open = |it: &super::source::Unresolved| Open { expression: it.expression.clone(), line: it.line };
        Self {
            file: file.to_owned(),
            line: policy.document.line,
            resource: policy.resource.clone(),
            kind: policy.kind.name(),
            trails,
            unresolved: policy.unresolved.iter().map(open).collect(),
        }
    }
}

impl PolicyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Bucket => "bucket",
        }
    }
}

impl Report {
    pub(super) fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|it| it.level == level).count()
    }

    /// Whether something must or should be changed.
    pub(super) fn has_findings(&self) -> bool {
        self.found.iter().any(|it| it.level <= Level::Warning)
    }

    /// The files in order, in each the lines in order, and on a line the most serious first.
    pub(super) fn sort(&mut self, files: &[String]) {
        let order = |file: &str| files.iter().position(|it| it == file);
        self.found.sort_by_key(|it| (order(&it.place.file), it.place.line, it.level, it.rule));
    }

    /// The results in one line.
    pub(super) fn summary(&self) -> String {
        let plural = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        };
        let counts = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")];
        let counts = counts.map(|(level, name)| (self.count(level), name)).into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, name)| plural(count, name, &format!("{name}s"))).collect();
        let checked = plural(self.policies.len(), "policy checked", "policies checked");
        let mut summary = match (self.policies.is_empty(), counts.is_empty()) {
            (true, true) => checked,
            (false, true) => format!("{checked}: no errors or warnings"),
            _ => format!("{checked}: {}", counts.join(", ")),
        };
        if self.not_about_cloudtrail > 0 {
            let others = plural(self.not_about_cloudtrail, "policy is", "policies are");
            summary.push_str(&format!("; {others} not about CloudTrail"));
        }
        if self.unknown > 0 {
            let others = plural(self.unknown, "other policy is", "other policies are");
            summary.push_str(&format!("; {others} known only after a deployment"));
        }
        summary
    }
}

//! What would change in the policies of existing keys, as a diff.

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use similar::TextDiff;
use trailseal_core::iam::Document;
use trailseal_core::report::Answer;

/// For each key whose policy would change, a diff of the whole policy.
pub(crate) fn policy_diffs(answer: &Answer) -> String {
    let trails = answer.trails.iter();
    let changes = trails.filter_map(|trail| Some((trail.key_arn.as_ref()?, trail.policy_change.as_ref()?)));
    let diffs = changes.map(|(key, change)| {
        let (before, after) = (lines(&change.before), lines(&change.extension.document));
        let diff = TextDiff::from_lines(&before, &after).unified_diff().header("policy", "planned policy").to_string();
        format!("\nPolicy of key `{key}`:\n{}", paint(&diff))
    });
    diffs.collect()
}

/// A policy with one element per line.
fn lines(policy: &Document) -> String {
    let parsed = serde_json::from_str::<Value>(&policy.text());
    parsed.map_or_else(|_| policy.text(), |policy| format!("{policy:#}\n"))
}

fn paint(diff: &str) -> String {
    let paint_line = |line: &str| {
        let color = match line.chars().next() {
            Some('+') => AnsiColor::Green,
            Some('-') => AnsiColor::Red,
            _ => return line.to_owned(),
        };
        let style = Style::new().fg_color(Some(color.into()));
        format!("{style}{line}{style:#}")
    };
    diff.split_inclusive('\n').map(paint_line).collect()
}

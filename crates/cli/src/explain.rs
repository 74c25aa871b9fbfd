//! `trailseal explain`: the sections of docs/findings.md.

use clap::Args;
use serde_json::{Value, json};
use strsim::damerau_levenshtein;

use crate::failure::Failed;

const PAGE: &str = include_str!("../../../docs/findings.md");

/// What precedes the page that a section cites.
const SOURCE: &str = "Source: <";

const EXAMPLE: &str = "\
Examples:
  trailseal explain key-disabled planned
  trailseal explain";

/// Explain IDs in a report: what they mean and what to do
///
/// Without an ID, lists all of them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, max_term_width = 100)]
#[group(skip)]
pub(crate) struct Options {
    /// IDs, as in an alert or in the output of `trailseal plan`
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

impl Options {
    /// The section of each ID, or a list.
    ///
    /// # Errors
    ///
    /// There is no such ID.
    pub(crate) fn text(&self) -> Result<String, Failed> {
        if self.ids.is_empty() {
            return Ok(list());
        }
        let wanted = self.ids.iter().map(|id| id.trim().to_ascii_lowercase().replace('_', "-"));
        let text = |id: String| Section::of(&id).map(|section| section.text()).ok_or_else(|| unknown(&id));
        let texts: Result<Vec<String>, Failed> = wanted.map(text).collect();
        texts.map(|texts| texts.join("\n"))
    }
}

/// A section of the page.
pub(crate) struct Section {
    id: &'static str,
    /// The heading of its group, such as `Findings`.
    group: &'static str,
    body: &'static str,
}

impl Section {
    /// As a terminal shows it: without the marks of Markdown.
    fn text(&self) -> String {
        let kind = self.group.to_ascii_lowercase();
        let body = self.body.replace("**", "").replace(['<', '>'], "");
        format!("{} ({})\n\n{}\n", self.id, kind.trim_end_matches('s'), linked(&body))
    }

    /// Every section.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        sections()
    }

    pub(crate) fn id(&self) -> &'static str {
        self.id
    }

    /// Its rule in SARIF.
    pub(crate) fn sarif_rule(&self) -> Value {
        let mut rule = json!({
            "id": self.id,
            "shortDescription": { "text": self.summary() },
            "fullDescription": { "text": self.explanation() },
            "help": { "text": self.explanation() },
        });
        if let (Some(page), Some(members)) = (self.source(), rule.as_object_mut()) {
            members.insert("helpUri".to_owned(), page.into());
        }
        rule
    }

    /// The section of an ID.
    pub(crate) fn of(id: &str) -> Option<Self> {
        sections().find(|section| section.id == id)
    }

    /// What it says, as plain text, without the page that it cites.
    pub(crate) fn explanation(&self) -> String {
        let paragraphs = self.body.split("\n\n").filter(|text| !text.starts_with(SOURCE));
        let plain = |text: &str| linked(&text.replace("**Fix.**", "Fix:").replace('\n', " "));
        paragraphs.map(plain).collect::<Vec<String>>().join("\n")
    }

    /// The page of AWS that it cites.
    pub(crate) fn source(&self) -> Option<&'static str> {
        self.body.rsplit_once(SOURCE)?.1.trim().strip_suffix('>')
    }

    /// Its first sentence.
    fn summary(&self) -> String {
        let paragraph = self.body.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        paragraph.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned()
    }
}

/// Links to other pages as their text: `[text](page)`.
fn linked(body: &str) -> String {
    let mut parts = body.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        match part.split_once("](").and_then(|(name, rest)| Some((name, rest.split_once(')')?))) {
            Some((name, (page, rest))) => format!("{text}{name} (docs/{page}){rest}"),
            None => format!("{text}[{part}"),
        }
    })
}

fn sections() -> impl Iterator<Item = Section> {
    PAGE.split("\n## ").skip(1).flat_map(|group| {
        let (heading, rest) = group.split_once('\n').unwrap_or((group, ""));
        rest.split("\n### ").skip(1).filter_map(move |section| {
            let (id, body) = section.split_once('\n')?;
            Some(Section { id: id.trim(), group: heading, body: body.trim() })
        })
    })
}

fn list() -> String {
    let width = sections().map(|section| section.id.len()).max().unwrap_or_default();
    let mut group = "";
    let mut text = String::new();
    for section in sections() {
        if section.group != group {
            group = section.group;
            let gap = if text.is_empty() { "" } else { "\n" };
            text += &format!("{gap}{group}\n");
        }
        text += &format!("  {:width$}  {}\n", section.id, section.summary());
    }
    text
}

fn unknown(wanted: &str) -> Failed {
    let mut ids: Vec<(usize, &str)> =
        sections().map(|section| (damerau_levenshtein(section.id, wanted), section.id)).collect();
    ids.sort_unstable();
    let near: Vec<String> = ids.iter().take(3).map(|(_, id)| format!("`{id}`")).collect();
    Failed::new(
        format!("unknown ID `{}`", trailseal_core::ids::shorten(wanted, 80)),
        format!("similar IDs: {}; `trailseal explain` lists all IDs", near.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// The constants of every enumeration in the schema of the answer.
    fn constants(schema: &Value, name: &str) -> BTreeSet<String> {
        let definition = &schema["$defs"][name];
        let listed = definition["enum"].as_array().into_iter().flatten().cloned();
        let described = definition["oneOf"].as_array().into_iter().flatten().map(|one| one["const"].clone());
        listed.chain(described).filter_map(|it| it.as_str().map(str::to_owned)).collect()
    }

    #[test]
    fn every_id_of_the_answer_is_explained_and_no_other() {
        let schema: Value = serde_json::from_str(include_str!("../../../docs/answer.schema.json")).unwrap();
        for (group, name) in
            [("Findings", "FindingId"), ("Warnings", "WarningId"), ("Outcomes", "Outcome"), ("Steps", "StepName")]
        {
            let ids: BTreeSet<String> = sections().filter(|it| it.group == group).map(|it| it.id.to_owned()).collect();
            assert_eq!(ids, constants(&schema, name), "{group}");
        }
    }

    #[test]
    fn every_finding_and_warning_says_what_to_do_and_cites_aws() {
        for Section { id, group, body } in sections() {
            let is_complete = body.contains("**Fix.** ") && body.contains("Source: <https://docs.aws.amazon.com/");
            assert!(is_complete || matches!(group, "Outcomes" | "Steps"), "{id}");
        }
    }

    #[test]
    fn an_unknown_id_names_similar_ones() {
        let failed = unknown("key-disable").to_string();
        assert!(failed.contains("similar IDs: `key-disabled`, "), "{failed}");
    }
}

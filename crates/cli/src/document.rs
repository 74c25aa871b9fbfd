//! An answer as a document to send or to publish: SARIF, Markdown and HTML.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::{Value, json};
use trailseal_core::config::Mode;
use trailseal_core::report::{Answer, Outcome, steps_heading, summary};

use crate::check_policy::sarif;
use crate::explain::Section;
use crate::failure::Failed;

/// The parts of an answer that a document shows, as its JSON has them.
#[derive(Deserialize)]
pub(crate) struct Document {
    mode: String,
    trails: Vec<Trail>,
    warnings: Vec<Described>,
    strays: Vec<Stray>,
    #[serde(skip)]
    account: String,
    #[serde(skip)]
    summary: String,
    #[serde(skip)]
    new_key_policy: Option<String>,
}

#[derive(Deserialize)]
struct Trail {
    trail_arn: String,
    outcome: String,
    detail: Option<String>,
    findings: Vec<Described>,
    steps: Vec<Step>,
    warnings: Vec<Described>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    detail: String,
}

#[derive(Deserialize)]
struct Step {
    step: String,
    status: String,
    detail: String,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
    remedy: Option<String>,
}

#[derive(Deserialize)]
struct Stray {
    key_arn: String,
    command: String,
    caution: Option<String>,
}

impl Document {
    /// # Errors
    ///
    /// The answer has another form than the schema says.
    pub(crate) fn new(answer: &Answer, account: &str) -> Result<Self, Failed> {
        let parsed = serde_json::to_value(answer).and_then(serde_json::from_value::<Self>);
        let document = parsed.map_err(|error| Failed::new(format!("cannot write the document: {error}"), ""))?;
        let policy = answer.trails.iter().find_map(|trail| trail.new_key_policy.as_ref());
        Ok(Self {
            account: format!("account {account}"),
            summary: summary(answer),
            new_key_policy: policy.and_then(|policy| serde_json::to_string_pretty(policy).ok()),
            ..document
        })
    }

    fn title(&self) -> String {
        format!("CloudTrail encryption of {}", self.account)
    }

    fn is_dry_run(&self) -> bool {
        self.mode == Mode::DryRun.as_str()
    }

    fn steps_heading(&self, trail: &Trail) -> &'static str {
        steps_heading(self.is_dry_run(), trail.outcome == Outcome::Failed.as_str())
    }

    /// For a comment on a pull request, or a page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title(), self.summary);
        if !self.trails.is_empty() {
            text += "\n| trail | Region | outcome | findings |\n|---|---|---|---|\n";
        }
        for trail in &self.trails {
            let findings: Vec<&str> = trail.findings.iter().map(|finding| finding.id.as_str()).collect();
            let cells = [trail.name(), trail.region(), &trail.outcome, &findings.join(", ")].map(cell);
            text += &format!("| {} |\n", cells.join(" | "));
        }
        for trail in self.trails.iter().filter(|trail| trail.has_details()) {
            text += &format!("\n## {}: {}\n\n`{}`\n", cell(trail.name()), trail.outcome, trail.trail_arn);
            text += &list("Findings", trail.findings.iter().map(Described::line));
            text += &list("Failed", trail.error.iter().map(Failure::line));
            text += &list(self.steps_heading(trail), trail.steps.iter().map(|step| step.line(self.is_dry_run())));
            text += &list("Warnings", trail.warnings.iter().map(Described::line));
            text += &list("Not changed", trail.detail.iter().cloned());
        }
        text += &list(
            "About the account",
            self.warnings.iter().map(Described::line).chain(self.strays.iter().map(Stray::line)),
        );
        if let Some(policy) = &self.new_key_policy {
            text += &format!(
                "\n<details><summary>Policy of each new key</summary>\n\n```json\n{policy}\n```\n\n</details>\n"
            );
        }
        text
    }

    /// For tools that collect findings. A trail has no file, so its ARN is the location. What could not be checked is an error:
    /// an empty log would count as fixed.
    pub(crate) fn sarif(&self) -> String {
        let trails = self.trails.iter().flat_map(Trail::sarif_results);
        let account = self.warnings.iter().map(|warning| warning.sarif_result("warning", &self.account));
        let results: Vec<Value> = trails.chain(account).collect();
        let rules = Section::all().filter(|section| results.iter().any(|result| result["ruleId"] == section.id()));
        let rules: Vec<Value> = rules.map(|section| section.sarif_rule()).collect();
        format!("{:#}\n", sarif::document(rules, results))
    }

    /// One self-contained page.
    pub(crate) fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title()) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title()) }
                    p { (self.summary) }
                    @for trail in &self.trails { (self.section(trail)) }
                    @if !self.warnings.is_empty() || !self.strays.is_empty() {
                        section {
                            h2 { "About the account" }
                            ul {
                                @for warning in &self.warnings { li { (described(warning)) } }
                                @for stray in &self.strays { li { (marked(&stray.line())) } }
                            }
                        }
                    }
                    @if let Some(policy) = &self.new_key_policy {
                        details { summary { "Policy of each new key" } pre { (policy) } }
                    }
                }
            }
        };
        page.into_string() + "\n"
    }

    fn section(&self, trail: &Trail) -> Markup {
        html! {
            section {
                h2 { (trail.name()) " " span class={ "outcome " (trail.outcome) } { (trail.outcome) } }
                p class="arn" { (trail.trail_arn) }
                @if let Some(detail) = &trail.detail { p { "Not changed: " (marked(detail)) } }
                @for finding in &trail.findings { p { (described(finding)) } }
                @if let Some(error) = &trail.error { p { b { "Failed: " } (marked(&error.line())) } }
                @if !trail.steps.is_empty() {
                    h3 { (self.steps_heading(trail)) }
                    ol { @for step in &trail.steps { li { (marked(&step.line(self.is_dry_run()))) } } }
                }
                @if !trail.warnings.is_empty() {
                    h3 { "Warnings" }
                    ul { @for warning in &trail.warnings { li { (described(warning)) } } }
                }
            }
        }
    }
}

impl Trail {
    fn sarif_results(&self) -> impl Iterator<Item = Value> {
        let level = if self.outcome == "failed" { "error" } else { "warning" };
        let findings = self.findings.iter().map(move |finding| finding.sarif_result(level, &self.trail_arn));
        let warnings = self.warnings.iter().map(|warning| warning.sarif_result("note", &self.trail_arn));
        let error = self.error.as_ref().map(|error| Described { id: self.outcome.clone(), detail: error.line() });
        let error = error.map(|error| error.sarif_result("error", &self.trail_arn));
        findings.chain(warnings).chain(error)
    }

    fn name(&self) -> &str {
        self.trail_arn.rsplit('/').next().unwrap_or(&self.trail_arn)
    }

    fn region(&self) -> &str {
        self.trail_arn.split(':').nth(3).unwrap_or_default()
    }

    fn has_details(&self) -> bool {
        let Self { detail, findings, steps, warnings, error, .. } = self;
        detail.is_some() || error.is_some() || !(findings.is_empty() && steps.is_empty() && warnings.is_empty())
    }
}

impl Described {
    fn line(&self) -> String {
        format!("**{}**: {}", self.id, self.detail)
    }

    fn sarif_result(&self, level: &str, resource: &str) -> Value {
        json!({
            "ruleId": self.id,
            "level": level,
            "message": { "text": self.detail },
            "locations": [{ "logicalLocations": [{ "fullyQualifiedName": resource, "kind": "resource" }] }],
            "partialFingerprints": { "trailseal/v1": format!("{}/{resource}", self.id) },
        })
    }
}

impl Step {
    fn line(&self, is_dry_run: bool) -> String {
        let status = match self.status.as_str() {
            "planned" if is_dry_run => String::new(),
            // In a run that changes trails, it was not performed.
            "planned" => " (not done)".to_owned(),
            status => format!(" ({status})"),
        };
        format!("{}{status}: {}", self.step, self.detail)
    }
}

impl Failure {
    fn line(&self) -> String {
        let remedy = self.remedy.as_ref().map(|remedy| format!(". To fix it: {remedy}")).unwrap_or_default();
        format!("{}{remedy}", self.message)
    }
}

impl Stray {
    fn line(&self) -> String {
        let caution = self.caution.as_ref().map(|caution| format!(". First: {caution}")).unwrap_or_default();
        format!("key `{}` is a stray: `{}`{caution}", self.key_arn, self.command)
    }
}

/// A text in a cell of a Markdown table, or in a heading.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn list(heading: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("- {line}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{heading}:\n\n{lines}") }
}

fn described(item: &Described) -> Markup {
    html! { b { (item.id) } ": " (marked(&item.detail)) }
}

/// A text whose parts between backticks are code.
fn marked(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

const STYLE: &str = "\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
section, details { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding-top: .5rem; margin-top: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; } h3 { font-size: 1rem; margin-bottom: 0; }
.arn, code, pre { font-family: ui-monospace, monospace; font-size: .875em; }
.arn { opacity: .75; margin-top: -.75rem; }
pre { white-space: pre-wrap; }
.outcome { font-size: .8rem; padding: .1rem .5rem; border-radius: .6rem; border: 1px solid; white-space: nowrap; }
.failed { color: light-dark(#b3121d, #ff8a8a); } .planned, .noted { color: light-dark(#8a5200, #ffc46b); }
.compliant, .remediated { color: light-dark(#11692b, #7ddb94); }
@media print { body { margin: 0; } }
";

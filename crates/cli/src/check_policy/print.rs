//! The results as text, JSON, GitHub's workflow commands and Markdown.

use serde_json::{Value, json};

use super::result::{Found, Report};
use super::rules::Level;
use crate::paint::style;

/// Like a compiler's messages.
pub(super) fn text(report: &Report) -> String {
    let blocks = report.found.iter().map(|found| {
        let place = format!("{}:{}", found.place.file, found.place.line);
        let rule = found.rule.id();
        let (level, message) = (found.level.name(), &found.message);
        let style = style(level);
        let mut block = format!("{place}: {style}{level}[{rule}]{style:#}: {message}\n");
        if let Some(what) = place_in_file(found) {
            block.push_str(&format!("  in: {what}\n"));
        }
        if let Some(help) = &found.help {
            block.push_str(&format!("  help: {}\n", help.lines().replace('\n', "\n    ")));
        }
        block + "\n"
    });
    blocks.collect::<String>() + &report.summary() + "\n"
}

/// The resource and the statement.
fn place_in_file(found: &Found) -> Option<String> {
    let resource = found.place.resource.as_ref().map(|resource| format!("resource `{resource}`"));
    let sid = found.place.sid.as_ref().map(|sid| format!("statement `{sid}`"));
    let parts: Vec<String> = resource.into_iter().chain(sid).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The shape is that of docs/check-policy.schema.json: members may be added, and these keep their meaning.
pub(super) fn json(report: &Report) -> Value {
    let results: Vec<Value> = report.found.iter().map(result).collect();
    json!({
        "schema": 1,
        "policies": report.policies,
        "results": results,
        "summary": {
            "policies": report.policies.len(),
            "errors": report.count(Level::Error),
            "warnings": report.count(Level::Warning),
            "notes": report.count(Level::Note),
            "not_about_cloudtrail": report.not_about_cloudtrail,
            "known_after_deployment": report.unknown,
        },
    })
}

fn result(found: &Found) -> Value {
    json!({
        "id": found.rule.id(),
        "level": found.level,
        "file": found.place.file,
        "line": found.place.line,
        "resource": found.place.resource,
        "sid": found.place.sid,
        "message": found.message,
        "help": found.help.as_ref().map(|help| &help.text),
        "statements": found.help.iter().flat_map(|help| &help.statements).collect::<Vec<&Value>>(),
        "page": found.rule.page(),
    })
}

/// Annotations of a pull request. Information is left out, because GitHub shows only a few.
///
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.
pub(super) fn github(report: &Report) -> String {
    let annotation = |found: &Found| {
        let command = match found.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "notice",
            Level::Info => return None,
        };
        let help = found.help.as_ref().map(|help| format!("\nhelp: {}", help.lines())).unwrap_or_default();
        Some(format!(
            "::{command} file={},line={},title={}::{}\n",
            escaped(&found.place.file, true),
            found.place.line,
            found.rule.id(),
            escaped(&format!("{}{help}", found.message), false),
        ))
    };
    report.found.iter().filter_map(annotation).collect::<String>() + &report.summary() + "\n"
}

/// A value of a workflow command; in a property, `:` and `,` have a meaning, too.
fn escaped(text: &str, is_property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if is_property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

/// A comment on a pull request.
pub(super) fn markdown(report: &Report) -> String {
    let mut page = "### trailseal check-policy\n\n".to_owned();
    if !report.found.is_empty() {
        page.push_str("| level | where | result |\n|---|---|---|\n");
    }
    for found in &report.found {
        let mut place = format!("{}:{}", cell(&found.place.file), found.place.line);
        if let Some(what) = place_in_file(found) {
            place.push_str(&format!("<br>{}", cell(&what)));
        }
        let message = cell(&found.message);
        page.push_str(&format!(
            "| {} | {place} | [{}]({}): {message} |\n",
            found.level.name(),
            found.rule.id(),
            found.rule.page()
        ));
    }
    for found in &report.found {
        let Some(help) = &found.help else { continue };
        let title = format!("{} in {}:{}", found.rule.id(), html(&found.place.file), found.place.line);
        let json = help.json().map(|json| format!("\n\n```json\n{json}\n```")).unwrap_or_default();
        page.push_str(&format!("\n<details><summary>{title}</summary>\n\n{}{json}\n\n</details>\n", cell(&help.text)));
    }
    format!("{page}\n{}\n", report.summary())
}

/// A text in a table: on one line, and without the characters that end a cell or begin an element.
fn cell(text: &str) -> String {
    html(text).replace(['\r', '\n'], " ").replace('|', "\\|")
}

fn html(text: &str) -> String {
    text.replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_command_cannot_be_continued_or_begun() {
        assert_eq!(escaped("a,b: 5%\r\n::error::x", true), "a%2Cb%3A 5%25%0D%0A%3A%3Aerror%3A%3Ax");
        assert_eq!(escaped("5%\nx: y, z", false), "5%25%0Ax: y, z");
        assert_eq!(cell("a|b\n<img>"), "a\\|b &lt;img>");
    }
}

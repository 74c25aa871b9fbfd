//! The results as SARIF 2.1.0, for code scanning.
//!
//! Source: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::path::{Component, Path};

use serde_json::{Value, json};

use super::result::{Found, Report};
use super::rules::{Level, Rule};

/// Information is left out, because no change resolves it.
pub(super) fn log(report: &Report) -> Value {
    let results: Vec<Value> = report.found.iter().filter(|it| it.level != Level::Info).map(result).collect();
    document(rules().map(descriptor).collect(), results)
}

/// A log of one run.
pub(crate) fn document(rules: Vec<Value>, results: Vec<Value>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "trailseal", "semanticVersion": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rules() -> impl Iterator<Item = Rule> {
    Rule::ALL.into_iter().filter(|rule| rule.level() != Level::Info)
}

fn descriptor(rule: Rule) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": { "text": rule.title() },
        "fullDescription": { "text": rule.explanation() },
        "help": { "text": rule.explanation() },
        "helpUri": rule.page(),
        "defaultConfiguration": { "level": rule.level() },
        "properties": { "tags": ["security"] },
    })
}

fn result(found: &Found) -> Value {
    let help = found.help.as_ref().map(|help| format!("\n{}", help.lines())).unwrap_or_default();
    let place = &found.place;
    let resource = place.resource.as_ref().map(|resource| json!([{ "fullyQualifiedName": resource }]));
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&place.file) },
            "region": { "startLine": place.line },
        },
    });
    if let (Some(resource), Some(location)) = (resource, location.as_object_mut()) {
        location.insert("logicalLocations".to_owned(), resource);
    }
    // Lines move; a resource and a statement keep their names.
    let parts = [Some(&place.file), place.resource.as_ref(), place.sid.as_ref()].into_iter().flatten();
    let fingerprint = parts.map(String::as_str).collect::<Vec<&str>>().join("/");
    let id = found.rule.id();
    json!({
        "ruleId": id,
        "ruleIndex": rules().position(|rule| rule == found.rule),
        "level": found.level,
        "message": { "text": format!("{}{help}", found.message) },
        "locations": [location],
        "partialFingerprints": { "trailseal/v1": format!("{id}/{fingerprint}") },
    })
}

/// The URI of a file, relative to the working directory, which in CI is the repository.
fn uri(file: &str) -> String {
    let working = std::env::current_dir().unwrap_or_default();
    let path = Path::new(file);
    let relative = path.strip_prefix(&working).unwrap_or(path);
    let parts = relative.components().filter_map(|part| match part {
        Component::CurDir | Component::Prefix(_) => None,
        Component::RootDir => Some(String::new()),
        part => Some(encoded(&part.as_os_str().to_string_lossy())),
    });
    let uri = parts.collect::<Vec<String>>().join("/");
    if uri.starts_with('/') { format!("file://{uri}") } else { uri }
}

/// A part of a path with every character escaped that a URI does not allow there.
fn encoded(part: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if allowed(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    part.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_uris() {
        let working = std::env::current_dir().unwrap().join("a b/ü.json");
        assert_eq!(uri(working.to_str().unwrap()), "a%20b/%C3%BC.json");
        assert_eq!(uri("./x/y.yaml"), "x/y.yaml");
        assert_eq!(uri("/no where"), "file:///no%20where");
        assert_eq!(uri("-"), "-");
    }
}

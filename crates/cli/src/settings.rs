//! The function's settings, from a file or the environment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use trailseal_core::config::Config;
use trailseal_core::ids::shorten;

use crate::failure::Failed;

/// The settings that the command line does not use: the command decides whether it writes, and it sends no alerts.
const UNUSED: [&str; 3] = ["TRAILSEAL_MODE", "TRAILSEAL_ALERT_TOPIC_ARN", "TRAILSEAL_ALERT_FORMAT"];

const FORM: &str = "write one NAME=VALUE per line; the README lists the names, such as TRAILSEAL_LOG_READERS";

/// Where the settings are.
pub(crate) enum Source<'a> {
    Environment,
    File(&'a Path),
    Saved(&'a BTreeMap<String, String>),
}

/// The settings for a dry run, and those that are not the default, by name.
///
/// # Errors
///
/// The file cannot be read, a line of it is malformed, or a setting is unknown or invalid.
pub(crate) fn for_dry_run(source: Source<'_>) -> Result<(Config, BTreeMap<String, String>), Failed> {
    let given = match source {
        Source::Environment => None,
        Source::File(file) => Some(read(file)?),
        Source::Saved(settings) => Some(settings.clone()),
    };
    let known = RefCell::new(BTreeSet::new());
    let used = RefCell::new(BTreeMap::new());
    let lookup = |name: &str| {
        known.borrow_mut().insert(name.to_owned());
        let value = match &given {
            _ if UNUSED.contains(&name) => None,
            Some(settings) => settings.get(name).cloned(),
            None => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        };
        used.borrow_mut().extend(value.clone().map(|value| (name.to_owned(), value)));
        value
    };
    let config = Config::parse(lookup);
    let unknown = given.iter().flat_map(BTreeMap::keys).find(|name| !known.borrow().contains(*name));
    if let (Some(name), Source::File(file)) = (unknown, source) {
        let message = format!("the settings file `{}` has an unknown setting: `{}`", file.display(), shorten(name, 80));
        return Err(Failed::new(message, FORM));
    }
    let config = config.map_err(|invalid| Failed::new(invalid.to_string(), "correct each setting that is named"))?;
    Ok((config, used.into_inner()))
}

/// The lines `NAME=VALUE` of a file, which a shell can read, too. Empty lines and those that begin with `#` are ignored.
fn read(file: &Path) -> Result<BTreeMap<String, String>, Failed> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failed::new(format!("cannot read the settings file `{shown}`: {error}"), "check the path after --config")
    })?;
    let mut settings = BTreeMap::new();
    for (number, line) in (1_u32..).zip(text.trim_start_matches('\u{feff}').lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.trim_start_matches("export ").split_once('=') else {
            let line = shorten(line, 80);
            let message = format!("line {number} of the settings file `{shown}` is not a setting: `{line}`");
            return Err(Failed::new(message, FORM));
        };
        if settings.insert(name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()).is_some() {
            let message =
                format!("line {number} of the settings file `{shown}` repeats `{}`", shorten(name.trim(), 80));
            return Err(Failed::new(message, "keep one of the lines"));
        }
    }
    Ok(settings)
}

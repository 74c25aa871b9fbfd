//! Measures trailseal's release build beside the budgets of the design and beside a bare Lambda function.
//!
//! ```text
//! cargo run --release -p trailseal-bench -- [--strict] [--runs N] [--fleet N] [--fleet-seconds N] [--markdown docs/performance.md]
//! ```
//!
//! It builds the function and the yardstick, prints a table and, unless told, writes nothing. A missed budget is an
//! exit code of 1 with `--strict` only: the figures belong to the machine too. The fleet of `--fleet` accounts gets
//! `--fleet-seconds`; what it does not manage in that time is scaled up.
//!
//! `TRAILSEAL_BINARY` names another build of the function, `TRAILSEAL_STOCK_BARE` a build of the yardstick without
//! this repository's build settings, for one more line.

mod event;
mod figure;
mod fleet;
mod machine;
mod measure;
mod report;
mod sample;
mod scene;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    str::FromStr,
    time::Duration,
};

use figure::{Figure, Verdict};
use machine::Machine;
use measure::{Measure, Subjects, fleet::Extent, package, remediation, startup, sweep, wire};

const USAGE: &str = "usage: trailseal-bench [--strict] [--runs N] [--fleet N] [--fleet-seconds N] [--markdown FILE]";

/// What was asked for.
struct Arguments {
    strict: bool,
    runs: usize,
    fleet: Extent,
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match arguments(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let subjects = subjects(arguments.runs);
    let measures: [(&str, Measure); 5] = [
        ("Startup", startup::measure),
        ("Remediation", remediation::measure),
        ("Calls", wire::measure),
        ("Sweep", sweep::measure),
        ("Package", package::measure),
    ];
    let mut figures = Vec::new();
    for (name, measure) in measures {
        eprintln!("measuring: {}", name.to_lowercase());
        match measure(&subjects) {
            Ok(measured) => figures.extend(measured),
            Err(trouble) => {
                eprintln!("{name}: {trouble}");
                figures.push(Figure::judged(name, "", "could not be measured", false));
            }
        }
    }
    eprintln!("measuring: fleet");
    let section = match measure::fleet::measure(&subjects, arguments.fleet) {
        Ok((measured, section)) => {
            figures.extend(measured);
            section
        }
        Err(trouble) => {
            eprintln!("Fleet: {trouble}");
            figures.push(Figure::judged("Fleet", "", "could not be measured", false));
            String::new()
        }
    };
    print!("{}{section}", report::table(&figures));
    if let Some(path) = &arguments.markdown {
        let page = report::markdown(&figures, &section, &Machine::describe(), subjects.runs);
        fs::write(path, page).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
    }
    let missed = figures.iter().any(|figure| figure.verdict == Verdict::Missed);
    if missed && arguments.strict { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let fleet = Extent { accounts: 1000, time: Duration::from_secs(180) };
    let mut arguments = Arguments { strict: false, runs: 21, fleet, markdown: None };
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("`{argument}` takes a value"));
        match argument.as_str() {
            "--strict" => arguments.strict = true,
            "--runs" => arguments.runs = positive(&argument, &value()?)?,
            "--fleet" => arguments.fleet.accounts = positive(&argument, &value()?)?,
            "--fleet-seconds" => arguments.fleet.time = Duration::from_secs(positive(&argument, &value()?)?),
            "--markdown" => arguments.markdown = Some(value()?.into()),
            _ => return Err(format!("`{argument}` is not known")),
        }
    }
    Ok(arguments)
}

fn positive<N: FromStr + Default + PartialOrd>(argument: &str, value: &str) -> Result<N, String> {
    let number = value.parse().ok().filter(|number| *number > N::default());
    number.ok_or(format!("`{argument}` takes a positive number, not `{value}`"))
}

/// Builds what is measured, next to this program's own build.
fn subjects(runs: usize) -> Subjects {
    let own = env::current_exe().expect("this program has a path");
    let target = own.parent().and_then(Path::parent).expect("this program lies in a target directory");
    let given = env::var_os("TRAILSEAL_BINARY").map(PathBuf::from);
    // Each by itself, so that neither gets a feature because the other wants it.
    let function = given.unwrap_or_else(|| build(target, "trailseal", "trailseal"));
    let bare = build(target, "trailseal-bench", "bare");
    Subjects { function, bare, stock: env::var_os("TRAILSEAL_STOCK_BARE").map(PathBuf::from), runs }
}

fn build(target: &Path, package: &str, binary: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", package, "--bin", binary, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status();
    match status {
        Ok(status) if status.success() => target.join("release").join(binary),
        Ok(status) => panic!("cannot build `{binary}`: {status}"),
        Err(error) => panic!("cannot start cargo: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments, String> {
        arguments(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_understood() {
        let arguments = parsed("--runs 5 --markdown page.md --strict").expect("good arguments");
        assert_eq!((arguments.runs, arguments.strict), (5, true));
        assert_eq!(arguments.markdown, Some("page.md".into()));
        assert_eq!((arguments.fleet.accounts, arguments.fleet.time.as_secs()), (1000, 180));
        let arguments = parsed("--fleet 40 --fleet-seconds 9").expect("good arguments");
        assert_eq!((arguments.fleet.accounts, arguments.fleet.time.as_secs()), (40, 9));
        for wrong in ["--runs", "--runs 0", "--runs many", "--fleet 0", "--fleet-seconds -1", "--fleet", "--loose"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}

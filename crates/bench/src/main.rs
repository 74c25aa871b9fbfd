//! Measures trailseal's release build against its budgets and against a bare Lambda function.
//!
//! ```text
//! cargo run --release -p trailseal-bench -- [--strict] [--runs N] [--markdown docs/performance.md [--shared]]
//! ```
//!
//! It builds the function and the baseline and prints a table. With `--markdown` it also writes a page, which says with
//! `--shared` that other programs used the machine. A missed budget sets exit code 1 only with `--strict`, because the figures
//! depend on the machine. A failed measurement always does, and no page is written.
//!
//! `TRAILSEAL_BINARY` names another build of the function. `TRAILSEAL_STOCK_BARE` names a build of the baseline without this
//! repository's settings for aws-lc, which adds a line to the report.

mod event;
mod figure;
mod fixture;
mod machine;
mod measure;
mod report;
mod sample;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use figure::Verdict;
use machine::Machine;
use measure::{Binaries, Measure, package, readers, remediation, startup, sweep, wire};

const USAGE: &str = "usage: trailseal-bench [--strict] [--runs N] [--markdown FILE [--shared]]";

struct Arguments {
    strict: bool,
    shared: bool,
    runs: usize,
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
    let binaries = binaries(arguments.runs);
    let measures: [(&str, Measure); 5] = [
        ("Startup", startup::measure),
        ("Remediation", remediation::measure),
        ("Sweep", sweep::measure),
        ("Readers", readers::measure),
        ("Package", package::measure),
    ];
    let (mut figures, mut failed) = (Vec::new(), false);
    for (name, measure) in measures {
        eprintln!("measuring: {}", name.to_lowercase());
        match measure(&binaries) {
            Ok(measured) => figures.extend(measured),
            Err(error) => {
                eprintln!("error: {name}: {error}");
                failed = true;
            }
        }
    }
    eprintln!("measuring: calls");
    let counts = wire::measure(&binaries).unwrap_or_else(|error| {
        eprintln!("error: Calls: {error}");
        failed = true;
        Vec::new()
    });
    figures.extend(counts.iter().flat_map(wire::Count::figures));
    print!("{}", report::table(&figures));
    if failed {
        return ExitCode::FAILURE;
    }
    if let Some(path) = &arguments.markdown {
        let page = report::markdown(&figures, &counts, &Machine::describe(arguments.shared), binaries.runs);
        fs::write(path, page).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
    }
    let missed = figures.iter().any(|figure| figure.verdict == Verdict::Missed);
    if missed && arguments.strict { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { strict: false, shared: false, runs: 21, markdown: None };
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("`{argument}` requires a value"));
        match argument.as_str() {
            "--strict" => arguments.strict = true,
            "--shared" => arguments.shared = true,
            "--runs" => arguments.runs = positive(&argument, &value()?)?,
            "--markdown" => arguments.markdown = Some(value()?.into()),
            _ => return Err(format!("unknown argument `{argument}`")),
        }
    }
    Ok(arguments)
}

fn positive(argument: &str, value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or(format!("`{argument}` requires a positive number, not `{value}`"))
}

/// Builds the binaries in this program's target directory.
fn binaries(runs: usize) -> Binaries {
    let own = env::current_exe().expect("this program has a path");
    let target = own.parent().and_then(Path::parent).expect("this program is in a target directory");
    let given = env::var_os("TRAILSEAL_BINARY").map(PathBuf::from);
    // In separate builds, so that neither gets a feature that only the other enables.
    let function = given.unwrap_or_else(|| build(target, "trailseal", "trailseal-lambda"));
    let command_line = build(target, "trailseal-cli", "trailseal");
    let bare = build(target, "trailseal-bench", "bare");
    Binaries { function, command_line, bare, stock: env::var_os("TRAILSEAL_STOCK_BARE").map(PathBuf::from), runs }
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
    fn arguments_are_parsed() {
        let arguments = parsed("--runs 5 --markdown page.md --shared --strict").expect("valid arguments");
        assert_eq!((arguments.runs, arguments.strict, arguments.shared), (5, true, true));
        assert_eq!(arguments.markdown, Some("page.md".into()));
        for wrong in ["--runs", "--runs 0", "--runs many", "--markdown", "--loose"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}

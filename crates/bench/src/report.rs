//! The figures as a table on the terminal, and as a page.

use crate::{
    figure::{Figure, Row, Verdict},
    fixture,
    machine::Machine,
    measure::wire::Count,
};

/// The figures as aligned columns.
pub fn table(figures: &[Figure]) -> String {
    let widest = |of: fn(&Figure) -> &str| figures.iter().map(|figure| of(figure).chars().count()).max().unwrap_or(0);
    let (name, budget) = (widest(|figure| &figure.name), widest(|figure| &figure.budget));
    figures.iter().fold(String::new(), |mut text, figure| {
        let Figure { name: what, budget: limit, measured, verdict } = figure;
        let line = format!("{what:name$}  {limit:budget$}  {verdict:6}  {measured}");
        text += line.trim_end();
        text += "\n";
        text
    })
}

/// The performance page: fixed prose, and the measured values of [`Row::ALL`] and [`wire::CASES`](crate::measure::wire::CASES).
///
/// # Panics
///
/// If a row has no figure.
pub fn markdown(figures: &[Figure], counts: &[Count], machine: &Machine, runs: usize) -> String {
    let mut page = String::from(HEAD);
    for row in Row::ALL {
        let figure = figures.iter().find(|figure| figure.name == row.name).expect("every row is measured");
        let Figure { name, budget, measured, verdict } = figure;
        let verdict = match verdict {
            Verdict::Met => "met",
            Verdict::Missed => MISSED,
            Verdict::Information => "",
        };
        page += &format!("| {name} | {budget} | {measured} | {verdict} |\n");
    }
    page += "\n";
    page += &wrapped(&measured_on(machine, runs), "");
    page += CALLS;
    for count in counts {
        let Count { case, calls, rounds, .. } = count;
        let missed = if count.met() { String::new() } else { format!(", {MISSED}") };
        let (with, until) =
            if case.remediated() { (" with the alert", " until the trail is encrypted") } else { ("", "") };
        page += &format!("| {} | {calls}{with} | {rounds}{until}{missed} | {} |\n", case.trail, case.budget_text());
    }
    page += ROUNDS;
    for Count { case, trace, .. } in counts {
        page += &wrapped(&format!("- **{}:** {trace}", case.title), "  ");
    }
    page += LIMITS_AND_METHOD;
    page
}

fn measured_on(machine: &Machine, runs: usize) -> String {
    let Machine { processor, cores, kernel, rustc, date, shared } = machine;
    let kind = if *shared { "shared machine" } else { "machine" };
    let cores = match cores {
        1 => "one core".into(),
        2 => "two cores".into(),
        more => format!("{more} cores"),
    };
    let roots = fixture::system_roots();
    format!(
        "Measured on a {kind} with {cores} on {date}: {processor}; {kernel}; {rustc}; {roots} trust roots. \
         Times are the median of {runs} cold processes, with quartiles in parentheses."
    )
}

/// The text in lines of at most 128 characters; all but the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            *line += word;
        } else if line.chars().count() + 1 + word.chars().count() <= 128 {
            *line += " ";
            *line += word;
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines.join("\n") + "\n"
}

const MISSED: &str = "**missed**";

const HEAD: &str = "\
# Performance

This reference is for engineers who size, deploy, or change trailseal. It explains how much time and memory, and how many AWS
calls, the release build needs, compared with its budgets.

`make bench` measures the figures. `cargo run --release -p trailseal-bench -- --markdown docs/performance.md` writes this page.

## Figures

| figure | budget | measured | |
|---|---|---|---|
";

const CALLS: &str = "
## AWS calls

| trail | calls | rounds | budget |
|---|---|---|---|
";

const ROUNDS: &str = "
A 403 of GetBucketPolicy adds ListBuckets, but no round. Rounds of concurrent calls:

";

const LIMITS_AND_METHOD: &str = "
## Limits on AWS

- **CPU.** A function with 128 MB of memory has 7% of a CPU: 5 ms of CPU time take at least 70 ms. This share does not apply to
  the INIT phase, in which the process starts.
- **CloudTrail** allows [10 reads and 1 write per second in each Region](https://docs.aws.amazon.com/general/latest/gr/ct.html),
  which AWS does not raise. Writes limit a sweep of unencrypted trails. Each invocation stays within both rates, retries
  included.
- **Concurrent invocations** share these rates without coordination. If many key policies change at once, each invocation
  retries until its deadline, and Lambda retries the event later. `ReservedConcurrency=1` processes events one at a time,
  without throttling.
- **KMS** rates ([5 CreateKey per second](https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html), for
  example) are far above what one account needs.

Costs: [one account](operations.md#monthly-costs), [an organization](organization.md).

## Method

Each run starts a new process behind the Lambda Runtime API, with Lambda's environment only. AWS is the fake of
`crates/fake-aws`, over TLS on the same machine: a call costs the function its full CPU time, but no network time. Each run's
result is checked; a run with a wrong result is not counted.

- *Bare* is `crates/bench/src/bin/bare.rs`: `lambda_runtime` with the same SDK clients and build settings. For a remediation, it
  makes the same calls one after another.
- *Process start* is the function's own part of Lambda's INIT phase. Function and bare are started alternately.
- *CPU time from event to answer* is that of the whole process.
- *Sweeps* run against CloudTrail's rates. One throttled call fails the measurement. All Regions share one host here; on AWS,
  each Region has its own TLS connection.
- *Readers* are evaluated in the measuring process; the figure is the slowest of four policies, one of
  which is made to be slow.
- *Plan* is the wall time of the command line's whole process, over TLS.
- *Deployed zip* contains the release binary as `bootstrap`, deflated at level 9.

To compare with a build without this repository's aws-lc settings (`.cargo/config.toml`):

```
AWS_LC_SYS_NO_JITTER_ENTROPY=0 AWS_LC_SYS_SMALL=0 cargo build --release -p trailseal-bench --bin bare --target-dir target/stock
TRAILSEAL_STOCK_BARE=target/stock/release/bare make bench
```
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::wire::CASES;

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let figures = [
            Figure::with_budget("Deployed zip", "≤ 3.5 MB", "3.05 MB", true),
            Figure::with_budget("Start", "≤ 1.3 ×", "1.4 ×", false),
            Figure::information("CPU", "7 ms"),
        ];
        let expected = "\
Deployed zip  ≤ 3.5 MB  met     3.05 MB
Start         ≤ 1.3 ×   MISSED  1.4 ×
CPU                             7 ms
";
        assert_eq!(table(&figures), expected);
    }

    fn machine() -> Machine {
        Machine {
            processor: "Some CPU".into(),
            cores: 2,
            kernel: "Linux 6.18 x86_64".into(),
            rustc: "rustc 1.95.0".into(),
            date: "2026-11-20".into(),
            shared: true,
        }
    }

    fn page() -> String {
        let figures = Row::ALL.map(|row| match row.budget {
            "" => row.measured("1 ms"),
            _ => row.compared("2 ms", false),
        });
        let trace = String::from("GetTrail → UpdateTrail");
        let counts = CASES.map(|case| Count { case, calls: 12, rounds: 5, trace: trace.clone() });
        markdown(&figures, &counts, &machine(), 15)
    }

    /// The page without measured values.
    fn prose(page: &str) -> String {
        let cells = |table: &str, kept: [usize; 2]| {
            let row = |line: &str| {
                let cells: Vec<&str> = line.split('|').collect();
                kept.map(|cell| cells[cell + 1]).join("|")
            };
            table.lines().map(row).collect::<Vec<_>>().join("\n")
        };
        let paragraph = |text: &str| {
            if text.starts_with("| figure |") {
                cells(text, [0, 1])
            } else if text.starts_with("| trail |") {
                cells(text, [0, 3])
            } else if text.starts_with("- **compliant:**") {
                text.lines().filter_map(|line| Some(line.split_once(":** ")?.0)).collect::<Vec<_>>().join("\n")
            } else if text.starts_with("Measured on ") {
                String::new()
            } else {
                text.into()
            }
        };
        page.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n")
    }

    #[test]
    fn the_committed_page_has_the_prose_that_is_written() {
        let committed = include_str!("../../../docs/performance.md");
        assert_eq!(prose(committed), prose(&page()));
    }

    #[test]
    fn the_page_has_every_figure_and_the_machine() {
        let page = page();
        for part in [
            "| Deployed zip | ≤ 3.5 MB | 2 ms | **missed** |\n\nMeasured on a shared machine with two cores on 2026-11-20: ",
            "Some CPU; Linux 6.18 x86_64; rustc 1.95.0; ",
            "| unencrypted, the sealing key exists | 12 with the alert | 5 until the trail is encrypted, **missed** | 11, 5 |\n",
            "\n- **new key:** GetTrail → UpdateTrail\n",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn long_lines_are_wrapped_and_indented() {
        let (first, second) = ("a".repeat(100), "b".repeat(27));
        assert_eq!(wrapped(&format!("{first} {second} c"), "  "), format!("{first} {second}\n  c\n"));
    }
}

//! The figures as a table on the terminal, and as a page.

use std::fmt::Write;

use crate::{
    figure::{Figure, Verdict},
    machine::Machine,
    scene,
};

/// The figures as aligned columns.
pub fn table(figures: &[Figure]) -> String {
    let widest = |of: fn(&Figure) -> &str| figures.iter().map(|figure| of(figure).chars().count()).max().unwrap_or(0);
    let (name, bar) = (widest(|figure| &figure.name), widest(|figure| &figure.bar));
    figures.iter().fold(String::new(), |mut text, figure| {
        let Figure { name: what, bar: budget, measured, verdict } = figure;
        let line = format!("{what:name$}  {budget:bar$}  {verdict:6}  {measured}");
        text += line.trim_end();
        text += "\n";
        text
    })
}

/// The figures as a Markdown page that says how they came about, with the fleet's section.
pub fn markdown(figures: &[Figure], fleet: &str, machine: &Machine, runs: usize) -> String {
    let mut page = String::from(HEAD);
    for figure in figures {
        let Figure { name, bar, measured, verdict } = figure;
        let verdict = match verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::Information => "",
        };
        write!(page, "\n| {name} | {bar} | {measured} | {verdict} |").expect("a string takes any text");
    }
    let Machine { processor, kernel, rustc, date } = machine;
    let roots = scene::system_roots();
    page += &format!(
        "\n\nMeasured on {date}: {processor}; {kernel}; {rustc}; {roots} trust roots. \
         Times are the median of {runs} cold processes, with the quartiles in brackets.\n"
    );
    page += fleet;
    page += HOW;
    page
}

const HEAD: &str = "\
# Performance

What the release build needs, beside the bar that was set for each figure. `make bench` prints these figures, and
`cargo run --release -p trailseal-bench -- --markdown docs/performance.md` writes this page.

| figure | bar | measured | |
|---|---|---|---|";

const HOW: &str = "
## How it is measured

The function runs as Lambda runs it: a process of its own, the Runtime API before it, Lambda's environment and nothing else. AWS is
the stateful fake of `crates/fake-aws`, over TLS on the same machine, so a call costs what it costs the function, and no
network. Every run is a new process and a new fake, and every run's outcome is checked: a figure of a function that did not do its work is none.

- *Bare* is `crates/bench/src/bin/bare.rs`: `lambda_runtime` and the same SDK clients in the same build. It answers
  `{}`; for the comparison of a remediation it makes the calls that the bar names, one after another.
- *Process start to the first request for work* is the part of Lambda's INIT phase that the function itself answers for. Function and bare are started in
  turn, so that whatever else the machine does falls on both.
- *CPU from event to answer* is the process's CPU time from the moment that the event is handed out until the answer is in. A function with 128 MB has
  7 % of a CPU, so 8 ms of CPU are at least 110 ms on the clock.
- *Calls and rounds* are counted by the fake. A round is a set of calls that were under way together; the next begins when a
  call starts after one of them was answered.
- *Sweeps*, where the function makes them, meet CloudTrail's request rates (10 reads a second in each Region) and fail the measurement if one call is
  throttled. All Regions are one host here; on AWS each is a TLS connection of its own.
- *The fleet* is played two accounts at a time. One fake serves one account after another; each invocation is a new process. After
  `--fleet-seconds` (180) no further block of accounts is begun, and the rest of the `--fleet` (1000) is scaled up.
- *Events at once* are as many processes that meet CloudTrail's request rates together, each of which can keep only its own calls
  below them.
- *Deployed zip* is the release binary under the name `bootstrap`, deflated at level 9.

To compare with a build without this repository's settings for aws-lc (`.cargo/config.toml`), build bare without them and name it:

```
AWS_LC_SYS_NO_JITTER_ENTROPY=0 AWS_LC_SYS_SMALL=0 cargo build --release -p trailseal-bench --bin bare --target-dir target/stock
TRAILSEAL_STOCK_BARE=target/stock/release/bare make bench
```
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let figures = [
            Figure::judged("Deployed zip", "≤ 3.5 MB", "3.05 MB", true),
            Figure::judged("Start", "≤ 1.3 ×", "1.4 ×", false),
            Figure::information("CPU", "7 ms"),
        ];
        let expected = "\
Deployed zip  ≤ 3.5 MB  met     3.05 MB
Start         ≤ 1.3 ×   MISSED  1.4 ×
CPU                             7 ms
";
        assert_eq!(table(&figures), expected);
    }

    #[test]
    fn page_has_a_row_for_each_figure_and_says_where() {
        let machine = Machine {
            processor: "Some CPU, 2 cores".into(),
            kernel: "Linux 6.18 x86_64".into(),
            rustc: "rustc 1.95.0".into(),
            date: "2026-11-20".into(),
        };
        let page =
            markdown(&[Figure::judged("Deployed zip", "≤ 3.5 MB", "4 MB", false)], "\n## A fleet\n", &machine, 15);
        assert!(page.contains("\n|---|---|---|---|\n| Deployed zip | ≤ 3.5 MB | 4 MB | **missed** |\n\nMeasured on"));
        assert!(page.contains("2026-11-20: Some CPU, 2 cores; Linux 6.18 x86_64; rustc 1.95.0;"), "{page}");
        assert!(page.contains("\n\n## A fleet\n\n## How it is measured\n"), "{page}");
    }
}

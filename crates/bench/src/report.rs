//! The figures as a table on the terminal, and as a page.

use std::fmt::Write;

use crate::{
    figure::{Figure, Verdict},
    fixture,
    machine::Machine,
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

/// The figures as a Markdown page that explains how they are measured.
pub fn markdown(figures: &[Figure], machine: &Machine, runs: usize) -> String {
    let mut page = String::from(HEAD);
    for figure in figures {
        let Figure { name, budget, measured, verdict } = figure;
        let verdict = match verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::Information => "",
        };
        write!(page, "\n| {name} | {budget} | {measured} | {verdict} |").expect("a string takes any text");
    }
    let Machine { processor, kernel, rustc, date } = machine;
    let roots = fixture::system_roots();
    page += &format!(
        "\n\nMeasured on {date}: {processor}; {kernel}; {rustc}; {roots} trust roots. \
         Times are the median of {runs} cold processes, with the quartiles in brackets.\n"
    );
    page += HOW;
    page
}

const HEAD: &str = "\
# Performance

For contributors: the budgets of the release build, and its measured figures. `make bench` prints the figures, and
`cargo run --release -p trailseal-bench -- --markdown docs/performance.md` writes this page.

| figure | budget | measured | |
|---|---|---|---|";

const HOW: &str = "
## How it is measured

The function runs as in Lambda: as a process of its own, with a Runtime API and Lambda's environment. AWS is the stateful fake of
`crates/fake-aws`, over TLS on the same machine. A call therefore costs the function its usual CPU time, without the network. Every
run starts a new process and a new fake, and every run's outcome is checked.

- *Bare* is the baseline, `crates/bench/src/bin/bare.rs`: `lambda_runtime` and the same SDK clients in the same build. It answers
  `{}`. For a remediation it makes the same calls one after another.
- *Process start to the first request for work* is the function's part of Lambda's INIT phase. The function and the baseline start
  alternately, so that other load on the machine affects both.
- *CPU from event to answer* is the process's CPU time between the delivery of the event and the answer. A function with 128 MB of
  memory has 7 % of a CPU: 5 ms of CPU take at least 70 ms.
- *Calls and rounds* are counted by the fake. A round is a set of concurrent calls. The next round begins when a call starts after
  one of them was answered.
- *Sweeps* run with CloudTrail's request rates (10 reads and 1 write per second and Region). A throttled call fails the measurement.
  All Regions share one host here; in AWS each has a TLS connection of its own.
- *Deployed zip* contains the release binary as `bootstrap`, compressed with level 9.

To compare with aws-lc's default settings (see `.cargo/config.toml`), build the baseline without ours and name that build:

```
AWS_LC_SYS_NO_JITTER_ENTROPY=0 AWS_LC_SYS_SMALL=0 cargo build --release -p trailseal-bench --bin bare --target-dir target/stock
TRAILSEAL_STOCK_BARE=target/stock/release/bare make bench
```
";

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_page_has_every_figure_and_the_machine() {
        let machine = Machine {
            processor: "Some CPU, 2 cores".into(),
            kernel: "Linux 6.18 x86_64".into(),
            rustc: "rustc 1.95.0".into(),
            date: "2026-11-20".into(),
        };
        let page = markdown(&[Figure::with_budget("Deployed zip", "≤ 3.5 MB", "4 MB", false)], &machine, 15);
        assert!(page.contains("\n|---|---|---|---|\n| Deployed zip | ≤ 3.5 MB | 4 MB | **missed** |\n\nMeasured on"));
        assert!(page.contains("2026-11-20: Some CPU, 2 cores; Linux 6.18 x86_64; rustc 1.95.0;"), "{page}");
        assert!(page.contains("\n\n## How it is measured\n"), "{page}");
    }
}

//! One line of the report.

use std::fmt;

/// A measured value and its budget.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The budget; empty if there is none.
    pub budget: String,
    /// The measured value.
    pub measured: String,
    /// Whether the value is within the budget.
    pub verdict: Verdict,
}

/// A row of the page: its name and its budget, which is empty if there is none.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub budget: &'static str,
}

impl Row {
    pub const START: Self = Self::new("Process start to the first request for work", "≤ 1.2 × bare");
    pub const START_CPU: Self = Self::new("CPU time of the start", "");
    pub const CPU: Self =
        Self::new("CPU time from event to answer, first remediation of a cold process", "≤ 5 ms and ≤ 1.0 × bare");
    pub const CPU_NEW_KEY: Self = Self::new("The same with a new key", "");
    pub const WALL: Self = Self::new("Wall time from event to answer", "");
    pub const WALL_SLOW: Self = Self::new("The same, 20 ms per call", "");
    pub const MEMORY: Self = Self::new("Peak memory, one trail", "≤ 12 MB");
    pub const SWEEP_MEMORY: Self = Self::new("Peak memory, sweep of 34 Regions × 5 trails", "≤ 20 MB");
    pub const SWEEP_CPU: Self = Self::new("CPU time of that sweep", "");
    pub const SWEEP: Self = Self::new("Sweep of 17 Regions × 5 compliant trails, 50 ms per call", "≤ 0.6 s");
    pub const UNENCRYPTED_SWEEP: Self = Self::new("Sweep of 17 Regions × 5 unencrypted trails", "");
    pub const UNENCRYPTED_SWEEP_EVERYWHERE: Self = Self::new("Sweep of 34 Regions × 5 unencrypted trails", "");
    pub const PLAN: Self = Self::new("`trailseal plan` of 17 Regions × 5 compliant trails, 50 ms per call", "≤ 1 s");
    pub const READERS: Self = Self::new("Readers of a 20 KB bucket policy", "≤ 50 ms");
    pub const ZIP: Self = Self::new("Deployed zip", "≤ 3.5 MB");

    /// The rows in the order of the page.
    pub const ALL: [Self; 15] = [
        Self::START,
        Self::START_CPU,
        Self::CPU,
        Self::CPU_NEW_KEY,
        Self::WALL,
        Self::WALL_SLOW,
        Self::MEMORY,
        Self::SWEEP_MEMORY,
        Self::SWEEP_CPU,
        Self::SWEEP,
        Self::UNENCRYPTED_SWEEP,
        Self::UNENCRYPTED_SWEEP_EVERYWHERE,
        Self::PLAN,
        Self::READERS,
        Self::ZIP,
    ];

    const fn new(name: &'static str, budget: &'static str) -> Self {
        Self { name, budget }
    }

    /// The row's figure, compared with the budget.
    pub fn compared(self, measured: impl Into<String>, met: bool) -> Figure {
        Figure::with_budget(self.name, self.budget, measured, met)
    }

    /// The row's figure, for a row without a budget.
    pub fn measured(self, measured: impl Into<String>) -> Figure {
        Figure::information(self.name, measured)
    }
}

/// How a figure compares with its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the budget.
    Met,
    /// Over the budget.
    Missed,
    /// For information, without a budget.
    Information,
}

impl Figure {
    /// A figure with a budget.
    pub fn with_budget(
        name: impl Into<String>,
        budget: impl Into<String>,
        measured: impl Into<String>,
        met: bool,
    ) -> Self {
        let verdict = if met { Verdict::Met } else { Verdict::Missed };
        Self { name: name.into(), budget: budget.into(), measured: measured.into(), verdict }
    }

    /// A figure without a budget.
    pub fn information(name: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { name: name.into(), budget: String::new(), measured: measured.into(), verdict: Verdict::Information }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Information => "",
        })
    }
}

/// Bytes as megabytes of 1,000,000 bytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.3} MB", bytes as f64 / 1e6)
}

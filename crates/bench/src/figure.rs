//! One line of the report.

use std::fmt;

/// A figure, what was hoped for and what was measured.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The budget; empty where there is none.
    pub bar: String,
    /// What came out.
    pub measured: String,
    /// Whether that is within the budget.
    pub verdict: Verdict,
}

/// How a figure compares with its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the budget.
    Met,
    /// Beyond it.
    Missed,
    /// There is no budget: for information.
    Information,
}

impl Figure {
    /// A figure with a budget.
    pub fn judged(name: impl Into<String>, bar: impl Into<String>, measured: impl Into<String>, met: bool) -> Self {
        let verdict = if met { Verdict::Met } else { Verdict::Missed };
        Self { name: name.into(), bar: bar.into(), measured: measured.into(), verdict }
    }

    /// A figure without one.
    pub fn information(name: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { name: name.into(), bar: String::new(), measured: measured.into(), verdict: Verdict::Information }
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

/// Bytes as megabytes of a million bytes each, to the kilobyte.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.3} MB", bytes as f64 / 1e6)
}

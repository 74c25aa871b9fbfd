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

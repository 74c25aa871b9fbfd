//! The measurements. Each module returns its lines of the report, or why it cannot measure.

pub mod package;
pub mod readers;
pub mod remediation;
pub mod startup;
pub mod sweep;
pub mod wire;

use std::path::PathBuf;

use crate::figure::Figure;

/// The lines of the report, or the error.
pub type Measured = Result<Vec<Figure>, String>;

/// A measurement.
pub type Measure = fn(&Binaries) -> Measured;

/// The binaries to measure, and how often.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The function.
    pub function: PathBuf,
    /// The command line.
    pub command_line: PathBuf,
    /// The baseline.
    pub bare: PathBuf,
    /// A build of the baseline without the repository's settings for aws-lc, if there is one.
    pub stock: Option<PathBuf>,
    /// How many cold processes to run.
    pub runs: usize,
}

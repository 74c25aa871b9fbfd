//! What is measured. Each module measures one thing and returns its lines of the report, or why it could not.

pub mod fleet;
pub mod package;
pub mod remediation;
pub mod startup;
pub mod sweep;
pub mod wire;

use std::path::PathBuf;

use crate::figure::Figure;

/// The lines of the report, or why there are none.
pub type Measured = Result<Vec<Figure>, String>;

/// Measures one thing.
pub type Measure = fn(&Subjects) -> Measured;

/// What runs, and how often.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// The function.
    pub function: PathBuf,
    /// The yardstick.
    pub bare: PathBuf,
    /// The yardstick in a build without the repository's build settings, if there is one.
    pub stock: Option<PathBuf>,
    /// Runs of a cold process.
    pub runs: usize,
}

//! A plan in a file: what was selected, and what the plan rests on. The plan itself is made again when it is applied.

use std::path::Path;

use serde::{Deserialize, Serialize};

use trailseal_core::ids::shorten;

use crate::basis::Basis;
use crate::failure::Failed;
use crate::session::Selected;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A saved plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedPlan {
    /// The version of trailseal that saved it. Another one may decide or fingerprint otherwise.
    trailseal: String,
    pub(crate) selected: Selected,
    pub(crate) basis: Basis,
}

impl SavedPlan {
    pub(crate) fn new(selected: Selected, basis: Basis) -> Self {
        Self { trailseal: VERSION.to_owned(), selected, basis }
    }

    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failed> {
        let written = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        written.and_then(|json| std::fs::write(file, [json.as_slice(), b"\n"].concat())).map_err(|error| {
            Failed::new(format!("cannot save the plan in `{}`: {error}", file.display()), "check the path after --out")
        })
    }

    /// # Errors
    ///
    /// The file cannot be read, is not a plan, or was saved by another version of trailseal.
    pub(crate) fn read(file: &Path) -> Result<Self, Failed> {
        let shown = file.display();
        let again = "save a plan with `trailseal plan --out FILE`";
        let json = std::fs::read(file)
            .map_err(|error| Failed::new(format!("cannot read the plan `{shown}`: {error}"), again))?;
        let plan: Self = serde_json::from_slice(&json)
            .map_err(|error| Failed::new(format!("`{shown}` is not a trailseal plan: {error}"), again))?;
        if plan.trailseal == VERSION {
            return Ok(plan);
        }
        let other = shorten(&plan.trailseal, 80);
        let message = format!("the plan `{shown}` was saved by trailseal {other}; this is trailseal {VERSION}");
        Err(Failed::new(message, "save and review it again with this version"))
    }
}

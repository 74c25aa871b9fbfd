//! What a run reports to people and machines: the answer, the alerts and their words. What became of the steps
//! belongs in [`crate::journal`].

mod account;
mod alert;
mod answer;
mod compose;
mod digest;
mod message;
mod terminal;
mod wording;

pub use account::AccountReport;
pub use alert::{Alert, alerts};
pub use answer::{Alerts, Answer, Outcome, StepEffect, StepReport, TrailReport, TriggerReport};
pub use terminal::{answer_text, step_text};
pub use wording::{steps_heading, summary};

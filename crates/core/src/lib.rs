//! trailseal's judgement: which trail to look at, what is wrong with it, what to do, what to say.
//!
//! Everything here is a synchronous function of values. This crate has no AWS, no `async`, no clock,
//! no randomness and no environment to reach for: its dependencies are the proof.

pub mod access;
pub mod alert;
pub mod assess;
pub mod config;
pub mod context;
pub mod finding;
pub mod iam;
pub mod ids;
pub mod key;
pub mod key_policy;
pub mod observation;
pub mod plan;
pub mod planner;

pub mod progress;
pub mod report;
pub mod stray;
pub mod trigger;

#[cfg(test)]
mod testing;

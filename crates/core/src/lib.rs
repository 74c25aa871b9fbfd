//! trailseal's decision logic: which trail to read, what is wrong with it, what to do, what to report.
//!
//! Everything here is a synchronous function of values. This crate has no AWS types, `async`, clock, randomness or
//! environment: its dependencies offer none.

pub mod access;
pub mod assess;
pub mod config;
pub mod context;
pub mod failure;
pub mod finding;
pub mod iam;
pub mod ids;
pub mod journal;
pub mod key_policy;
pub mod observation;
pub mod pending;
pub mod plan;
pub mod report;
pub mod trigger;

#[cfg(test)]
mod testing;

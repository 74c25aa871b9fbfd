//! The IAM policy language: documents, requests, and the evaluation of one against the other. Nothing in here knows
//! about trails or about trailseal's keys.

mod compare;
mod condition;
pub mod document;
pub mod evaluate;
pub(crate) mod pattern;
pub mod principal;
pub mod request;
pub(crate) mod truth;

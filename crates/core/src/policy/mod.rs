//! Policies: the key policy that trailseal writes, and what any policy says to a question.
//!
//! Nothing asks the evaluator yet: today a key's policy is recognised if it is the one that trailseal
//! writes, and every other is left to CloudTrail.

pub mod cloudtrail;
mod compare;
mod condition;
pub mod document;
pub mod evaluate;
mod pattern;
mod principal;
pub mod question;
mod sealing;
mod truth;

pub use sealing::KeyPolicy;

/// CloudTrail's service principal, in every partition.
const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

//! Policies: the key policy that trailseal writes, what another lacks of it, and what any policy says to
//! a question.

pub mod bucket;
pub mod central;
pub mod cloudtrail;
mod compare;
mod condition;
pub mod document;
pub mod evaluate;
mod extend;
mod grant;
mod pattern;
mod principal;
pub mod question;
pub mod readers;
pub mod replication;
mod review;
mod same;
mod sealing;
mod truth;
mod who;

pub use extend::{Extension, MAX_BYTES};
pub use review::NotRevoked;
pub use same::same;
pub use sealing::KeyPolicy;

/// CloudTrail's service principal, in every partition.
const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

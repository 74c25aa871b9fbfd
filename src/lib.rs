//! trailseal: an AWS Lambda function that keeps an account's CloudTrail logs encrypted with a customer managed KMS key.
//!
//! `trailseal-core` decides. This crate contains everything with side effects: AWS, time and the environment.

mod apply;
pub mod aws;
pub mod handler;
mod invocation;
pub mod logging;
mod observe;
pub mod reconcile;
mod sweep;

pub use apply::STEP_TARGET;
pub use invocation::Invocation;
pub use observe::READ_TARGET;

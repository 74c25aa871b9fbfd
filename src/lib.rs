//! trailseal: one AWS Lambda function that keeps an account's CloudTrail logs encrypted with a
//! customer-managed KMS key.
//!
//! `trailseal-core` judges; this crate is what touches AWS, time and the environment.

mod apply;
pub mod aws;
pub mod handler;
mod observe;
pub mod run;

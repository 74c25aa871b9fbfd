//! The questions that trailseal asks of policies: can CloudTrail use the key, can it write to the bucket, who reads the
//! logs, what is replicated. How a policy is evaluated belongs in [`crate::iam`].

pub mod cloudtrail_bucket;
pub mod cloudtrail_key;
mod principal_set;
pub mod readers;
pub mod replication;

/// The service principal of CloudTrail, in every partition.
pub(crate) const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

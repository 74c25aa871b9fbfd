//! The requests that trailseal evaluates: can CloudTrail use the key, can it write to the bucket, which readers lose
//! access, which replication stops.
//!
//! How a policy is evaluated belongs in [`crate::iam`], the policy that trailseal writes in [`crate::key_policy`].

mod cloudtrail_bucket;
mod cloudtrail_key;
mod principal_set;
mod readers;
mod replication;

pub use cloudtrail_bucket::{LogFiles, cloudtrail_bucket_access};
pub use cloudtrail_key::{KeyAccess, cloudtrail_context, cloudtrail_key_access};
pub use readers::{LockedOutReader, locked_out_readers};
pub use replication::unreplicated_rules;

/// The service principal of CloudTrail, in every partition.
pub const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

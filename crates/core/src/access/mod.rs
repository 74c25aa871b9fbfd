//! The requests that trailseal evaluates: can CloudTrail use the key, can it write to the bucket, which readers lose
//! access, which replication stops.
//!
//! How a policy is evaluated belongs in [`crate::iam`], the policy that trailseal writes in [`crate::key_policy`].

mod cloudtrail_bucket;
mod cloudtrail_key;
mod decrypt;
mod decrypters;
mod log_files;
mod named;
mod principal_set;
mod readers;
mod replication;

pub use cloudtrail_bucket::{BucketAccess, cloudtrail_bucket_access, cloudtrail_new_bucket_access, tests_encryption};
pub use cloudtrail_key::{KeyAccess, cloudtrail_context, cloudtrail_key_access};
pub use decrypt::DecryptBarrier;
pub use decrypters::{Decrypter, decrypters};
pub use log_files::LogFiles;
pub use named::{LogFolder, named_key, named_trail_accounts, named_trails};
pub use readers::{LockedOutReader, account_readers, excludes_other_accounts, locked_out_readers};
pub use replication::{rules_without_decrypt, unreplicated_rules};

use crate::iam::Context;

/// The service principal of CloudTrail, in every partition.
pub const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

/// What every request of an AWS service contains. A service belongs to no organization, is no IAM user, and uses no
/// VPC endpoint. Whether it has an account is not documented, but it would be none of a customer's.
/// Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>,
/// <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html>.
fn service_context(name: &str) -> Context {
    const ABSENT: [&str; 10] = [
        "aws:PrincipalOrgID",
        "aws:PrincipalOrgPaths",
        "aws:username",
        "aws:SourceVpc",
        "aws:SourceVpcArn",
        "aws:SourceVpce",
        "aws:VpcSourceIp",
        "aws:VpceAccount",
        "aws:VpceOrgID",
        "aws:VpceOrgPaths",
    ];
    let context = Context::new()
        .with("aws:PrincipalIsAWSService", "true")
        .with("aws:PrincipalServiceName", name)
        .with_some("aws:PrincipalServiceNamesList")
        .maybe_with("aws:PrincipalAccount", "an account of AWS")
        .without_any("aws:PrincipalTag/");
    ABSENT.into_iter().fold(context, Context::without)
}

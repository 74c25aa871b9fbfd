//! A trail's bucket: its policy and its replication rules.

use crate::observation::{ParsedPolicy, Reading};

/// A trail's bucket, as far as its encryption matters. Read only for a trail that gets another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketObservation {
    /// The bucket policy.
    pub policy: Reading<ParsedPolicy>,
    /// The rules of its replication configuration.
    pub replication: Reading<Vec<ReplicationRule>>,
}

/// A rule of a bucket's replication configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationRule {
    /// Its ID, if it has one.
    pub id: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The prefix of the objects that it selects; every object if empty.
    pub prefix: String,
    /// Whether it replicates only objects with certain tags. CloudTrail's objects have none.
    pub filters_by_tag: bool,
    /// The ARN of the destination bucket.
    pub destination: String,
    /// Whether it replicates objects that are encrypted with a KMS key.
    pub replicates_sse_kms: bool,
    /// The ARN of the role with which S3 replicates.
    pub role: String,
}

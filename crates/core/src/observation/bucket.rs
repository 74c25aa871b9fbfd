//! Buckets.

use crate::observation::Reading;

/// A trail's bucket, as far as its encryption touches it. Read only for a trail that gets another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFacts {
    /// The text of its policy.
    pub policy: Reading<String>,
    /// The rules of its replication.
    pub replication: Reading<Vec<ReplicationRule>>,
}

/// One rule of a bucket's replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationRule {
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Whether it is in force.
    pub enabled: bool,
    /// It is about objects whose key begins like this; every object, if that is empty.
    pub prefix: String,
    /// Whether it is only about objects with certain tags, which CloudTrail's have not.
    pub wants_tags: bool,
    /// Where it replicates to: a bucket's ARN.
    pub destination: String,
    /// Whether it replicates what is encrypted with a KMS key.
    pub takes_kms: bool,
}

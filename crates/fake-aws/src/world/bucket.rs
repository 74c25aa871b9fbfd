//! S3 buckets, as far as a trail's encryption touches them.

use std::collections::BTreeSet;

use serde::Serialize;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub region: String,
    /// Its account; empty until it joins a world, then the world's own.
    pub owner: String,
    /// Its policy, verbatim. Without one, CloudTrail is taken to be let in.
    pub policy: Option<String>,
    /// Its replication configuration, as XML.
    pub replication: Option<String>,
    /// What `HeadBucket` answers instead of 200 in the bucket's own Region, like 403.
    pub head_status: Option<u16>,
    /// What a call from another Region is answered: 301, or 400 as S3 does at times.
    pub wrong_region_status: u16,
    /// Whether it encrypts with an S3 Bucket Key, for which CloudTrail needs `kms:Decrypt`.
    pub bucket_key: bool,
    /// Whether its policy, whatever it says, does not let CloudTrail write.
    pub denies_cloudtrail: bool,
    /// For another account's bucket: answer 405 to `GetBucketPolicy` and `GetBucketReplication` (its policy
    /// lets us, S3 does not) instead of 403.
    pub method_not_allowed: bool,
    /// Operations refused for this bucket, like `s3:GetBucketPolicy`.
    pub denied: BTreeSet<String>,
}

impl Bucket {
    /// A bucket without policy, replication or bucket key.
    pub fn new(name: &str, region: &str) -> Bucket {
        Bucket {
            name: name.to_owned(),
            region: region.to_owned(),
            owner: String::new(),
            policy: None,
            replication: None,
            head_status: None,
            wrong_region_status: 301,
            bucket_key: false,
            denies_cloudtrail: false,
            method_not_allowed: false,
            denied: BTreeSet::new(),
        }
    }

    /// With this policy.
    #[must_use]
    pub fn policy(mut self, policy: &str) -> Bucket {
        self.policy = Some(policy.to_owned());
        self
    }

    /// With this replication configuration, as XML.
    #[must_use]
    pub fn replication(mut self, xml: &str) -> Bucket {
        self.replication = Some(xml.to_owned());
        self
    }

    /// With an S3 Bucket Key.
    #[must_use]
    pub fn with_bucket_key(mut self) -> Bucket {
        self.bucket_key = true;
        self
    }

    /// Of another account, which does not let us look at it: `HeadBucket` answers 403.
    #[must_use]
    pub fn of_account(mut self, account: &str) -> Bucket {
        account.clone_into(&mut self.owner);
        self.head_status = Some(403);
        self
    }
}

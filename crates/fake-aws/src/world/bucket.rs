//! S3 buckets, as far as a trail's encryption depends on them.

use std::collections::BTreeSet;

use serde::Serialize;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Its Region.
    pub region: String,
    /// Its account. Empty until it joins a world, then the world's account.
    pub owner: String,
    /// Its policy, verbatim. Empty until it joins a world, then the policy that lets CloudTrail deliver.
    pub policy: Option<String>,
    /// Its replication configuration, as XML.
    pub replication: Option<String>,
    /// The status of `HeadBucket` in the bucket's Region instead of 200, such as 403.
    pub head_status: Option<u16>,
    /// The status of a call to another Region: 301, or 400, which S3 also returns.
    pub wrong_region_status: u16,
    /// Whether it encrypts with an S3 Bucket Key, for which CloudTrail needs `kms:Decrypt`.
    pub bucket_key: bool,
    /// Whether CloudTrail cannot write, whatever the policy says.
    pub denies_cloudtrail: bool,
    /// For another account's bucket: `GetBucketPolicy` and `GetBucketReplication` return 405 instead of 403, as
    /// S3 does even if the policy allows the call.
    pub method_not_allowed: bool,
    /// Operations that fail with access denied for this bucket, such as `s3:GetBucketPolicy`.
    pub denied: BTreeSet<String>,
}

impl Bucket {
    /// A bucket with the policy that lets CloudTrail deliver, and without replication or bucket key.
    pub fn new(name: &str, region: &str) -> Bucket {
        Bucket {
            name: name.to_owned(),
            region: region.to_owned(),
            owner: String::new(),
            policy: Some(String::new()),
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

    /// Without a policy.
    #[must_use]
    pub fn without_policy(mut self) -> Bucket {
        self.policy = None;
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

    /// Of another account, without access: `HeadBucket` returns 403.
    #[must_use]
    pub fn of_account(mut self, account: &str) -> Bucket {
        account.clone_into(&mut self.owner);
        self.head_status = Some(403);
        self
    }
}

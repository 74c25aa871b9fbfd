//! The state of the fake AWS. Plain data: read it, compare it, change it between calls.

mod bucket;
mod key;
mod topic;
mod trail;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use bucket::Bucket;
pub use key::{AliasEntry, Key, KeyManager, KeyState};
pub use topic::{Published, Topic};
pub use trail::Trail;

use crate::{IdentityPolicy, names};

/// Everything that one account can see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct World {
    /// The account that calls.
    pub account: String,
    /// The partition of all ARNs: `aws`, `aws-cn`, …
    pub partition: String,
    /// Seconds since 1970. Only tests advance it.
    pub now: u64,
    /// Trails by ARN; other accounts' organization trails too.
    pub trails: BTreeMap<String, Trail>,
    /// Keys by ARN; other accounts' keys too.
    pub keys: BTreeMap<String, Key>,
    /// Aliases by ARN.
    pub aliases: BTreeMap<String, AliasEntry>,
    /// Buckets by name.
    pub buckets: BTreeMap<String, Bucket>,
    /// Topics by ARN.
    pub topics: BTreeMap<String, Topic>,
    /// The published messages, in order.
    pub published: Vec<Published>,
    /// The ARNs of the roles and users that exist. A key policy may name no others.
    pub principals: BTreeSet<String>,
    /// The caller's role, which KMS's lockout check evaluates.
    pub caller_role_arn: String,
    /// The caller's policies. With them, every call is authorized as AWS does: by them and by the resource's
    /// policy. `None`: every call is authorized.
    pub caller_policies: Option<Vec<IdentityPolicy>>,
    /// The Lambda function that makes the calls, if one does. Lambda adds it to each request.
    pub caller_function_arn: Option<String>,
    /// Without `caller_policies`: whether the caller's IAM allows `kms:PutKeyPolicy`, so that a key policy
    /// that delegates to the account root passes KMS's lockout check.
    pub caller_iam_allows_put_key_policy: bool,
    /// The organization (`o-…`) of each account that is in one.
    pub organizations: BTreeMap<String, String>,
    /// Whether the account is a delegated administrator, which may change the organization's trails.
    pub delegated_admin: bool,
    /// Operations that fail with access denied, such as `kms:CreateKey`.
    pub denied: BTreeSet<String>,
    /// When new resources become visible.
    pub delays: ConsistencyDelays,
    /// Whether CloudTrail's rate limits apply: 1 write and 10 reads per second and Region.
    pub rate_limits: bool,
    /// The maximum number of entries in a page.
    pub page_size: usize,
    /// The number of keys created so far, for the next key's ID.
    pub keys_made: u64,
}

/// Eventual consistency, counted in calls rather than time, so that tests are deterministic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsistencyDelays {
    /// The number of calls for which a new key does not exist.
    pub key_visible_after: usize,
    /// The number of CloudTrail's calls for which a new key policy is not in effect.
    pub policy_effective_after: usize,
    /// The number of lookups for which a new alias does not exist.
    pub alias_visible_after: usize,
    /// The number of `GetResources` calls for which a new key is not in the tag index.
    pub tag_index_after: usize,
}

impl World {
    /// An empty account, whose caller is the role `trailseal`.
    pub fn new(account: &str) -> World {
        World::in_partition(account, "aws")
    }

    /// An empty account in another partition.
    pub fn in_partition(account: &str, partition: &str) -> World {
        let caller_role_arn = format!("arn:{partition}:iam::{account}:role/trailseal");
        World {
            account: account.to_owned(),
            partition: partition.to_owned(),
            now: 1_790_000_000,
            trails: BTreeMap::new(),
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            buckets: BTreeMap::new(),
            topics: BTreeMap::new(),
            published: Vec::new(),
            principals: BTreeSet::from([caller_role_arn.clone()]),
            caller_role_arn,
            caller_iam_allows_put_key_policy: false,
            caller_policies: None,
            caller_function_arn: None,
            organizations: BTreeMap::new(),
            delegated_admin: false,
            denied: BTreeSet::new(),
            delays: ConsistencyDelays::default(),
            rate_limits: false,
            page_size: 50,
            keys_made: 0,
        }
    }

    /// With a trail.
    #[must_use]
    pub fn trail(mut self, trail: Trail) -> World {
        self.add_trail(trail);
        self
    }

    /// With a bucket of this account.
    #[must_use]
    pub fn bucket(mut self, name: &str, region: &str) -> World {
        self.add_bucket(Bucket::new(name, region));
        self
    }

    /// With a topic of this account.
    #[must_use]
    pub fn topic(mut self, name: &str, region: &str) -> World {
        let arn = self.arn("sns", region, name);
        self.topics.insert(arn, Topic::default());
        self
    }

    /// With these accounts in an organization.
    #[must_use]
    pub fn organization(mut self, id: &str, accounts: &[&str]) -> World {
        self.organizations.extend(accounts.iter().map(|&account| (account.to_owned(), id.to_owned())));
        self
    }

    /// Adds a trail and returns its ARN.
    pub fn add_trail(&mut self, mut trail: Trail) -> String {
        if trail.owner.is_empty() {
            trail.owner.clone_from(&self.account);
        }
        let arn =
            format!("arn:{}:cloudtrail:{}:{}:trail/{}", self.partition, trail.home_region, trail.owner, trail.name);
        self.trails.insert(arn.clone(), trail);
        arn
    }

    /// Adds a bucket.
    pub fn add_bucket(&mut self, mut bucket: Bucket) {
        if bucket.owner.is_empty() {
            bucket.owner.clone_from(&self.account);
        }
        if bucket.policy.as_deref() == Some("") {
            bucket.policy = Some(self.bucket_policy(&bucket.name, &[]));
        }
        self.buckets.insert(bucket.name.clone(), bucket);
    }

    /// Adds a key, visible at once, and returns its ARN.
    pub fn key(&mut self, mut key: Key) -> String {
        if key.account.is_empty() {
            key.account.clone_from(&self.account);
        }
        if key.policy.is_empty() {
            key.policy = self.default_key_policy(&key.account);
        }
        if key.created == 0 {
            key.created = self.now;
        }
        if key.id.is_empty() {
            self.keys_made += 1;
            let n = self.keys_made;
            key.id = match key.multi_region {
                true => format!("mrk-{n:032x}"),
                false => format!("00000000-0000-4000-8000-{n:012x}"),
            };
        }
        let arn = format!("arn:{}:kms:{}:{}:key/{}", self.partition, key.region, key.account, key.id);
        self.keys.insert(arn.clone(), key);
        arn
    }

    /// Points an alias of this account (`alias/…`) to a key.
    pub fn alias(&mut self, region: &str, name: &str, key_arn: &str) -> &mut World {
        let entry = AliasEntry { target: key_arn.to_owned(), created: self.now, hidden_calls: 0 };
        self.aliases.insert(self.arn("kms", region, name), entry);
        self
    }

    /// The ARN of the key behind an alias of this account.
    pub fn alias_target(&self, region: &str, name: &str) -> Option<&str> {
        let entry = self.aliases.get(&self.arn("kms", region, name))?;
        Some(&entry.target)
    }

    /// The ARN of a trail of this account.
    pub fn trail_arn(&self, region: &str, name: &str) -> String {
        self.arn("cloudtrail", region, &format!("trail/{name}"))
    }

    /// This account's customer managed keys in a Region, with their ARNs.
    pub fn customer_keys(&self, region: &str) -> Vec<(&str, &Key)> {
        let keys = self.keys.iter().filter(|(arn, key)| {
            names::region_of(arn) == region && key.account == self.account && key.manager == KeyManager::Customer
        });
        keys.map(|(arn, key)| (arn.as_str(), key)).collect()
    }

    /// Creates a role or user.
    pub fn add_principal(&mut self, arn: &str) -> &mut World {
        self.principals.insert(arn.to_owned());
        self
    }

    /// Deletes a role or user. As in IAM, its unique ID replaces its ARN in key policies.
    pub fn delete_principal(&mut self, arn: &str) {
        self.principals.remove(arn);
        let prefix = if arn.contains(":user/") { "AIDA" } else { "AROA" };
        let digest = arn.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let unique_id = format!("{prefix}{digest:017X}");
        for key in self.keys.values_mut() {
            key.policy = key.policy.replace(&format!("\"{arn}\""), &format!("\"{unique_id}\""));
        }
    }

    /// KMS's default key policy: the account's IAM decides.
    pub fn default_key_policy(&self, account: &str) -> String {
        serde_json::json!({
            "Version": "2012-10-17",
            "Id": "key-default-1",
            "Statement": [{
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:{}:iam::{account}:root", self.partition)},
                "Action": "kms:*",
                "Resource": "*"
            }]
        })
        .to_string()
    }

    /// A key policy as AWS documents it for trails: the account's IAM decides, and CloudTrail may
    /// encrypt for the account's trails, describe, and decrypt for buckets with an S3 Bucket Key.
    pub fn cloudtrail_key_policy(&self) -> String {
        let trails = format!("arn:{}:cloudtrail:*:{}:trail/*", self.partition, self.account);
        let cloudtrail = serde_json::json!({"Service": "cloudtrail.amazonaws.com"});
        serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "Enable IAM User Permissions",
                    "Effect": "Allow",
                    "Principal": {"AWS": format!("arn:{}:iam::{}:root", self.partition, self.account)},
                    "Action": "kms:*",
                    "Resource": "*"
                },
                {
                    "Sid": "Allow CloudTrail to encrypt logs",
                    "Effect": "Allow",
                    "Principal": cloudtrail,
                    "Action": "kms:GenerateDataKey*",
                    "Resource": "*",
                    "Condition": {
                        "ArnLike": {"aws:SourceArn": trails},
                        "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": trails}
                    }
                },
                {
                    "Sid": "Allow CloudTrail to describe key",
                    "Effect": "Allow",
                    "Principal": cloudtrail,
                    "Action": "kms:DescribeKey",
                    "Resource": "*"
                },
                {
                    "Sid": "Allow CloudTrail to decrypt for bucket keys",
                    "Effect": "Allow",
                    "Principal": cloudtrail,
                    "Action": "kms:Decrypt",
                    "Resource": "*"
                }
            ]
        })
        .to_string()
    }

    /// A bucket policy that lets CloudTrail deliver, as AWS documents it without a certain trail, with more statements.
    pub fn bucket_policy(&self, bucket: &str, statements: &[serde_json::Value]) -> String {
        let bucket = format!("arn:{}:s3:::{bucket}", self.partition);
        let cloudtrail = serde_json::json!({"Service": "cloudtrail.amazonaws.com"});
        let mut all = vec![
            serde_json::json!({
                "Sid": "AWSCloudTrailAclCheck20150319",
                "Effect": "Allow",
                "Principal": cloudtrail,
                "Action": "s3:GetBucketAcl",
                "Resource": bucket,
            }),
            serde_json::json!({
                "Sid": "AWSCloudTrailWrite20150319",
                "Effect": "Allow",
                "Principal": cloudtrail,
                "Action": "s3:PutObject",
                "Resource": format!("{bucket}/*"),
                "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
            }),
        ];
        all.extend_from_slice(statements);
        serde_json::json!({"Version": "2012-10-17", "Statement": all}).to_string()
    }

    /// An ARN in this account.
    pub(crate) fn arn(&self, service: &str, region: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{region}:{}:{resource}", self.partition, self.account)
    }
}

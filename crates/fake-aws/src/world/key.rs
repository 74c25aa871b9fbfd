//! KMS keys and aliases.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Who manages a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum KeyManager {
    /// AWS, like `alias/aws/s3`.
    #[serde(rename = "AWS")]
    Aws,
    /// The customer.
    #[serde(rename = "CUSTOMER")]
    Customer,
}

/// A key's state, by KMS's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "KMS's own names, documented there")]
pub enum KeyState {
    Creating,
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
    PendingReplicaDeletion,
    Unavailable,
    Updating,
}

/// A key, under its ARN in [`World::keys`](crate::World::keys).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// Its id; empty until it joins a world, which gives it the next.
    pub id: String,
    /// Its Region.
    pub region: String,
    /// Its account; empty until it joins a world, then the world's own.
    pub account: String,
    /// Its state.
    pub state: KeyState,
    /// Who manages it.
    pub manager: KeyManager,
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, …
    pub spec: String,
    /// `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, …
    pub usage: String,
    /// `AWS_KMS`, `EXTERNAL`, …
    pub origin: String,
    /// What it says it is for.
    pub description: String,
    /// Whether it is a multi-Region key.
    pub multi_region: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its policy, verbatim; empty until it joins a world, then KMS's default.
    pub policy: String,
    /// Who may decrypt by a grant.
    pub grants: Vec<String>,
    /// The days between two rotations, if rotation is on.
    pub rotation_days: Option<u64>,
    /// When it was created; 0 until it joins a world, then now.
    pub created: u64,
    /// When it will be deleted, if that is scheduled.
    pub deletion_date: Option<u64>,
    /// Whether its policy was ever written with the lock-out check bypassed.
    pub lockout_check_bypassed: bool,
    /// Operations refused for this key, like `kms:GetKeyPolicy`.
    pub denied: BTreeSet<String>,
    /// For so many more calls about it the key does not exist yet.
    pub hidden_calls: usize,
    /// For so many more tries of CloudTrail's its policy is not in force yet.
    pub unsettled_tries: usize,
    /// For so many more calls of `GetResources` it is not in the tag index.
    pub unindexed_calls: usize,
}

impl Key {
    /// An enabled, symmetric, customer-managed key with KMS's default policy.
    pub fn new(region: &str) -> Key {
        Key {
            id: String::new(),
            region: region.to_owned(),
            account: String::new(),
            state: KeyState::Enabled,
            manager: KeyManager::Customer,
            spec: "SYMMETRIC_DEFAULT".to_owned(),
            usage: "ENCRYPT_DECRYPT".to_owned(),
            origin: "AWS_KMS".to_owned(),
            description: String::new(),
            multi_region: false,
            tags: BTreeMap::new(),
            policy: String::new(),
            grants: Vec::new(),
            rotation_days: None,
            created: 0,
            deletion_date: None,
            lockout_check_bypassed: false,
            denied: BTreeSet::new(),
            hidden_calls: 0,
            unsettled_tries: 0,
            unindexed_calls: 0,
        }
    }

    /// With this policy.
    #[must_use]
    pub fn policy(mut self, policy: &str) -> Key {
        policy.clone_into(&mut self.policy);
        self
    }

    /// With a grant for somebody to decrypt.
    #[must_use]
    pub fn granted_to(mut self, principal: &str) -> Key {
        self.grants.push(principal.to_owned());
        self
    }

    /// In this state.
    #[must_use]
    pub fn state(mut self, state: KeyState) -> Key {
        self.state = state;
        self
    }

    /// Managed by AWS.
    #[must_use]
    pub fn managed_by_aws(mut self) -> Key {
        self.manager = KeyManager::Aws;
        self
    }

    /// Of another spec and usage, like `RSA_2048` and `SIGN_VERIFY`.
    #[must_use]
    pub fn spec(mut self, spec: &str, usage: &str) -> Key {
        spec.clone_into(&mut self.spec);
        usage.clone_into(&mut self.usage);
        self
    }

    /// With a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Key {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Of another account.
    #[must_use]
    pub fn of_account(mut self, account: &str) -> Key {
        account.clone_into(&mut self.account);
        self
    }

    /// Created at some time.
    #[must_use]
    pub fn created(mut self, at: u64) -> Key {
        self.created = at;
        self
    }

    /// Whether it encrypts and decrypts with one and the same secret.
    pub fn is_symmetric(&self) -> bool {
        self.spec == "SYMMETRIC_DEFAULT"
    }

    /// Whether it may be used for cryptography now.
    pub fn is_usable(&self) -> bool {
        matches!(self.state, KeyState::Enabled | KeyState::Updating)
    }
}

/// An alias, under its ARN in [`World::aliases`](crate::World::aliases).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AliasEntry {
    /// The ARN of the key behind it.
    pub target: String,
    /// When it was created.
    pub created: u64,
    /// For so many more look-ups it does not exist yet.
    pub hidden_calls: usize,
}

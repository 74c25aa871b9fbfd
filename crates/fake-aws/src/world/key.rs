//! KMS keys and aliases.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Who manages a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum KeyManager {
    /// AWS, as for `alias/aws/s3`.
    #[serde(rename = "AWS")]
    Aws,
    /// The customer.
    #[serde(rename = "CUSTOMER")]
    Customer,
}

/// A key's state, with KMS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "KMS documents its states")]
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
    /// Its ID. Empty until a world assigns one.
    pub id: String,
    /// Its Region.
    pub region: String,
    /// Its account. Empty until it joins a world, then the world's account.
    pub account: String,
    /// Its state.
    pub state: KeyState,
    /// Who manages it.
    pub manager: KeyManager,
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, …
    pub spec: String,
    /// `ENCRYPT_DECRYPT`, `SIGN_VERIFY`, …
    pub usage: String,
    /// `AWS_KMS`, `EXTERNAL`, `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
    pub origin: String,
    /// The ID of the custom key store that holds its key material, if one does.
    pub key_store: Option<String>,
    /// When its imported key material expires, if it does.
    pub valid_to: Option<u64>,
    /// Its description.
    pub description: String,
    /// Whether it is a multi-Region key.
    pub multi_region: bool,
    /// Whether it is the replica of a multi-Region key.
    pub replica: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its policy, verbatim. Empty until it joins a world, then KMS's default.
    pub policy: String,
    /// The grantees of grants that allow `kms:Decrypt`.
    pub grants: Vec<String>,
    /// The days between two rotations, if rotation is on.
    pub rotation_days: Option<u64>,
    /// When it was created. 0 until it joins a world, then now.
    pub created: u64,
    /// When it will be deleted, if that is scheduled.
    pub deletion_date: Option<u64>,
    /// Whether its policy was ever written with the lockout check bypassed.
    pub lockout_check_bypassed: bool,
    /// Operations that fail with access denied for this key, such as `kms:GetKeyPolicy`.
    pub denied: BTreeSet<String>,
    /// The number of further calls for which the key does not exist.
    pub hidden_calls: usize,
    /// The number of further calls by CloudTrail for which its policy is not in effect.
    pub policy_pending_calls: usize,
    /// The number of further `GetResources` calls for which it is not in the tag index.
    pub unindexed_calls: usize,
}

impl Key {
    /// An enabled, symmetric, customer managed key with KMS's default policy.
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
            key_store: None,
            valid_to: None,
            description: String::new(),
            multi_region: false,
            replica: false,
            tags: BTreeMap::new(),
            policy: String::new(),
            grants: Vec::new(),
            rotation_days: None,
            created: 0,
            deletion_date: None,
            lockout_check_bypassed: false,
            denied: BTreeSet::new(),
            hidden_calls: 0,
            policy_pending_calls: 0,
            unindexed_calls: 0,
        }
    }

    /// With this policy.
    #[must_use]
    pub fn policy(mut self, policy: &str) -> Key {
        policy.clone_into(&mut self.policy);
        self
    }

    /// With a grant that allows the principal to decrypt.
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

    /// With its key material in a custom key store: of origin `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
    #[must_use]
    pub fn in_key_store(mut self, origin: &str, id: &str) -> Key {
        origin.clone_into(&mut self.origin);
        self.key_store = Some(id.to_owned());
        self
    }

    /// With imported key material that expires at this time.
    #[must_use]
    pub fn imported_until(mut self, valid_to: u64) -> Key {
        (self.origin, self.valid_to) = ("EXTERNAL".to_owned(), Some(valid_to));
        self
    }

    /// Managed by AWS.
    #[must_use]
    pub fn managed_by_aws(mut self) -> Key {
        self.manager = KeyManager::Aws;
        self
    }

    /// With a spec and usage, such as `RSA_2048` and `SIGN_VERIFY`.
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

    /// Created at this time.
    #[must_use]
    pub fn created(mut self, at: u64) -> Key {
        self.created = at;
        self
    }

    /// Whether it is a symmetric encryption key.
    pub fn is_symmetric(&self) -> bool {
        self.spec == "SYMMETRIC_DEFAULT"
    }

    /// Whether its state allows cryptographic operations.
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
    /// The number of further lookups for which it does not exist.
    pub hidden_calls: usize,
}

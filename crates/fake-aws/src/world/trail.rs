//! Trails.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// A trail, under its ARN in [`World::trails`](crate::World::trails).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trail {
    /// Its name.
    pub name: String,
    /// The Region where it was created and can be changed.
    pub home_region: String,
    /// The account in its ARN. Empty until it joins a world, then the world's account.
    pub owner: String,
    /// The bucket that it delivers to.
    pub bucket: String,
    /// The prefix in the bucket.
    pub prefix: Option<String>,
    /// The ARN of the key that it encrypts with.
    pub kms_key_id: Option<String>,
    /// The topic that it notifies.
    pub sns_topic_arn: Option<String>,
    /// The log group that it copies to.
    pub log_group_arn: Option<String>,
    /// The role that it copies with.
    pub log_role_arn: Option<String>,
    /// Whether it records global services' events.
    pub include_global_service_events: bool,
    /// Whether it records every Region.
    pub multi_region: bool,
    /// Whether it writes digests.
    pub log_file_validation: bool,
    /// Whether it is an organization's.
    pub organization: bool,
    /// Whether it is logging now.
    pub logging: bool,
    /// When logging was last started.
    pub started_at: Option<u64>,
    /// When logging was last stopped. A trail that was never started has neither.
    pub stopped_at: Option<u64>,
    /// S3's error for the latest delivery, such as `AccessDenied` or `KMS.DisabledException`. A change of the
    /// trail, or of its key's state or policy, clears it if
    /// [`World::check_delivery`](crate::World::check_delivery) then succeeds.
    pub latest_delivery_error: Option<String>,
    /// The same for digests.
    pub latest_digest_delivery_error: Option<String>,
    /// When it last delivered.
    pub latest_delivery_at: Option<u64>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Operations that fail with access denied for this trail, such as `cloudtrail:UpdateTrail`.
    pub denied: BTreeSet<String>,
}

impl Trail {
    /// A single-Region trail that logs, unencrypted.
    pub fn new(name: &str, home_region: &str, bucket: &str) -> Trail {
        Trail {
            name: name.to_owned(),
            home_region: home_region.to_owned(),
            owner: String::new(),
            bucket: bucket.to_owned(),
            prefix: None,
            kms_key_id: None,
            sns_topic_arn: None,
            log_group_arn: None,
            log_role_arn: None,
            include_global_service_events: true,
            multi_region: false,
            log_file_validation: true,
            organization: false,
            logging: true,
            started_at: Some(1_780_000_000),
            stopped_at: None,
            latest_delivery_error: None,
            latest_digest_delivery_error: None,
            latest_delivery_at: None,
            tags: BTreeMap::new(),
            denied: BTreeSet::new(),
        }
    }

    /// Visible in every Region.
    #[must_use]
    pub fn multi_region(mut self) -> Trail {
        self.multi_region = true;
        self
    }

    /// The organization's, owned by its management account.
    #[must_use]
    pub fn organization(mut self, owner: &str) -> Trail {
        self.organization = true;
        owner.clone_into(&mut self.owner);
        self
    }

    /// Encrypted with a key.
    #[must_use]
    pub fn encrypted_with(mut self, key_arn: &str) -> Trail {
        self.kms_key_id = Some(key_arn.to_owned());
        self
    }

    /// Stopped at this time, after it was started.
    #[must_use]
    pub fn stopped(mut self, at: u64) -> Trail {
        self.logging = false;
        self.stopped_at = Some(at);
        self
    }

    /// Created and never started.
    #[must_use]
    pub fn never_started(mut self) -> Trail {
        self.logging = false;
        self.started_at = None;
        self
    }

    /// With a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Trail {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Whether the latest delivery, of logs or of digests, was an error.
    pub(crate) fn has_delivery_error(&self) -> bool {
        self.latest_delivery_error.is_some() || self.latest_digest_delivery_error.is_some()
    }

    /// With an error of the latest delivery.
    #[must_use]
    pub fn failing(mut self, error: &str) -> Trail {
        self.latest_delivery_error = Some(error.to_owned());
        self
    }
}

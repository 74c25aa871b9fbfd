//! Trails: their settings, their status, and what the plan needs for those with a finding.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::ids::{Region, TrailArn};
use crate::observation::{BucketObservation, Candidates, KeyObservation, Reading};

/// The trails of an account, as `ListTrails` returns them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedTrails {
    /// Each trail with its home Region.
    pub trails: Vec<(TrailArn, Region)>,
    /// Entries whose ARN is malformed, so that the trail cannot be read.
    pub malformed: Vec<MalformedTrail>,
}

/// An entry of `ListTrails` whose ARN is malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedTrail {
    /// The ARN or name as AWS returned it.
    pub name: String,
    /// Why it cannot be read.
    pub failure: Failure,
}

/// A trail as `GetTrail` returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailSettings {
    /// The trail's ARN; its account is the owner, for an organization trail in every member account.
    pub arn: TrailArn,
    /// Where the trail can be changed.
    pub home_region: Region,
    /// The key, normally as an ARN; `None` if AWS returns nothing, null or an empty string.
    pub kms_key_id: Option<String>,
    /// Every other setting, which must not change.
    pub kept: KeptSettings,
}

/// Every setting of a trail that trailseal must not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptSettings {
    /// `S3BucketName`.
    pub bucket: String,
    /// `S3KeyPrefix`.
    pub key_prefix: Option<String>,
    /// `SnsTopicARN`.
    pub sns_topic: Option<String>,
    /// `CloudWatchLogsLogGroupArn`.
    pub log_group: Option<String>,
    /// `CloudWatchLogsRoleArn`.
    pub log_role: Option<String>,
    /// `IncludeGlobalServiceEvents`.
    pub global_service_events: Option<bool>,
    /// `IsMultiRegionTrail`.
    pub multi_region: Option<bool>,
    /// `LogFileValidationEnabled`.
    pub log_file_validation: Option<bool>,
    /// `IsOrganizationTrail`.
    pub organization_trail: Option<bool>,
    /// `RecursiveLogging`.
    pub recursive_logging: Option<bool>,
}

/// A setting of a trail that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// The setting, as AWS names it.
    pub name: &'static str,
    /// Its value before; `None` if it was not set.
    pub before: Option<String>,
    /// Its value after; `None` if it is not set.
    pub after: Option<String>,
}

impl KeptSettings {
    /// The settings that differ in `after`. A flag that one side does not contain is no difference. A text that one side
    /// does not contain is one, because AWS omits what is not set.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<SettingChange> {
        let texts = self.texts().into_iter().zip(after.texts()).filter(|(before, after)| before != after);
        let flags = self.flags().into_iter().zip(after.flags());
        let flags = flags.filter(|(before, after)| before.1.is_some() && after.1.is_some() && before != after);
        let flags = flags.map(|((name, before), (_, after))| SettingChange {
            name,
            before: before.map(|flag| flag.to_string()),
            after: after.map(|flag| flag.to_string()),
        });
        texts.map(|((name, before), (_, after))| SettingChange { name, before, after }).chain(flags).collect()
    }

    fn texts(&self) -> [(&'static str, Option<String>); 5] {
        let Self { bucket, key_prefix, sns_topic, log_group, log_role, .. } = self.clone();
        [
            ("S3BucketName", Some(bucket)),
            ("S3KeyPrefix", key_prefix),
            ("SnsTopicARN", sns_topic),
            ("CloudWatchLogsLogGroupArn", log_group),
            ("CloudWatchLogsRoleArn", log_role),
        ]
    }

    fn flags(&self) -> [(&'static str, Option<bool>); 5] {
        let Self {
            bucket: _,
            key_prefix: _,
            sns_topic: _,
            log_group: _,
            log_role: _,
            global_service_events,
            multi_region,
            log_file_validation,
            organization_trail,
            recursive_logging,
        } = self;
        [
            ("IncludeGlobalServiceEvents", *global_service_events),
            ("IsMultiRegionTrail", *multi_region),
            ("LogFileValidationEnabled", *log_file_validation),
            ("IsOrganizationTrail", *organization_trail),
            ("RecursiveLogging", *recursive_logging),
        ]
    }
}

/// A trail as `UpdateTrail` returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedTrail {
    /// The key that the trail has now.
    pub kms_key_id: String,
    /// Every other setting.
    pub kept: KeptSettings,
}

/// A trail's status as `GetTrailStatus` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrailStatus {
    /// Whether it is logging.
    pub logging: bool,
    /// Whether it was ever started. One that was not is its creator's to start.
    pub ever_started: bool,
    /// The error of the last delivery of log files, as S3 names it.
    pub delivery_error: Option<String>,
    /// The error of the last delivery of digest files, as S3 names it.
    pub digest_error: Option<String>,
}

/// The health of one trail: the first stage of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailObservation {
    /// The trail does not exist.
    Gone,
    /// The trail cannot be read.
    Unreadable(Failure),
    /// The trail, its status and its key.
    Readable(Box<TrailFacts>),
}

/// A trail, its status and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailFacts {
    /// Its settings.
    pub settings: TrailSettings,
    /// Its status.
    pub status: TrailStatus,
    /// The key that it names, if it names one. Not read for another account's trail.
    pub key: Option<Reading<KeyObservation>>,
}

/// What the plan needs besides the health of the trails: the second stage of reading, for trails with a finding only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemediationFacts {
    /// The value of each trail's exempt tag, if it has one.
    pub exempt_tags: BTreeMap<TrailArn, Result<Option<String>, Failure>>,
    /// The Region of each trail's bucket, where its key must be.
    pub bucket_regions: BTreeMap<TrailArn, Result<Region, Failure>>,
    /// The candidates for each Region's sealing key.
    pub candidates: BTreeMap<Region, Candidates>,
    /// Each bucket, by name.
    pub buckets: BTreeMap<String, Result<BucketObservation, Failure>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> KeptSettings {
        KeptSettings {
            bucket: "logs".into(),
            key_prefix: None,
            sns_topic: None,
            log_group: None,
            log_role: None,
            global_service_events: Some(true),
            multi_region: Some(true),
            log_file_validation: Some(true),
            organization_trail: Some(false),
            recursive_logging: Some(true),
        }
    }

    #[test]
    fn every_changed_setting_is_named() {
        let before = settings();
        assert_eq!(before.changes(&before), []);
        let text = |text: &str| Some(text.to_owned());
        let after = KeptSettings {
            bucket: "other".into(),
            key_prefix: text("prefix"),
            sns_topic: text("topic"),
            log_group: text("group"),
            log_role: text("role"),
            global_service_events: Some(false),
            multi_region: Some(false),
            log_file_validation: Some(false),
            organization_trail: Some(true),
            recursive_logging: Some(false),
        };
        let changes = before.changes(&after);
        assert_eq!(changes.len(), 10, "{changes:#?}");
        let prefix = SettingChange { name: "S3KeyPrefix", before: None, after: text("prefix") };
        assert!(changes.contains(&prefix));
        let recursive = SettingChange { name: "RecursiveLogging", before: text("true"), after: text("false") };
        assert!(changes.contains(&recursive));
    }

    #[test]
    fn a_flag_that_one_side_omits_is_no_change() {
        let partial = KeptSettings { multi_region: None, recursive_logging: None, ..settings() };
        assert_eq!(settings().changes(&partial), []);
        assert_eq!(partial.changes(&settings()), []);
    }
}

//! Trails.

use crate::ids::{Region, TrailArn};
use crate::observation::{Failure, KeyFacts, Reading};

/// The trails of an account, as `ListTrails` tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedTrails {
    /// Each with its home Region.
    pub trails: Vec<(TrailArn, Region)>,
    /// Those that cannot be asked for.
    pub odd: Vec<OddTrail>,
}

/// A trail that cannot be asked for, since what it is called is no ARN of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddTrail {
    /// What it is called.
    pub told: String,
    /// The same as a failure.
    pub failure: Failure,
}

/// A trail as `GetTrail` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailSettings {
    /// The trail's ARN; its account is the owner, for an organization trail in every member account.
    pub arn: TrailArn,
    /// Where the trail can be changed.
    pub home_region: Region,
    /// The key, normally as an ARN; `None` where AWS says nothing, null or an empty text.
    pub kms_key_id: Option<String>,
    /// Everything else, which must stay as it is.
    pub kept: KeptSettings,
}

/// Every setting of a trail that trailseal must leave alone.
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

impl KeptSettings {
    /// What `after` says differently, in AWS's words. A boolean that one side does not tell is no
    /// difference; a text that one side does not tell is one, since AWS leaves out what is not set.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<String> {
        let Self {
            bucket,
            key_prefix,
            sns_topic,
            log_group,
            log_role,
            global_service_events,
            multi_region,
            log_file_validation,
            organization_trail,
            recursive_logging,
        } = self;
        let bucket = (Some(bucket.clone()), Some(after.bucket.clone()));
        let texts = [
            ("S3BucketName", &bucket.0, &bucket.1),
            ("S3KeyPrefix", key_prefix, &after.key_prefix),
            ("SnsTopicARN", sns_topic, &after.sns_topic),
            ("CloudWatchLogsLogGroupArn", log_group, &after.log_group),
            ("CloudWatchLogsRoleArn", log_role, &after.log_role),
        ];
        let flags = [
            ("IncludeGlobalServiceEvents", global_service_events, after.global_service_events),
            ("IsMultiRegionTrail", multi_region, after.multi_region),
            ("LogFileValidationEnabled", log_file_validation, after.log_file_validation),
            ("IsOrganizationTrail", organization_trail, after.organization_trail),
            ("RecursiveLogging", recursive_logging, after.recursive_logging),
        ];
        let said = |text: &Option<String>| text.as_ref().map_or("not set".to_owned(), |text| format!("`{text}`"));
        let texts = texts
            .iter()
            .filter(|(_, before, after)| before != after)
            .map(|(name, before, after)| format!("{name}: {} → {}", said(before), said(after)));
        let flags = flags.iter().filter_map(|(name, before, after)| match (before, after) {
            (Some(before), Some(after)) if before != after => Some(format!("{name}: {before} → {after}")),
            _ => None,
        });
        texts.chain(flags).collect()
    }
}

/// A trail as `UpdateTrail` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedTrail {
    /// The key that the trail has now.
    pub kms_key_id: Option<String>,
    /// Everything else.
    pub kept: KeptSettings,
}

/// A trail as `GetTrailStatus` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrailStatus {
    /// Whether it is logging.
    pub logging: bool,
    /// Whether it ever was started. One that never was is its creator's to start.
    pub ever_started: bool,
    /// The error of the last attempt to deliver log files, as S3 names it.
    pub delivery_error: Option<String>,
    /// The error of the last attempt to deliver digest files, as S3 names it.
    pub digest_error: Option<String>,
}

/// One trail, as far as it tells whether the trail is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailFacts {
    /// Its settings.
    pub settings: TrailSettings,
    /// Its status.
    pub status: TrailStatus,
    /// The key that it names, if it names one.
    pub key: Option<Reading<KeyFacts>>,
    /// Whether time passed while reading (a missing key is looked for twice).
    pub waited: bool,
}

/// What mending a trail hangs on, read only for a trail that is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendingFacts {
    /// The Region of its bucket, where its key must be; not read for a trail that needs no key.
    pub bucket_region: Option<Result<Region, Failure>>,
    /// The value of the exempt tag, if the trail has it.
    pub exempt: Result<Option<String>, Failure>,
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
    fn every_setting_that_changed_is_named() {
        let before = settings();
        assert_eq!(before.changes(&before), [""; 0]);
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
        assert!(changes.contains(&"S3KeyPrefix: not set → `prefix`".to_owned()));
        assert!(changes.contains(&"RecursiveLogging: true → false".to_owned()));
    }

    #[test]
    fn a_flag_that_one_side_does_not_tell_is_no_change() {
        let silent = KeptSettings { multi_region: None, recursive_logging: None, ..settings() };
        assert_eq!(settings().changes(&silent), [""; 0]);
        assert_eq!(silent.changes(&settings()), [""; 0]);
    }
}

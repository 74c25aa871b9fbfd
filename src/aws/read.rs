//! The port to read.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudtrail::types::{ResourceTag, Trail};
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::types::{KeyManagerType, KeyState as SdkKeyState};
use tokio::time::{Instant, sleep, timeout_at};
use trailseal_core::facts::{
    Failure, KeptSettings, KeyManager, KeyMetadata, KeyState, Reading, TrailSettings, TrailStatus,
};
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::trigger::TrailRef;

use super::Read;
use super::clients::Aws;
use super::error::{Attempt, is_denied};
use super::retry::{Again, Rules};

/// For how long after its creation some part of AWS may not know a key. KMS speaks of seconds, and of
/// minutes in some cases: <https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html>.
const SETTLING: Duration = Duration::from_secs(180);

/// Reads AWS until the deadline.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub(super) aws: &'a Aws,
    pub(super) deadline: Instant,
}

/// Awaits a call, no longer than until the deadline.
pub(super) async fn answer<T, E>(
    deadline: Instant,
    attempt: &Attempt,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match timeout_at(deadline, call).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(attempt.failure(&error)),
        Err(_) => Err(attempt.out_of_time()),
    }
}

/// Sends one SDK operation with our retry rules for its error type.
macro_rules! send {
    ($operation:expr, $sdk:ident, $again:expr, $attempt:expr) => {{
        fn rules<T, E, B>(
            _: &$sdk::client::customize::CustomizableOperation<T, E, B>,
            again: Again,
            attempt: &Attempt,
        ) -> Rules<E> {
            Rules::new(again, attempt.last.clone())
        }
        let operation = $operation.customize();
        let rules = rules(&operation, $again, &$attempt);
        operation.config_override($sdk::config::Builder::new().retry_classifier(rules)).send()
    }};
}
pub(super) use send;

/// What the console and some emulators send as an empty text is not set.
pub(super) fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The settings to be kept, out of either of the SDK's types that hold them.
macro_rules! kept {
    ($told:ident) => {
        KeptSettings {
            bucket: $told.s3_bucket_name.unwrap_or_default(),
            key_prefix: set($told.s3_key_prefix),
            sns_topic: set($told.sns_topic_arn),
            log_group: set($told.cloud_watch_logs_log_group_arn),
            log_role: set($told.cloud_watch_logs_role_arn),
            global_service_events: $told.include_global_service_events,
            multi_region: $told.is_multi_region_trail,
            log_file_validation: $told.log_file_validation_enabled,
            organization_trail: $told.is_organization_trail,
            recursive_logging: $told.recursive_logging,
        }
    };
}
pub(super) use kept;

fn name(trail: &TrailRef) -> (&str, &Region) {
    match trail {
        TrailRef::Arn(arn) => (arn.as_str(), arn.region()),
        TrailRef::Name { name, region } => (name.as_str(), region),
    }
}

impl Read for Reader<'_> {
    async fn trail(&self, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure> {
        let (name, region) = name(trail);
        let attempt = Attempt::new("cloudtrail:GetTrail", format!("read trail `{name}` in `{region}`"));
        let call = self.aws.cloudtrail(region).get_trail().name(name);
        match answer(self.deadline, &attempt, send!(call, aws_sdk_cloudtrail, Again::Usual, attempt)).await {
            Ok(output) => match output.trail {
                Some(trail) => settings(trail, &attempt).map(Some),
                None => Err(attempt.unusable_answer("CloudTrail answered without saying anything of it")),
            },
            Err(failure) if failure.is("TrailNotFoundException") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn trail_status(&self, trail: &TrailRef) -> Result<Option<TrailStatus>, Failure> {
        let (name, region) = name(trail);
        let attempt =
            Attempt::new("cloudtrail:GetTrailStatus", format!("read the status of trail `{name}` in `{region}`"));
        let call = self.aws.cloudtrail(region).get_trail_status().name(name);
        match answer(self.deadline, &attempt, send!(call, aws_sdk_cloudtrail, Again::Usual, attempt)).await {
            Ok(status) => Ok(Some(TrailStatus {
                logging: status.is_logging.unwrap_or(false),
                ever_started: status.start_logging_time.is_some() || status.stop_logging_time.is_some(),
                delivery_error: set(status.latest_delivery_error),
                digest_error: set(status.latest_digest_delivery_error),
            })),
            Err(failure) if failure.is("TrailNotFoundException") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn trail_tag(&self, trail: &TrailArn, home: &Region, key: &str) -> Result<Option<String>, Failure> {
        let attempt = Attempt::new("cloudtrail:ListTags", format!("read the tags of trail `{trail}`"));
        let mut page = None;
        loop {
            let call = self.aws.cloudtrail(home).list_tags().resource_id_list(trail.as_str()).set_next_token(page);
            let output =
                answer(self.deadline, &attempt, send!(call, aws_sdk_cloudtrail, Again::Usual, attempt)).await?;
            // A list that is not there, or is about something else, is no list without the tag.
            let ours = |resource: &ResourceTag| resource.resource_id.as_deref().is_none_or(|id| id == trail.as_str());
            let Some(resources) = output.resource_tag_list.filter(|resources| resources.iter().all(ours)) else {
                return Err(attempt.unusable_answer("CloudTrail answered without saying anything of its tags"));
            };
            let mut tags = resources.into_iter().flat_map(|resource| resource.tags_list.unwrap_or_default());
            if let Some(tag) = tags.find(|tag| tag.key == key) {
                return Ok(Some(tag.value.unwrap_or_default()));
            }
            page = set(output.next_token);
            if page.is_none() {
                return Ok(None);
            }
        }
    }

    /// S3 names the Region in a header of whatever it answers, also where it refuses or redirects:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>.
    async fn bucket_region(&self, bucket: &str, home: &Region) -> Result<Region, Failure> {
        let attempt = Attempt::new("s3:HeadBucket", format!("find the Region of bucket `{bucket}`"));
        let call = self.aws.s3(home).head_bucket().bucket(bucket);
        let sent = timeout_at(self.deadline, send!(call, aws_sdk_s3, Again::Usual, attempt)).await;
        let told = match sent.map_err(|_| attempt.out_of_time())? {
            Ok(output) => output.bucket_region,
            Err(error) => {
                let response = error.raw_response().filter(|response| response.status().as_u16() != 404);
                match response.and_then(|response| response.headers().get("x-amz-bucket-region")) {
                    Some(region) => Some(region.to_owned()),
                    None => return Err(bucket_failure(&attempt, &error)),
                }
            }
        };
        let told = told.ok_or_else(|| attempt.unusable_answer("S3 did not say in which Region it is"))?;
        told.parse()
            .map_err(|malformed| attempt.unusable_answer(&format!("S3 said that it is in a Region where {malformed}")))
    }

    async fn key(&self, key: &str, region: &Region) -> Result<Reading<KeyMetadata>, Failure> {
        let attempt = Attempt::new("kms:DescribeKey", format!("read key `{key}` in `{region}`"));
        let call = self.aws.kms(region).describe_key().key_id(key);
        match answer(self.deadline, &attempt, send!(call, aws_sdk_kms, Again::Usual, attempt)).await {
            Ok(output) => match output.key_metadata {
                Some(metadata) => key_metadata(metadata, &attempt).map(Reading::Known),
                None => Err(attempt.unusable_answer("KMS answered without saying anything of the key")),
            },
            Err(failure) if failure.is("NotFoundException") => Ok(Reading::Absent),
            Err(failure) if is_denied(&failure) => Ok(Reading::Denied(failure)),
            Err(failure) => Err(failure),
        }
    }

    async fn key_policy(&self, key: &KeyArn) -> Result<Reading<String>, Failure> {
        let attempt = Attempt::new("kms:GetKeyPolicy", format!("read the policy of key `{key}`"));
        let call = self.aws.kms(key.region()).get_key_policy().key_id(key.as_str()).policy_name("default");
        match answer(self.deadline, &attempt, send!(call, aws_sdk_kms, Again::Usual, attempt)).await {
            Ok(output) => Ok(output.policy.map_or(Reading::Absent, Reading::Known)),
            Err(failure) if failure.is("NotFoundException") => Ok(Reading::Absent),
            Err(failure) if is_denied(&failure) => Ok(Reading::Denied(failure)),
            Err(failure) => Err(failure),
        }
    }

    async fn wait(&self, time: Duration) -> Result<(), Failure> {
        if self.deadline.saturating_duration_since(Instant::now()) <= time {
            let message = "something has to be read again a little later, and the invocation has no time left for that";
            return Err(Failure::transient(message));
        }
        sleep(time).await;
        Ok(())
    }
}

/// An answer to HEAD has no body, hence no error code.
fn bucket_failure<E>(attempt: &Attempt, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.raw_response().map(|response| response.status().as_u16()) {
        Some(404) => attempt.answered(404, "NoSuchBucket".into(), "there is no such bucket", None),
        Some(403) => attempt.answered(403, "AccessDenied".into(), "S3 does not tell us in which Region it is", None),
        _ => attempt.failure(error),
    }
}

fn settings(trail: Trail, attempt: &Attempt) -> Result<TrailSettings, Failure> {
    let arn: TrailArn = trail
        .trail_arn
        .unwrap_or_default()
        .parse()
        .map_err(|malformed| attempt.unusable_answer(&format!("its ARN is odd: {malformed}")))?;
    Ok(TrailSettings {
        // An ARN's Region is the trail's home; some emulators do not tell it apart.
        home_region: trail.home_region.and_then(|region| region.parse().ok()).unwrap_or_else(|| arn.region().clone()),
        arn,
        kms_key_id: set(trail.kms_key_id),
        kept: kept!(trail),
    })
}

fn key_metadata(key: aws_sdk_kms::types::KeyMetadata, attempt: &Attempt) -> Result<KeyMetadata, Failure> {
    let arn = key.arn.unwrap_or_default();
    let created = key.creation_date.map(|created| created.secs());
    let age = key.creation_date.and_then(|created| SystemTime::try_from(created).ok()).map(|created| created.elapsed());
    Ok(KeyMetadata {
        arn: arn.parse().map_err(|malformed| attempt.unusable_answer(&format!("its ARN is odd: {malformed}")))?,
        manager: match key.key_manager {
            Some(KeyManagerType::Aws) => KeyManager::Aws,
            _ => KeyManager::Customer,
        },
        spec: key.key_spec.map(|spec| spec.as_str().to_owned()),
        usage: key.key_usage.map(|usage| usage.as_str().to_owned()),
        state: match key.key_state {
            Some(SdkKeyState::Enabled | SdkKeyState::Updating) => KeyState::Usable,
            Some(SdkKeyState::Disabled) => KeyState::Disabled,
            Some(SdkKeyState::PendingDeletion | SdkKeyState::PendingReplicaDeletion) => KeyState::PendingDeletion,
            Some(state @ (SdkKeyState::Creating | SdkKeyState::PendingImport | SdkKeyState::Unavailable)) => {
                KeyState::Unavailable(state.as_str().to_owned())
            }
            Some(other) => KeyState::Unknown(other.as_str().to_owned()),
            None => KeyState::Unknown("not told".into()),
        },
        created,
        // Created "in the future" by another clock is young, too.
        fresh: age.is_some_and(|age| age.map_or(true, |age| age < SETTLING)),
    })
}

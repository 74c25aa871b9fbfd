//! CloudTrail: trails, their status and tags.

use aws_sdk_cloudtrail::types::{ResourceTag, Trail};
use trailseal_core::failure::{Class, Failure};
use trailseal_core::ids::{KeyArn, Region, TrailArn, shorten};
use trailseal_core::observation::{
    KeptSettings, ListedTrails, MalformedTrail, TrailSettings, TrailStatus, UpdatedTrail,
};
use trailseal_core::trigger::TrailRef;

use super::errors::has_code;
use super::limits::Rate;
use super::operation::{Operation, RetryRule};
use super::{Reader, Writer, non_empty};

/// The errors that CloudTrail may return while a new key, or a change to its policy, is not visible to it.
const NEW_TO_CLOUDTRAIL: &str =
    "KmsKeyNotFoundException InsufficientEncryptionPolicyException KmsException KmsKeyDisabledException";
/// The errors that CloudTrail returns for a few seconds after the trail's role for CloudWatch Logs was created or changed. They
/// stay terminal: a role that lacks a permission does not gain one by retries of the invocation.
const NEW_ROLE: &str = "InvalidCloudWatchLogsLogGroupArnException InvalidCloudWatchLogsRoleArnException";

/// Whether CloudTrail may not see a key, its state or its policy as KMS returns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyVisibility {
    /// The key was just created or changed. A refusal is retried, and stays transient.
    Settling,
    /// KMS returns a usable key, which another principal or an earlier run may have changed a moment ago. A refusal is
    /// retried, and then final.
    Verified,
    /// It is unknown whether the key is usable. CloudTrail decides.
    Unverified,
}

/// Reads of trails.
pub(crate) trait TrailReads {
    /// `GetTrail`. `None`: the trail does not exist.
    async fn trail(&self, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure>;
    /// `GetTrailStatus`. `None`: the trail does not exist.
    async fn trail_status(&self, trail: &TrailRef) -> Result<Option<TrailStatus>, Failure>;
    /// The value of one of a trail's tags, by `ListTags`. `None`: the trail does not have the tag.
    async fn trail_tag(&self, trail: &TrailArn, home_region: &Region, key: &str) -> Result<Option<String>, Failure>;
    /// The ARN and home Region of every trail that the account can see, by `ListTrails` sent to `region`.
    async fn list_trails(&self, region: &Region) -> Result<ListedTrails, Failure>;
    /// The settings of every trail whose home Region is `region`, by `DescribeTrails`.
    async fn describe_trails(&self, region: &Region) -> Result<Vec<TrailSettings>, Failure>;
}

/// Writes to trails. Those of one Region are sent one after another, first come, first served.
pub(crate) trait TrailWrites {
    /// `UpdateTrail` with the trail's ARN and `KmsKeyId`, nothing else. `visibility` says what CloudTrail's refusal of the key
    /// means.
    ///
    /// Before every attempt, after the responses to the Region's earlier writes, `unchanged` reports whether the trail is still
    /// as it was when the update was decided. If not, nothing is sent: `None`. An error says whether the outcome of an
    /// attempt is unknown.
    async fn update_trail(
        &self,
        trail: &TrailArn,
        home_region: &Region,
        key: &KeyArn,
        visibility: KeyVisibility,
        unchanged: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<Option<UpdatedTrail>, Failure>;
    /// `StartLogging`.
    async fn start_logging(&self, trail: &TrailArn, home_region: &Region) -> Result<(), Failure>;
}

fn read(name: &'static str, region: &Region, description: String) -> Operation {
    Operation { rate: Rate::CloudTrailRead, ..Operation::new(name, region, description) }
}

fn write(name: &'static str, region: &Region, description: String) -> Operation {
    Operation { rate: Rate::CloudTrailWrite, ..Operation::new(name, region, description) }
}

fn name(trail: &TrailRef) -> (&str, &Region) {
    match trail {
        TrailRef::Arn(arn) => (arn.as_str(), arn.region()),
        TrailRef::Name { name, region } => (name.as_str(), region),
    }
}

impl TrailReads for Reader<'_> {
    async fn trail(&self, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure> {
        let (name, region) = name(trail);
        let operation = read("cloudtrail:GetTrail", region, format!("read trail `{name}` in `{region}`"));
        let output = self.0.call(&operation, || self.0.aws.cloudtrail(region).get_trail().name(name).send()).await;
        existing(output.and_then(|output| settings(operation.require(output.trail, "Trail")?, &operation)))
    }

    async fn trail_status(&self, trail: &TrailRef) -> Result<Option<TrailStatus>, Failure> {
        let (name, region) = name(trail);
        let description = format!("read the status of trail `{name}` in `{region}`");
        let operation = read("cloudtrail:GetTrailStatus", region, description);
        let send = || self.0.aws.cloudtrail(region).get_trail_status().name(name).send();
        existing(self.0.call(&operation, send).await.and_then(|status| {
            Ok(TrailStatus {
                logging: operation.require(status.is_logging, "IsLogging")?,
                ever_started: status.start_logging_time.is_some() || status.stop_logging_time.is_some(),
                delivery_error: non_empty(status.latest_delivery_error),
                digest_error: non_empty(status.latest_digest_delivery_error),
            })
        }))
    }

    async fn trail_tag(&self, trail: &TrailArn, home_region: &Region, key: &str) -> Result<Option<String>, Failure> {
        let operation = read("cloudtrail:ListTags", home_region, format!("read the tags of trail `{trail}`"));
        let cloudtrail = self.0.aws.cloudtrail(home_region);
        let page = |token| cloudtrail.list_tags().resource_id_list(trail.as_str()).set_next_token(token).send();
        let resources = self.0.list(&operation, page, |page| {
            Ok((operation.require(page.resource_tag_list, "ResourceTagList")?, page.next_token))
        });
        // A list that does not contain the trail does not mean that the trail lacks the tag.
        let is_trails = |resource: &ResourceTag| resource.resource_id.as_deref() == Some(trail.as_str());
        let mut found = resources.await?.into_iter().filter(is_trails).peekable();
        if found.peek().is_none() {
            return Err(operation.malformed_response(&format!("{} returned no tags of this trail", operation.name)));
        }
        let mut value = None;
        for resource in found {
            for tag in operation.require(resource.tags_list, "TagsList")? {
                // The SDK returns an empty key for a missing one. A tag may have no value.
                if operation.require(non_empty(Some(tag.key)), "Key")? == key {
                    value = Some(tag.value.unwrap_or_default());
                }
            }
        }
        Ok(value)
    }

    async fn list_trails(&self, region: &Region) -> Result<ListedTrails, Failure> {
        let operation = read("cloudtrail:ListTrails", region, format!("list the account's trails in `{region}`"));
        let page = |token| self.0.aws.cloudtrail(region).list_trails().set_next_token(token).send();
        let mut listed = ListedTrails::default();
        let trails =
            self.0.list(&operation, page, |page| Ok((operation.require(page.trails, "Trails")?, page.next_token)));
        for trail in trails.await? {
            let arn = operation.parse(trail.trail_arn.clone(), "TrailARN");
            let arn_and_region = arn.and_then(|arn| {
                let home_region = home_region(trail.home_region, &arn, &operation)?;
                Ok((arn, home_region))
            });
            match arn_and_region {
                Ok(trail) => listed.trails.push(trail),
                Err(failure) => {
                    let name = trail.trail_arn.or(trail.name).unwrap_or_default();
                    listed.malformed.push(MalformedTrail { name: shorten(&name, 256), failure });
                }
            }
        }
        Ok(listed)
    }

    /// The response includes the shadow trails of multi-Region trails of other home Regions. To exclude them in the
    /// request would hide organization trails from member accounts.
    /// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_DescribeTrails.html>.
    async fn describe_trails(&self, region: &Region) -> Result<Vec<TrailSettings>, Failure> {
        let operation = read("cloudtrail:DescribeTrails", region, format!("read the trails of `{region}`"));
        let output = self.0.call(&operation, || self.0.aws.cloudtrail(region).describe_trails().send()).await?;
        let trails = operation.require(output.trail_list, "trailList")?;
        // A malformed trail does not affect the others. It is read by its ARN, which `list_trails` returns.
        let trails = trails.into_iter().filter_map(|trail| settings(trail, &operation).ok());
        Ok(trails.filter(|trail| trail.home_region == *region).collect())
    }
}

impl TrailWrites for Writer<'_> {
    async fn update_trail(
        &self,
        trail: &TrailArn,
        home_region: &Region,
        key: &KeyArn,
        visibility: KeyVisibility,
        unchanged: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<Option<UpdatedTrail>, Failure> {
        let description = format!("assign key `{key}` to trail `{trail}`");
        let codes: &[&str] = match visibility {
            KeyVisibility::Settling | KeyVisibility::Verified => &[NEW_ROLE, NEW_TO_CLOUDTRAIL],
            KeyVisibility::Unverified => &[NEW_ROLE],
        };
        let operation =
            write("cloudtrail:UpdateTrail", home_region, description).with_retry(RetryRule::WhilePropagating(codes));
        let cloudtrail = self.0.aws.cloudtrail(home_region);
        let send = || cloudtrail.update_trail().name(trail.as_str()).kms_key_id(key.as_str()).send();
        match self.0.call_while(&operation, unchanged, send).await {
            Ok(None) => Ok(None),
            // The SDK has a separate type for this response. As a `Trail`, it is read like the trail before the update.
            Ok(Some(updated)) => {
                let response = Trail::builder()
                    .set_trail_arn(updated.trail_arn)
                    .set_kms_key_id(updated.kms_key_id)
                    .set_s3_bucket_name(updated.s3_bucket_name)
                    .set_s3_key_prefix(updated.s3_key_prefix)
                    .set_sns_topic_arn(updated.sns_topic_arn)
                    .set_cloud_watch_logs_log_group_arn(updated.cloud_watch_logs_log_group_arn)
                    .set_cloud_watch_logs_role_arn(updated.cloud_watch_logs_role_arn)
                    .set_include_global_service_events(updated.include_global_service_events)
                    .set_is_multi_region_trail(updated.is_multi_region_trail)
                    .set_log_file_validation_enabled(updated.log_file_validation_enabled)
                    .set_is_organization_trail(updated.is_organization_trail)
                    .set_recursive_logging(updated.recursive_logging);
                let read = updated_trail(response.build(), trail, &operation);
                // CloudTrail may have updated the trail.
                read.map(Some).map_err(|failure| Failure { outcome_unknown: true, ..failure })
            }
            // A later invocation may succeed, when the key is visible.
            Err(failure) if visibility == KeyVisibility::Settling && has_code(&failure, NEW_TO_CLOUDTRAIL) => {
                Err(Failure { class: Class::Transient, ..failure })
            }
            Err(failure) => Err(failure),
        }
    }

    async fn start_logging(&self, trail: &TrailArn, home_region: &Region) -> Result<(), Failure> {
        let operation = write("cloudtrail:StartLogging", home_region, format!("start logging of trail `{trail}`"));
        let send = || self.0.aws.cloudtrail(home_region).start_logging().name(trail.as_str()).send();
        self.0.call(&operation, send).await.map(drop)
    }
}

fn existing<T>(response: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match response {
        Err(failure) if failure.is("TrailNotFoundException") => Ok(None),
        response => response.map(Some),
    }
}

fn settings(trail: Trail, operation: &Operation) -> Result<TrailSettings, Failure> {
    let arn: TrailArn = operation.parse(trail.trail_arn.clone(), "TrailARN")?;
    Ok(TrailSettings {
        home_region: home_region(trail.home_region.clone(), &arn, operation)?,
        arn,
        kms_key_id: non_empty(trail.kms_key_id.clone()),
        kept: kept(trail, operation)?,
    })
}

/// The trail in the response to an update, which contains the key that was sent.
fn updated_trail(trail: Trail, arn: &TrailArn, operation: &Operation) -> Result<UpdatedTrail, Failure> {
    if operation.require(trail.trail_arn.as_deref(), "TrailARN")? != arn.as_str() {
        return Err(operation.malformed_response("the response is about another trail"));
    }
    let kms_key_id = operation.require(non_empty(trail.kms_key_id.clone()), "KmsKeyId")?;
    Ok(UpdatedTrail { kms_key_id, kept: kept(trail, operation)? })
}

fn kept(trail: Trail, operation: &Operation) -> Result<KeptSettings, Failure> {
    Ok(KeptSettings {
        bucket: operation.require(non_empty(trail.s3_bucket_name), "S3BucketName")?,
        key_prefix: non_empty(trail.s3_key_prefix),
        sns_topic: non_empty(trail.sns_topic_arn),
        log_group: non_empty(trail.cloud_watch_logs_log_group_arn),
        log_role: non_empty(trail.cloud_watch_logs_role_arn),
        global_service_events: trail.include_global_service_events,
        multi_region: Some(operation.require(trail.is_multi_region_trail, "IsMultiRegionTrail")?),
        log_file_validation: Some(operation.require(trail.log_file_validation_enabled, "LogFileValidationEnabled")?),
        organization_trail: Some(operation.require(trail.is_organization_trail, "IsOrganizationTrail")?),
        recursive_logging: trail.recursive_logging,
    })
}

/// Some emulators omit the home Region. It is no default: the ARN contains the same Region.
fn home_region(region: Option<String>, arn: &TrailArn, operation: &Operation) -> Result<Region, Failure> {
    match region {
        None => Ok(arn.region().clone()),
        region => operation.parse(region, "HomeRegion"),
    }
}

//! CloudTrail's write operations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ServiceRequest, check, reads};
use crate::Trail;
use crate::policy::as_list;
use crate::response::{ApiError, Outcome};

/// The quota of trails in a Region.
const TRAILS_PER_REGION: usize = 5;

pub(super) fn create_trail(request: &mut ServiceRequest<'_>) -> Outcome {
    let name = request.text("Name").unwrap_or_default();
    let bucket = request.text("S3BucketName").unwrap_or_default();
    if name.starts_with("arn:") {
        return Err(ApiError::new("InvalidTrailNameException", "A trail is created by its name"));
    }
    let arn = request.arn_of(name)?;
    if request.world.trails.contains_key(&arn) {
        let account = &request.world.account;
        let message = format!("Trail {name} already exists for customer: {account}");
        return Err(ApiError::new("TrailAlreadyExistsException", message));
    }
    let existing = request.world.trails.values().filter(|trail| {
        trail.owner == request.world.account && (trail.multi_region || trail.home_region == request.region)
    });
    if existing.count() >= TRAILS_PER_REGION {
        let message =
            format!("User: {} already has {TRAILS_PER_REGION} trails in {}.", request.world.account, request.region);
        return Err(ApiError::new("MaximumNumberOfTrailsExceededException", message));
    }
    let mut trail = Trail::new(name, request.region, bucket).never_started();
    trail.owner.clone_from(&request.world.account);
    trail.log_file_validation = false;
    trail.tags = tags(&request.input["TagsList"]);
    apply(request, &arn, &mut trail)?;
    request.world.trails.insert(arn.clone(), trail.clone());
    Ok(reads::settings(&arn, &trail))
}

/// Changes only the given settings. The whole trail is validated before it is stored.
pub(super) fn update_trail(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.writable_trail()?;
    let mut trail = request.world.trails[&arn].clone();
    apply(request, &arn, &mut trail)?;
    let mut output = reads::settings(&arn, &trail);
    // UpdateTrail returns both, empty for a trail without a topic.
    let topic = trail.sns_topic_arn.clone().unwrap_or_default();
    output["SnsTopicName"] = json!(topic.rsplit(':').next());
    output["SnsTopicARN"] = json!(topic);
    request.world.trails.insert(arn.clone(), trail);
    request.world.deliver(&arn);
    Ok(output)
}

/// Applies the input's settings to the trail and checks the result.
fn apply(request: &mut ServiceRequest<'_>, arn: &str, trail: &mut Trail) -> Result<(), ApiError> {
    if let Some(bucket) = request.text("S3BucketName") {
        bucket.clone_into(&mut trail.bucket);
    }
    // An empty value removes the setting.
    let given = |name: &str| request.text(name).map(|text| Some(text.to_owned()).filter(|t| !t.is_empty()));
    if let Some(prefix) = given("S3KeyPrefix") {
        trail.prefix = prefix;
    }
    if let Some(topic) = given("SnsTopicName") {
        trail.sns_topic_arn = topic.map(|topic| match topic.starts_with("arn:") {
            true => topic,
            false => request.world.arn("sns", request.region, &topic),
        });
    }
    if let Some(group) = given("CloudWatchLogsLogGroupArn") {
        trail.log_group_arn = group;
    }
    if let Some(role) = given("CloudWatchLogsRoleArn") {
        trail.log_role_arn = role;
    }
    let flags = [
        ("IncludeGlobalServiceEvents", &mut trail.include_global_service_events),
        ("IsMultiRegionTrail", &mut trail.multi_region),
        ("EnableLogFileValidation", &mut trail.log_file_validation),
        ("IsOrganizationTrail", &mut trail.organization),
    ];
    for (name, flag) in flags {
        if let Some(value) = request.input[name].as_bool() {
            *flag = value;
        }
    }
    if trail.multi_region && !trail.include_global_service_events {
        let message = "Multi-Region trail must include global service events.";
        return Err(ApiError::new("InvalidParameterCombinationException", message));
    }
    if let Some(key) = given("KmsKeyId") {
        trail.kms_key_id = match key {
            None => None,
            Some(key) => Some(check::key_arn(request.world, trail, &key)?),
        };
    }
    check::bucket(request.world, arn, trail)?;
    check::key(request.world, arn, trail)
}

pub(super) fn delete_trail(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.writable_trail()?;
    request.world.trails.remove(&arn);
    Ok(json!({}))
}

pub(super) fn set_logging(request: &mut ServiceRequest<'_>, logging: bool) -> Outcome {
    let arn = request.writable_trail()?;
    let now = request.world.now;
    let trail = request.world.trails.get_mut(&arn).expect("the trail exists");
    trail.logging = logging;
    match logging {
        true => trail.started_at = Some(now),
        false => trail.stopped_at = Some(now),
    }
    Ok(json!({}))
}

pub(super) fn add_tags(request: &mut ServiceRequest<'_>) -> Outcome {
    let arn = request.arn_of(request.text("ResourceId").unwrap_or_default())?;
    request.find(&arn)?;
    let tags = tags(&request.input["TagsList"]);
    let trail = request.world.trails.get_mut(&arn).expect("the trail exists");
    trail.tags.extend(tags);
    Ok(json!({}))
}

fn tags(list: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    as_list(list).into_iter().map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
}

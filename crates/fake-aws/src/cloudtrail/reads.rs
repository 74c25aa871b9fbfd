//! CloudTrail's read operations.

use serde_json::{Value, json};

use super::{ServiceRequest, put};
use crate::Trail;
use crate::policy::as_list;
use crate::response::{ApiError, Outcome, page};

pub(super) fn get_trail(request: &ServiceRequest<'_>) -> Outcome {
    let (arn, trail) = request.trail()?;
    Ok(json!({"Trail": describe(&arn, trail)}))
}

pub(super) fn get_trail_status(request: &ServiceRequest<'_>) -> Outcome {
    let (_, trail) = request.trail()?;
    let mut output = json!({"IsLogging": trail.logging});
    // AWS always returns these texts, empty if they have no value.
    for name in [
        "LatestDeliveryAttemptTime",
        "LatestDeliveryAttemptSucceeded",
        "LatestNotificationAttemptTime",
        "LatestNotificationAttemptSucceeded",
        "TimeLoggingStarted",
        "TimeLoggingStopped",
    ] {
        output[name] = json!("");
    }
    put(&mut output, "LatestDeliveryError", trail.latest_delivery_error.as_deref());
    put(&mut output, "LatestDigestDeliveryError", trail.latest_digest_delivery_error.as_deref());
    let times = [
        ("StartLoggingTime", trail.started_at),
        ("StopLoggingTime", trail.stopped_at),
        ("LatestDeliveryTime", trail.latest_delivery_at),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            output[name] = json!(time);
        }
    }
    Ok(output)
}

/// Without names: the Region's trails, and shadow trails unless excluded. With names: those that exist;
/// unknown names are ignored.
pub(super) fn describe_trails(request: &ServiceRequest<'_>) -> Outcome {
    let shadows = request.input["includeShadowTrails"] != false;
    let mut named = Vec::new();
    for name in as_list(&request.input["trailNameList"]) {
        named.push(request.arn_of(name.as_str().unwrap_or_default())?);
    }
    let trails = request.world.trails.iter().filter(|(arn, trail)| {
        let own = trail.owner == request.world.account;
        let home = trail.home_region == request.region && own;
        let shadow = (trail.home_region == request.region || trail.multi_region) && (own || trail.organization);
        let visible = home || (shadows && shadow);
        visible && (named.is_empty() || named.contains(arn))
    });
    let trails: Vec<Value> = trails.map(|(arn, trail)| describe(arn, trail)).collect();
    Ok(json!({"trailList": trails}))
}

/// Every trail in every Region, including the organization's.
pub(super) fn list_trails(request: &ServiceRequest<'_>) -> Outcome {
    let account = &request.world.account;
    let trails = request.world.trails.iter().filter(|(_, t)| t.owner == *account || t.organization);
    let trails: Vec<Value> =
        trails.map(|(arn, t)| json!({"TrailARN": arn, "Name": t.name, "HomeRegion": t.home_region})).collect();
    let (trails, next) = page(trails, request.text("NextToken"), request.world.page_size)
        .ok_or_else(|| ApiError::new("InvalidTokenException", "The token is not valid"))?;
    let mut output = json!({"Trails": trails});
    put(&mut output, "NextToken", next.as_deref());
    Ok(output)
}

/// Of this account's trails only, in their home Region.
pub(super) fn list_tags(request: &ServiceRequest<'_>) -> Outcome {
    let mut tags = Vec::new();
    for id in as_list(&request.input["ResourceIdList"]) {
        let id = id.as_str().unwrap_or_default();
        if !id.starts_with("arn:") {
            return Err(super::invalid_arn(format!("Trail ARN is invalid: {id}")));
        }
        let arn = request.arn_of(id)?;
        let trail = request.find(&arn).map_err(resource_not_found)?;
        if trail.owner != request.world.account && !request.world.delegated_admin {
            return Err(request.wrong_account());
        }
        if trail.home_region != request.region {
            return Err(resource_not_found(request.unknown_trail(&arn)));
        }
        let trail_tags: Vec<Value> =
            trail.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        tags.push(json!({"ResourceId": arn, "TagsList": trail_tags}));
    }
    Ok(json!({"ResourceTagList": tags}))
}

/// ListTags names the error after resources, not trails.
fn resource_not_found(error: ApiError) -> ApiError {
    match error.code.as_str() {
        "TrailNotFoundException" => ApiError::new("ResourceNotFoundException", error.message),
        _ => error,
    }
}

fn describe(arn: &str, trail: &Trail) -> Value {
    let mut output = settings(arn, trail);
    output["HomeRegion"] = json!(trail.home_region);
    output["HasCustomEventSelectors"] = json!(false);
    output["HasInsightSelectors"] = json!(false);
    output
}

/// The fields that reads and writes return. A write does not return the home Region.
pub(super) fn settings(arn: &str, trail: &Trail) -> Value {
    let mut output = json!({
        "Name": trail.name,
        "S3BucketName": trail.bucket,
        "IncludeGlobalServiceEvents": trail.include_global_service_events,
        "IsMultiRegionTrail": trail.multi_region,
        "TrailARN": arn,
        "LogFileValidationEnabled": trail.log_file_validation,
        "IsOrganizationTrail": trail.organization,
    });
    put(&mut output, "S3KeyPrefix", trail.prefix.as_deref());
    put(&mut output, "SnsTopicARN", trail.sns_topic_arn.as_deref());
    put(&mut output, "CloudWatchLogsLogGroupArn", trail.log_group_arn.as_deref());
    put(&mut output, "CloudWatchLogsRoleArn", trail.log_role_arn.as_deref());
    put(&mut output, "KmsKeyId", trail.kms_key_id.as_deref());
    output
}

//! What CloudTrail tells about trails.

use serde_json::{Value, json};

use super::{Asked, put};
use crate::Trail;
use crate::answer::{Outcome, Refusal, page};
use crate::policy::listed;

pub(super) fn get_trail(asked: &Asked<'_>) -> Outcome {
    let (arn, trail) = asked.trail()?;
    Ok(json!({"Trail": described(&arn, trail)}))
}

pub(super) fn get_trail_status(asked: &Asked<'_>) -> Outcome {
    let (_, trail) = asked.trail()?;
    let mut answer = json!({"IsLogging": trail.logging});
    put(&mut answer, "LatestDeliveryError", trail.latest_delivery_error.as_deref());
    put(&mut answer, "LatestDigestDeliveryError", trail.latest_digest_delivery_error.as_deref());
    let times = [
        ("StartLoggingTime", trail.started_at),
        ("StopLoggingTime", trail.stopped_at),
        ("LatestDeliveryTime", trail.latest_delivery_at),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            answer[name] = json!(time);
        }
    }
    Ok(answer)
}

/// Without names: the Region's trails, and the shadows of others unless told otherwise. With names:
/// those of them that exist; unknown ones are left out in silence.
pub(super) fn describe_trails(asked: &Asked<'_>) -> Outcome {
    let shadows = asked.input["includeShadowTrails"] != false;
    let mut wanted = Vec::new();
    for name in listed(&asked.input["trailNameList"]) {
        wanted.push(asked.arn_of(name.as_str().unwrap_or_default())?);
    }
    let trails = asked.world.trails.iter().filter(|(arn, trail)| {
        let own = trail.owner == asked.world.account;
        let at_home = trail.home_region == asked.region && own;
        let shadow = (trail.home_region == asked.region || trail.multi_region) && (own || trail.organization);
        let seen = at_home || (shadows && shadow);
        seen && (wanted.is_empty() || wanted.contains(arn))
    });
    let trails: Vec<Value> = trails.map(|(arn, trail)| described(arn, trail)).collect();
    Ok(json!({"trailList": trails}))
}

/// Every trail of every Region, the organization's too.
pub(super) fn list_trails(asked: &Asked<'_>) -> Outcome {
    let account = &asked.world.account;
    let trails = asked.world.trails.iter().filter(|(_, t)| t.owner == *account || t.organization);
    let trails: Vec<Value> =
        trails.map(|(arn, t)| json!({"TrailARN": arn, "Name": t.name, "HomeRegion": t.home_region})).collect();
    let (trails, next) = page(trails, asked.text("NextToken"), asked.world.page_size)
        .ok_or_else(|| Refusal::new("InvalidTokenException", "The token is not valid"))?;
    let mut answer = json!({"Trails": trails});
    put(&mut answer, "NextToken", next.as_deref());
    Ok(answer)
}

/// Only of this account's trails, in their home Region.
pub(super) fn list_tags(asked: &Asked<'_>) -> Outcome {
    let mut tags = Vec::new();
    for id in listed(&asked.input["ResourceIdList"]) {
        let id = id.as_str().unwrap_or_default();
        if !id.starts_with("arn:") {
            return Err(super::invalid_arn(format!("Trail ARN is invalid: {id}")));
        }
        let arn = asked.arn_of(id)?;
        let trail = asked.known(&arn).map_err(not_a_resource)?;
        if trail.owner != asked.world.account && !asked.world.delegated_admin {
            return Err(asked.wrong_account());
        }
        if trail.home_region != asked.region {
            return Err(not_a_resource(asked.unknown_trail(&arn)));
        }
        let of_trail: Vec<Value> = trail.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        tags.push(json!({"ResourceId": arn, "TagsList": of_trail}));
    }
    Ok(json!({"ResourceTagList": tags}))
}

/// ListTags speaks of resources, not trails.
fn not_a_resource(refusal: Refusal) -> Refusal {
    match refusal.code.as_str() {
        "TrailNotFoundException" => Refusal::new("ResourceNotFoundException", refusal.message),
        _ => refusal,
    }
}

fn described(arn: &str, trail: &Trail) -> Value {
    let mut answer = settings(arn, trail);
    answer["HomeRegion"] = json!(trail.home_region);
    answer["HasCustomEventSelectors"] = json!(false);
    answer["HasInsightSelectors"] = json!(false);
    answer
}

/// What reads and writes both answer: a write does not say the home Region.
pub(super) fn settings(arn: &str, trail: &Trail) -> Value {
    let mut answer = json!({
        "Name": trail.name,
        "S3BucketName": trail.bucket,
        "IncludeGlobalServiceEvents": trail.include_global_service_events,
        "IsMultiRegionTrail": trail.multi_region,
        "TrailARN": arn,
        "LogFileValidationEnabled": trail.log_file_validation,
        "IsOrganizationTrail": trail.organization,
    });
    put(&mut answer, "S3KeyPrefix", trail.prefix.as_deref());
    put(&mut answer, "SnsTopicARN", trail.sns_topic_arn.as_deref());
    put(&mut answer, "CloudWatchLogsLogGroupArn", trail.log_group_arn.as_deref());
    put(&mut answer, "CloudWatchLogsRoleArn", trail.log_role_arn.as_deref());
    put(&mut answer, "KmsKeyId", trail.kms_key_id.as_deref());
    answer
}

//! What changes trails.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Asked, check, reads};
use crate::Trail;
use crate::answer::{Outcome, Refusal};
use crate::policy::listed;

/// How many trails a Region may have.
const TRAILS_PER_REGION: usize = 5;

pub(super) fn create_trail(asked: &mut Asked<'_>) -> Outcome {
    let name = asked.text("Name").unwrap_or_default();
    let bucket = asked.text("S3BucketName").unwrap_or_default();
    if name.starts_with("arn:") {
        return Err(Refusal::new("InvalidTrailNameException", "A trail is created by its name"));
    }
    let arn = asked.arn_of(name)?;
    if asked.world.trails.contains_key(&arn) {
        let account = &asked.world.account;
        let message = format!("Trail {name} already exists for customer: {account}");
        return Err(Refusal::new("TrailAlreadyExistsException", message));
    }
    let here = asked.world.trails.values().filter(|trail| {
        trail.owner == asked.world.account && (trail.multi_region || trail.home_region == asked.region)
    });
    if here.count() >= TRAILS_PER_REGION {
        let message =
            format!("User: {} already has {TRAILS_PER_REGION} trails in {}.", asked.world.account, asked.region);
        return Err(Refusal::new("MaximumNumberOfTrailsExceededException", message));
    }
    let mut trail = Trail::new(name, asked.region, bucket).never_started();
    trail.owner.clone_from(&asked.world.account);
    trail.log_file_validation = false;
    trail.tags = tags(&asked.input["TagsList"]);
    apply(asked, &arn, &mut trail)?;
    asked.world.trails.insert(arn.clone(), trail.clone());
    Ok(reads::settings(&arn, &trail))
}

/// Changes what is given and nothing else; then the whole trail is validated, before it is kept.
pub(super) fn update_trail(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.writable_trail()?;
    let mut trail = asked.world.trails[&arn].clone();
    apply(asked, &arn, &mut trail)?;
    let answer = reads::settings(&arn, &trail);
    asked.world.trails.insert(arn.clone(), trail);
    asked.world.deliver(&arn);
    Ok(answer)
}

/// Puts the settings of the input into the trail and checks the result.
fn apply(asked: &mut Asked<'_>, arn: &str, trail: &mut Trail) -> Result<(), Refusal> {
    if let Some(bucket) = asked.text("S3BucketName") {
        bucket.clone_into(&mut trail.bucket);
    }
    // Empty removes.
    let given = |name: &str| asked.text(name).map(|text| Some(text.to_owned()).filter(|t| !t.is_empty()));
    if let Some(prefix) = given("S3KeyPrefix") {
        trail.prefix = prefix;
    }
    if let Some(topic) = given("SnsTopicName") {
        trail.sns_topic_arn = topic.map(|topic| match topic.starts_with("arn:") {
            true => topic,
            false => asked.world.arn("sns", asked.region, &topic),
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
        if let Some(value) = asked.input[name].as_bool() {
            *flag = value;
        }
    }
    if trail.multi_region && !trail.include_global_service_events {
        let message = "Multi-Region trail must include global service events.";
        return Err(Refusal::new("InvalidParameterCombinationException", message));
    }
    if let Some(key) = given("KmsKeyId") {
        trail.kms_key_id = match key {
            None => None,
            Some(key) => Some(check::key_arn(asked.world, trail, &key)?),
        };
    }
    check::bucket(asked.world, trail)?;
    check::key(asked.world, arn, trail)
}

pub(super) fn delete_trail(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.writable_trail()?;
    asked.world.trails.remove(&arn);
    Ok(json!({}))
}

pub(super) fn set_logging(asked: &mut Asked<'_>, logging: bool) -> Outcome {
    let arn = asked.writable_trail()?;
    let now = asked.world.now;
    let trail = asked.world.trails.get_mut(&arn).expect("a trail that was just found");
    trail.logging = logging;
    match logging {
        true => trail.started_at = Some(now),
        false => trail.stopped_at = Some(now),
    }
    Ok(json!({}))
}

pub(super) fn add_tags(asked: &mut Asked<'_>) -> Outcome {
    let arn = asked.arn_of(asked.text("ResourceId").unwrap_or_default())?;
    asked.known(&arn)?;
    let tags = tags(&asked.input["TagsList"]);
    let trail = asked.world.trails.get_mut(&arn).expect("a trail that was just found");
    trail.tags.extend(tags);
    Ok(json!({}))
}

fn tags(list: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    listed(list).into_iter().map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect()
}

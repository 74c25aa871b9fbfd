//! Trails, read from CloudTrail.

use aws_sdk_cloudtrail::types::{ResourceTag, Trail, TrailInfo};
use trailseal_core::ids::{Region, TrailArn, shorten};
use trailseal_core::observation::{Failure, KeptSettings, ListedTrails, OddTrail, TrailSettings, TrailStatus};
use trailseal_core::trigger::TrailRef;

use super::{Reader, kept, send, set};
use crate::aws::error::Attempt;
use crate::aws::pace::Kind;
use crate::aws::retry::{Again, Rules};

/// Reads in CloudTrail's own turn.
macro_rules! read {
    ($reader:ident, $region:ident, $call:ident, $attempt:ident) => {
        $reader.aws.patiently($reader.until, ($region, Kind::Read), &$attempt, || {
            send!($call.clone(), aws_sdk_cloudtrail, Again::Usual, $attempt)
        })
    };
}

fn name(trail: &TrailRef) -> (&str, &Region) {
    match trail {
        TrailRef::Arn(arn) => (arn.as_str(), arn.region()),
        TrailRef::Name { name, region } => (name.as_str(), region),
    }
}

pub(super) async fn trail(reader: &Reader<'_>, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure> {
    let (name, region) = name(trail);
    let attempt = Attempt::new("cloudtrail:GetTrail", format!("read trail `{name}` in `{region}`"));
    let call = reader.aws.cloudtrail(region).get_trail().name(name);
    match read!(reader, region, call, attempt).await {
        Ok(output) => match output.trail {
            Some(trail) => settings(trail, &attempt).map(Some),
            None => Err(attempt.unusable_answer("CloudTrail answered without saying anything of it")),
        },
        Err(failure) if failure.is("TrailNotFoundException") => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// `DescribeTrails` shows the copies of multi-Region trails that have their home elsewhere, too; without
/// them it would hide organization trails from member accounts.
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_DescribeTrails.html>.
pub(super) async fn of_region(reader: &Reader<'_>, region: &Region) -> Result<Vec<TrailSettings>, Failure> {
    let attempt = Attempt::new("cloudtrail:DescribeTrails", format!("read the trails of `{region}`"));
    let call = reader.aws.cloudtrail(region).describe_trails();
    let output = read!(reader, region, call, attempt).await?;
    let Some(trails) = output.trail_list else {
        return Err(attempt.unusable_answer("CloudTrail answered without a list"));
    };
    // What is odd about one is nothing of the others; who lists the trails tells of it.
    let trails = trails.into_iter().filter_map(|trail| settings(trail, &attempt).ok());
    Ok(trails.filter(|trail| trail.home_region == *region).collect())
}

pub(super) async fn status(reader: &Reader<'_>, trail: &TrailRef) -> Result<Option<TrailStatus>, Failure> {
    let (name, region) = name(trail);
    let attempt = Attempt::new("cloudtrail:GetTrailStatus", format!("read the status of trail `{name}` in `{region}`"));
    let call = reader.aws.cloudtrail(region).get_trail_status().name(name);
    match read!(reader, region, call, attempt).await {
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

pub(super) async fn tag(
    reader: &Reader<'_>,
    trail: &TrailArn,
    home: &Region,
    key: &str,
) -> Result<Option<String>, Failure> {
    let attempt = Attempt::new("cloudtrail:ListTags", format!("read the tags of trail `{trail}`"));
    let mut page = None;
    loop {
        let call = reader.aws.cloudtrail(home).list_tags().resource_id_list(trail.as_str()).set_next_token(page);
        let output = read!(reader, home, call, attempt).await?;
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

pub(super) async fn all(reader: &Reader<'_>, region: &Region) -> Result<ListedTrails, Failure> {
    let attempt = Attempt::new("cloudtrail:ListTrails", format!("list the account's trails in `{region}`"));
    let mut all = ListedTrails::default();
    let mut page = None;
    loop {
        let call = reader.aws.cloudtrail(region).list_trails().set_next_token(page);
        let output = read!(reader, region, call, attempt).await?;
        let Some(listed) = output.trails else {
            return Err(attempt.unusable_answer("CloudTrail answered without a list"));
        };
        for trail in listed {
            list(trail, region, &mut all);
        }
        page = set(output.next_token);
        if page.is_none() {
            return Ok(all);
        }
    }
}

/// Puts a trail among the others, or among those that cannot be asked for.
fn list(trail: TrailInfo, region: &Region, all: &mut ListedTrails) {
    let attempt = Attempt::new("cloudtrail:ListTrails", format!("look at a trail that is listed in `{region}`"));
    let told = trail.trail_arn.clone().or(trail.name).unwrap_or_default();
    match arn(trail.trail_arn, &attempt) {
        Ok(arn) => {
            let home = home(trail.home_region, &arn);
            all.trails.push((arn, home));
        }
        Err(failure) => all.odd.push(OddTrail { told: shorten(&told, 256), failure }),
    }
}

fn settings(trail: Trail, attempt: &Attempt) -> Result<TrailSettings, Failure> {
    let arn = arn(trail.trail_arn, attempt)?;
    Ok(TrailSettings {
        home_region: home(trail.home_region, &arn),
        arn,
        kms_key_id: set(trail.kms_key_id),
        kept: kept!(trail),
    })
}

fn arn(told: Option<String>, attempt: &Attempt) -> Result<TrailArn, Failure> {
    let parsed = told.unwrap_or_default().parse();
    parsed.map_err(|malformed| attempt.unusable_answer(&format!("a trail's ARN is odd: {malformed}")))
}

/// An ARN's Region is the trail's home; some emulators do not tell it apart.
fn home(told: Option<String>, arn: &TrailArn) -> Region {
    told.and_then(|region| region.parse().ok()).unwrap_or_else(|| arn.region().clone())
}

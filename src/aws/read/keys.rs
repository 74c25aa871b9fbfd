//! Keys, read from KMS, and found in the tag index.

use std::time::{Duration, SystemTime};

use aws_sdk_kms::types::{KeyManagerType, KeyState as SdkKeyState};
use aws_sdk_resourcegroupstagging::types::TagFilter;
use trailseal_core::config::OWNER_TAG;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::observation::{Failure, KeyManager, KeyMetadata, KeyState, KeyTags, Reading};

use super::{Reader, answer, set};
use crate::aws::error::{Attempt, is_denied};
use crate::aws::pace::Kind;
use crate::aws::retry::{Again, Rules};

/// For how long after its creation some part of AWS may not know a key. KMS speaks of seconds, and of
/// minutes in some cases: <https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html>.
const SETTLING: Duration = Duration::from_secs(180);

pub(super) async fn key(reader: &Reader<'_>, key: &str, region: &Region) -> Result<Reading<KeyMetadata>, Failure> {
    let attempt = Attempt::new("kms:DescribeKey", format!("read key `{key}` in `{region}`"));
    let call = reader.aws.kms(region).describe_key().key_id(key);
    match answer!(reader, (region, Kind::Other), call, aws_sdk_kms, Again::Usual, attempt).await {
        Ok(output) => match output.key_metadata {
            Some(metadata) => key_metadata(metadata, &attempt).map(Reading::Known),
            None => Err(attempt.unusable_answer("KMS answered without saying anything of the key")),
        },
        Err(failure) if failure.is("NotFoundException") => Ok(Reading::Absent),
        Err(failure) if is_denied(&failure) => Ok(Reading::Denied(failure)),
        Err(failure) => Err(failure),
    }
}

pub(super) async fn policy(reader: &Reader<'_>, key: &KeyArn) -> Result<Reading<String>, Failure> {
    let attempt = Attempt::new("kms:GetKeyPolicy", format!("read the policy of key `{key}`"));
    let call = reader.aws.kms(key.region()).get_key_policy().key_id(key.as_str()).policy_name("default");
    match answer!(reader, (key.region(), Kind::Other), call, aws_sdk_kms, Again::Usual, attempt).await {
        Ok(output) => Ok(output.policy.map_or(Reading::Absent, Reading::Known)),
        Err(failure) if failure.is("NotFoundException") => Ok(Reading::Absent),
        Err(failure) if is_denied(&failure) => Ok(Reading::Denied(failure)),
        Err(failure) => Err(failure),
    }
}

pub(super) async fn tags(reader: &Reader<'_>, key: &KeyArn, exempt_tag: &str) -> Result<KeyTags, Failure> {
    let attempt = Attempt::new("kms:ListResourceTags", format!("read the tags of key `{key}`"));
    let mut tags = KeyTags::default();
    let mut page = None;
    loop {
        let call = reader.aws.kms(key.region()).list_resource_tags().key_id(key.as_str()).set_marker(page);
        let output = answer!(reader, (key.region(), Kind::Other), call, aws_sdk_kms, Again::Usual, attempt).await?;
        // A list that is not there is no list without the tags.
        let Some(listed) = output.tags else {
            return Err(attempt.unusable_answer("KMS answered without saying anything of its tags"));
        };
        for tag in listed {
            tags.ours |= (tag.tag_key.as_str(), tag.tag_value.as_str()) == OWNER_TAG;
            if tag.tag_key == exempt_tag {
                tags.exempt = Some(tag.tag_value);
            }
        }
        page = set(output.next_marker);
        if page.is_none() {
            return Ok(tags);
        }
    }
}

pub(super) async fn aliases(reader: &Reader<'_>, key: &KeyArn) -> Result<Vec<String>, Failure> {
    let attempt = Attempt::new("kms:ListAliases", format!("list the aliases of key `{key}`"));
    let mut aliases = Vec::new();
    let mut page = None;
    loop {
        let call = reader.aws.kms(key.region()).list_aliases().key_id(key.as_str()).set_marker(page);
        let output = answer!(reader, (key.region(), Kind::Other), call, aws_sdk_kms, Again::Usual, attempt).await?;
        let Some(listed) = output.aliases else {
            return Err(attempt.unusable_answer("KMS answered without a list"));
        };
        aliases.extend(listed.into_iter().filter_map(|alias| alias.alias_name));
        page = set(output.next_marker);
        if page.is_none() {
            return Ok(aliases);
        }
    }
}

pub(super) async fn has_grants(reader: &Reader<'_>, key: &KeyArn) -> Result<bool, Failure> {
    let attempt = Attempt::new("kms:ListGrants", format!("list the grants of key `{key}`"));
    let mut page = None;
    loop {
        let call = reader.aws.kms(key.region()).list_grants().key_id(key.as_str()).set_marker(page);
        let output = answer!(reader, (key.region(), Kind::Other), call, aws_sdk_kms, Again::Usual, attempt).await?;
        let Some(listed) = output.grants else {
            return Err(attempt.unusable_answer("KMS answered without a list"));
        };
        // A page may be empty, and others follow.
        page = set(output.next_marker);
        if !listed.is_empty() || page.is_none() {
            return Ok(!listed.is_empty());
        }
    }
}

pub(super) async fn tagged(reader: &Reader<'_>, region: &Region) -> Result<Vec<KeyArn>, Failure> {
    let (name, value) = OWNER_TAG;
    let attempt =
        Attempt::new("tag:GetResources", format!("look for keys with the tag `{name}` = `{value}` in `{region}`"));
    let mut keys = Vec::new();
    let mut page = None;
    loop {
        let call = reader
            .aws
            .tagging(region)
            .get_resources()
            .tag_filters(TagFilter::builder().key(name).values(value).build())
            .resource_type_filters("kms:key")
            .set_pagination_token(page);
        let turn = (region, Kind::Other);
        let output = answer!(reader, turn, call, aws_sdk_resourcegroupstagging, Again::Usual, attempt).await?;
        let Some(listed) = output.resource_tag_mapping_list else {
            return Err(attempt.unusable_answer("the tag index answered without a list"));
        };
        keys.extend(listed.into_iter().filter_map(|resource| resource.resource_arn?.parse::<KeyArn>().ok()));
        page = set(output.pagination_token);
        if page.is_none() {
            return Ok(keys);
        }
    }
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
        origin: key.origin.map(|origin| origin.as_str().to_owned()),
        multi_region: key.multi_region.unwrap_or_default(),
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

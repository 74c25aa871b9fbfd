//! What a policy that is read without its account names: trails, and where their log files are.

use crate::access::CLOUDTRAIL;
use crate::access::cloudtrail_bucket::concerns_writes;
use crate::access::log_files::resources;
use crate::iam::element::Effect;
use crate::iam::pattern::{Pattern, UNRESOLVED};
use crate::iam::statement::Condition;
use crate::iam::truth::Truth;
use crate::iam::{Caller, Document, Statement};
use crate::ids::{AccountId, KeyArn, Region, TrailArn, split_arn};

/// The most trails that are taken from one policy.
const MAX_TRAILS: usize = 20;

/// The trails of an account that the conditions of a policy name, each once. If the conditions have only patterns of ARNs,
/// an example of each, in `region` if the pattern matches it.
#[must_use]
pub fn named_trails(policy: &Document, account: &AccountId, region: &Region) -> Vec<TrailArn> {
    let trails_of = |key: &str| {
        let (mut exact, mut examples): (Vec<TrailArn>, Vec<TrailArn>) = (Vec::new(), Vec::new());
        for value in admitted_trails(policy, key) {
            let Some(trail) = matching_trail(value, account, region) else { continue };
            let trails = if value == trail.as_str() { &mut exact } else { &mut examples };
            if trails.len() < MAX_TRAILS && !trails.contains(&trail) {
                trails.push(trail);
            }
        }
        if exact.is_empty() { examples } else { exact }
    };
    // The encryption context is often less specific.
    KEYS.into_iter().map(trails_of).find(|trails| !trails.is_empty()).unwrap_or_default()
}

/// The accounts of the trails that the conditions of a policy admit, as far as they are named.
#[must_use]
pub fn named_trail_accounts(policy: &Document) -> Vec<AccountId> {
    let values = KEYS.into_iter().flat_map(|key| admitted_trails(policy, key));
    let accounts = values.filter_map(|value| split_arn(value)?.account.parse().ok());
    let mut accounts: Vec<AccountId> = accounts.collect();
    accounts.sort();
    accounts.dedup();
    accounts
}

/// The condition keys that contain a trail.
const KEYS: [&str; 2] = ["aws:SourceArn", "kms:EncryptionContext:aws:cloudtrail:arn"];

/// The values of a condition key that admit a trail: those that an Allow requires, or that are exempt from a Deny.
fn admitted_trails<'a>(policy: &'a Document, key: &str) -> Vec<&'a str> {
    const OPERATORS: [&str; 4] = ["StringEquals", "StringLike", "ArnEquals", "ArnLike"];
    const NEGATED: [&str; 4] = ["StringNotEquals", "StringNotLike", "ArnNotEquals", "ArnNotLike"];
    let admits = |effect: Effect, condition: &Condition| {
        let operators = if effect == Effect::Allow { OPERATORS } else { NEGATED };
        let operator = condition.operator.rsplit(':').next().unwrap_or_default().trim_end_matches("IfExists");
        operators.contains(&operator) && condition.key.eq_ignore_ascii_case(key)
    };
    let elements = policy.statements().iter().filter_map(|statement| statement.elements().ok());
    let conditions = elements.flat_map(|it| it.conditions.iter().filter(move |condition| admits(it.effect, condition)));
    conditions.flat_map(|it| &it.values).map(String::as_str).collect()
}

/// A trail of the account that a value matches.
fn matching_trail(value: &str, account: &AccountId, region: &Region) -> Option<TrailArn> {
    if value.contains("${") {
        return None;
    }
    let parts = split_arn(value).filter(|parts| parts.service == "cloudtrail")?;
    let like = |pattern: &str, text: &str| Pattern::with_wildcards(pattern, false).matches(text) == Truth::Yes;
    let region = if like(parts.region, region.as_str()) { region.as_str() } else { parts.region };
    let name = parts.resource.strip_prefix("trail/")?;
    let name = if name == "*" { "example".to_owned() } else { name.replace(['*', '?'], "x") };
    let own = like(parts.account, account.as_str());
    let arn = format!("arn:{}:cloudtrail:{region}:{account}:trail/{name}", parts.partition);
    arn.parse().ok().filter(|_| own)
}

/// The key that the statements of a key policy name, if they name one. A pattern of ARNs is an example that it matches.
#[must_use]
pub fn named_key(policy: &Document, account: &AccountId, region: &Region) -> Option<KeyArn> {
    policy.statements().iter().flat_map(resources).find_map(|resource| {
        let parts = split_arn(resource).filter(|parts| parts.service == "kms")?;
        let region = if parts.region == "*" { region.as_str() } else { parts.region };
        let account = if parts.account == "*" { account.as_str() } else { parts.account };
        let key = parts.resource.replace(['*', '?'], "0");
        format!("arn:{}:kms:{region}:{account}:{key}", parts.partition).parse().ok()
    })
}

/// Where a bucket policy lets CloudTrail write log files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFolder {
    /// The bucket's name. S3 accepts only policies that name their own bucket.
    pub bucket: Option<String>,
    /// The part of each object key before `AWSLogs/`, without the slash.
    pub prefix: Option<String>,
    /// Whether the folder of an organization is named.
    pub organization: bool,
}

impl LogFolder {
    /// The folder that a bucket policy names, first of all in statements about CloudTrail's writes.
    #[must_use]
    pub fn named_by(policy: &Document) -> Self {
        let names_cloudtrail = |it: &&Statement| it.is_allow() && names_cloudtrail(it) && concerns_writes(it);
        let written: Vec<&str> = policy.statements().iter().filter(names_cloudtrail).flat_map(resources).collect();
        let all = policy.statements().iter().flat_map(resources);
        let named = written.iter().copied().chain(all).filter_map(bucket_and_key);
        let literal = |bucket: &str| !bucket.is_empty() && !bucket.contains(['*', '?', '$']);
        let bucket = named.map(|(bucket, _)| bucket).find(|bucket| literal(bucket));
        let mut keys = written.iter().filter_map(|resource| bucket_and_key(resource)).map(|(_, key)| key);
        let prefix = keys.clone().find_map(|key| key.split_once("/AWSLogs/")).map(|(prefix, _)| prefix);
        Self {
            bucket: bucket.map(str::to_owned),
            // A pattern of prefixes matches an example.
            prefix: prefix
                .filter(|prefix| !prefix.contains(UNRESOLVED) && *prefix != "*")
                .map(|prefix| prefix.replace(['*', '?'], "x")),
            organization: keys.any(|key| key.contains("AWSLogs/o-")),
        }
    }
}

fn names_cloudtrail(statement: &Statement) -> bool {
    let elements = statement.elements().ok();
    elements.is_some_and(|it| it.principal.names(&Caller::service(CLOUDTRAIL), it.effect).itself != Truth::No)
}

fn bucket_and_key(resource: &str) -> Option<(&str, &str)> {
    let parts = split_arn(resource).filter(|parts| parts.service == "s3")?;
    Some(parts.resource.split_once('/').unwrap_or((parts.resource, "")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trails(effect: &str, condition: Value) -> Vec<String> {
        let policy = Document::new([json!({ "Effect": effect, "Principal": "*", "Condition": condition })]);
        let trails = named_trails(&policy, &"123456789012".parse().unwrap(), &"eu-west-1".parse().unwrap());
        trails.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn patterns_of_trails_become_examples_that_match() {
        for (value, expected) in [
            ("arn:aws:cloudtrail:us-east-2:123456789012:trail/audit", Some("us-east-2:123456789012:trail/audit")),
            ("arn:aws:cloudtrail:*:123456789012:trail/*", Some("eu-west-1:123456789012:trail/example")),
            ("arn:aws:cloudtrail:eu-*:*:trail/audit-*", Some("eu-west-1:123456789012:trail/audit-x")),
            ("arn:aws:cloudtrail:us-*:123456789012:trail/*", None),
            ("arn:aws:cloudtrail:*:210987654321:trail/*", None),
            ("arn:aws:cloudtrail:*:123456789012:trail/${unresolved-Ref-Name}", None),
            ("arn:aws:s3:::logs", None),
            ("*", None),
        ] {
            let found = trails("Allow", json!({ "ArnLike": { "AWS:SourceArn": value } }));
            let expected: Vec<String> = expected.map(|rest| format!("arn:aws:cloudtrail:{rest}")).into_iter().collect();
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn only_conditions_that_admit_a_trail_name_it() {
        let trail = "arn:aws:cloudtrail:us-east-2:123456789012:trail/audit";
        let named =
            |effect: &str, operator: &str| trails(effect, json!({ operator: { "aws:SourceArn": [trail, trail] } }));
        assert_eq!(named("Allow", "StringEquals"), [trail]);
        assert_eq!(named("Deny", "ArnNotLikeIfExists"), [trail]);
        assert!(named("Deny", "StringEquals").is_empty() && named("Allow", "ArnNotLike").is_empty());
        let context = json!({ "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": trail } });
        assert_eq!(trails("Allow", context), [trail]);
        let both = json!({ "ArnLike": { "aws:SourceArn": ["arn:aws:cloudtrail:*:123456789012:trail/*", trail] } });
        assert_eq!(trails("Allow", both), [trail], "a pattern adds no example to a trail");
    }

    #[test]
    fn a_key_is_named_by_its_arn_or_a_pattern() {
        let key = |resource: &str| {
            let policy = Document::new([json!({ "Effect": "Allow", "Resource": ["*", resource] })]);
            named_key(&policy, &"123456789012".parse().unwrap(), &"us-east-1".parse().unwrap())
                .map(|key| key.to_string())
        };
        for (resource, expected) in [
            ("arn:aws:kms:eu-west-1:210987654321:key/1234", Some("arn:aws:kms:eu-west-1:210987654321:key/1234")),
            ("arn:aws:kms:eu-west-1:*:key/*", Some("arn:aws:kms:eu-west-1:123456789012:key/0")),
            ("arn:aws:kms:*:123456789012:key/mrk-*", Some("arn:aws:kms:us-east-1:123456789012:key/mrk-0")),
            ("arn:aws:kms:*:123456789012:alias/logs", None),
            ("arn:aws:kms:*:123456789012:key/${unresolved-Ref-Key}", None),
            ("*", None),
        ] {
            assert_eq!(key(resource).as_deref(), expected, "{resource}");
        }
    }

    #[test]
    fn the_folder_is_the_one_that_cloudtrail_writes_to() {
        let folder = |resource: Value| {
            let allow = |principal: Value, resource: Value| json!({ "Effect": "Allow", "Principal": principal, "Action": "s3:*", "Resource": resource });
            let reader = allow(json!({ "AWS": "210987654321" }), json!("arn:aws:s3:::other/x/AWSLogs/*"));
            LogFolder::named_by(&Document::new([reader, allow(json!({ "Service": CLOUDTRAIL }), resource)]))
        };
        let of = |bucket: &str, prefix: Option<&str>, organization| LogFolder {
            bucket: Some(bucket.to_owned()),
            prefix: prefix.map(str::to_owned),
            organization,
        };
        assert_eq!(folder(json!("arn:aws:s3:::logs/AWSLogs/123456789012/*")), of("logs", None, false));
        assert_eq!(
            folder(json!(["arn:aws:s3:::logs", "arn:aws:s3:::logs/a/b/AWSLogs/*"])),
            of("logs", Some("a/b"), false)
        );
        assert_eq!(folder(json!("arn:aws:s3:::logs/*/AWSLogs/o-abcdefghij/*")), of("logs", None, true));
        assert_eq!(folder(json!("arn:aws:s3:::logs/${unresolved-Ref-P}/AWSLogs/*")), of("logs", None, false));
        assert_eq!(folder(json!("*")), of("other", None, false));
        assert_eq!(LogFolder::named_by(&Document::new([])), LogFolder::default());
    }
}

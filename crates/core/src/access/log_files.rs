//! Which objects are a trail's log files, and what lets CloudTrail write them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::access::CLOUDTRAIL;
use crate::iam::Statement;
use crate::iam::pattern::Pattern;
use crate::iam::truth::Truth;
use crate::ids::{AccountId, OrganizationId, Region, TrailArn};

/// Where a trail's log files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFiles<'a> {
    /// The bucket's name.
    pub bucket: &'a str,
    /// The part of each object key before `AWSLogs/`, without the slash.
    pub prefix: Option<&'a str>,
    /// The trail.
    pub trail: &'a TrailArn,
    /// Whether it is an organization trail, whose files include every member account's, in a folder named after the
    /// organization.
    pub organization: bool,
    /// Whether it logs the events of other Regions than its own.
    pub every_region: bool,
    /// Whether it delivers digest files, which are encrypted with the same key.
    /// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-document-history.html>.
    pub digests: bool,
    /// The organization of the trail's account, if known.
    pub organization_id: Option<&'a OrganizationId>,
    /// The account of the bucket, if known.
    pub bucket_owner: Option<&'a AccountId>,
}

impl<'a> LogFiles<'a> {
    /// The files of a trail of one account that logs every Region and delivers digest files.
    pub fn new(bucket: &'a str, prefix: Option<&'a str>, trail: &'a TrailArn) -> Self {
        Self {
            bucket,
            prefix,
            trail,
            organization: false,
            every_region: true,
            digests: true,
            organization_id: None,
            bucket_owner: None,
        }
    }

    /// The statements of a bucket policy that let CloudTrail deliver the files, as AWS documents them. They have no
    /// `Sid`, which another statement might have.
    ///
    /// Sources:
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html>,
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-an-organizational-trail-prepare.html>.
    pub fn cloudtrail_statements(&self) -> Value {
        let (bucket, folder) = (format!("arn:{}:s3:::{}", self.trail.partition(), self.bucket), self.folder());
        let source = json!({ "aws:SourceArn": self.trail.as_str() });
        let own = format!("{bucket}/{folder}{}/*", self.trail.account());
        let organization = self.organization_id.map_or("o-*", OrganizationId::as_str);
        let objects = match self.organization {
            true => json!([own, format!("{bucket}/{folder}{organization}/*")]),
            false => json!(own),
        };
        let allow = |action, resource, string_equals| {
            json!({ "Effect": "Allow", "Principal": { "Service": CLOUDTRAIL }, "Action": action, "Resource": resource,
                "Condition": { "StringEquals": string_equals } })
        };
        let with_acl = json!({ "aws:SourceArn": self.trail.as_str(), "s3:x-amz-acl": "bucket-owner-full-control" });
        json!([allow("s3:GetBucketAcl", json!(bucket), source), allow("s3:PutObject", objects, with_acl)])
    }
}

/// An example of a trail's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Example {
    /// Its ARN.
    pub(crate) object: String,
    pub(crate) presence: Presence,
}

/// Whether a trail has objects like an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Every such trail has.
    Certain,
    /// It has, if the account or the Region that a policy names has events.
    Expected,
    /// It may not have: the kind of files is optional, or the account was made up to match a pattern.
    Possible,
}

/// What a statement's `Resource` or `NotResource` names.
pub(crate) fn resources(statement: &Statement) -> impl Iterator<Item = &str> {
    let elements = statement.elements().ok();
    elements.and_then(|elements| elements.resource.named()).into_iter().flatten().map(String::as_str)
}

const FOLDER: &str = "AWSLogs/";

/// The parts of an object's path that a `Resource` element names. A part with wildcards is an example of what matches.
#[derive(Default, Clone)]
pub(super) struct PathParts<'a> {
    pub(super) organization: Option<&'a str>,
    account: Option<Cow<'a, str>>,
    region: Option<&'a str>,
    family: Option<&'static str>,
}

/// The folders of what CloudTrail delivers besides log files and digest files, if the trail logs it.
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html>.
const OPTIONAL_FAMILIES: [&str; 3] = ["CloudTrail-Insight", "CloudTrail-NetworkActivity", "CloudTrail-Aggregated"];

impl<'a> PathParts<'a> {
    pub(super) fn of(resource: &'a str) -> Self {
        let family = OPTIONAL_FAMILIES.into_iter().find(|family| resource.contains(family));
        let mut parts = Self { family, ..Self::default() };
        // A file's name repeats the account and the Region.
        for part in resource.split(['/', '_']) {
            if part.parse::<OrganizationId>().is_ok() {
                parts.organization = Some(part);
            } else if let Some(account) = matching_account(part) {
                // A date can look like the beginning of an account's ID.
                if matches!(account, Cow::Borrowed(_)) || parts.account.is_none() {
                    parts.account = Some(account);
                }
            } else if let Some(region) = matching_region(part)
                && (region == part || parts.region.is_none())
            {
                parts.region = Some(region);
            }
        }
        parts
    }
}

/// An account that a part of a `Resource` element matches, unless it matches anything.
fn matching_account(part: &str) -> Option<Cow<'_, str>> {
    if part.parse::<AccountId>().is_ok() {
        return Some(Cow::Borrowed(part));
    }
    let zeros = (0..12).map(|count| "0".repeat(count)).filter(|_| part.contains(|it: char| it.is_ascii_digit()));
    let mut accounts = zeros.map(|zeros| part.replacen('*', &zeros, 1).replace('*', "").replace('?', "0"));
    accounts.find(|account| account.parse::<AccountId>().is_ok()).map(Cow::Owned)
}

/// Regions, the most used first. A newer one is recognized if it is named in full.
/// Source: <https://docs.aws.amazon.com/general/latest/gr/ct.html>.
const REGIONS: &str = "us-east-1 us-east-2 us-west-1 us-west-2 eu-west-1 eu-west-2 eu-west-3 eu-central-1 eu-central-2 \
    eu-north-1 eu-south-1 eu-south-2 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 \
    ap-south-1 ap-south-2 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 \
    ap-southeast-6 ap-southeast-7 af-south-1 ca-central-1 ca-west-1 il-central-1 me-central-1 me-south-1 \
    mx-central-1 sa-east-1 cn-north-1 cn-northwest-1 us-gov-east-1 us-gov-west-1 eusc-de-east-1";

/// A Region that a part of a `Resource` element matches, unless it matches anything.
fn matching_region(part: &str) -> Option<&str> {
    if part.parse::<Region>().is_ok() {
        return Some(part);
    }
    let pattern = Pattern::with_wildcards(part, false);
    let matches_some = part.contains(['*', '?']) && part.contains(|it: char| it == '-' || it.is_ascii_lowercase());
    REGIONS.split(' ').find(|region| matches_some && pattern.matches(region) == Truth::Yes)
}

impl LogFiles<'_> {
    /// The object keys' part up to and including `AWSLogs/`.
    fn folder(&self) -> String {
        let prefix = self.prefix.filter(|prefix| !prefix.is_empty());
        prefix.map_or(FOLDER.to_owned(), |prefix| format!("{prefix}/{FOLDER}"))
    }

    /// The prefix that all the log files have in common.
    pub(crate) fn common_prefix(&self) -> String {
        if self.organization {
            // The organization's ID follows, which a trail does not show.
            format!("{}o-", self.folder())
        } else {
            format!("{}{}/CloudTrail", self.folder(), self.trail.account())
        }
    }

    /// Whether the files are in a folder whose name is unknown.
    pub(super) fn organization_is_unknown(&self) -> bool {
        self.organization && self.organization_id.is_none()
    }

    /// The organization that contains the files, as far as it is known or `Resource` elements name it.
    pub(crate) fn organization_among(&self, resources: &[&str]) -> String {
        if let Some(known) = self.organization_id {
            return known.to_string();
        }
        let named = resources.iter().find_map(|resource| PathParts::of(resource).organization);
        named.unwrap_or("o-0000000000").to_owned()
    }

    /// Examples of the log and digest files: first those that every such trail has, then those that match `Resource`
    /// elements for single accounts or Regions.
    ///
    /// Sources: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html>,
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>.
    pub(crate) fn examples(&self, organization: &str, resources: &[&str]) -> Vec<Example> {
        let own = PathParts { organization: Some(organization), ..PathParts::default() };
        let example = |presence| move |object| Example { object, presence };
        let mut examples: Vec<Example> = self.objects(&own).map(example(Presence::Certain)).collect();
        for family in OPTIONAL_FAMILIES {
            let own = PathParts { family: Some(family), ..own.clone() };
            examples.extend(self.objects(&own).last().map(example(Presence::Possible)));
        }
        let mut known: BTreeSet<String> = examples.iter().map(|example| example.object.clone()).collect();
        for resource in resources {
            let named = PathParts::of(resource);
            let parts = PathParts {
                organization: named.organization.or(own.organization),
                account: named.account.filter(|_| self.organization),
                region: named.region.filter(|_| self.every_region),
                family: named.family,
            };
            let of_an_example = matches!(parts.account, Some(Cow::Owned(_)));
            let others = self.objects(&parts).filter(|object| known.insert(object.clone()));
            examples.extend(others.map(|object| {
                let is_optional =
                    of_an_example || OPTIONAL_FAMILIES.iter().any(|it| object.contains(&format!("/{it}/")));
                Example { object, presence: if is_optional { Presence::Possible } else { Presence::Expected } }
            }));
        }
        examples
    }

    /// The ARNs of a log file, of a digest file if the trail has any, and of a file of the named family. What differs
    /// between the files of a folder is the date.
    fn objects(&self, parts: &PathParts<'_>) -> impl Iterator<Item = String> {
        let (trail, bucket, folder) = (self.trail, self.bucket, self.folder());
        let account = parts.account.as_deref().unwrap_or(trail.account().as_str()).to_owned();
        let region = parts.region.unwrap_or(trail.region().as_str()).to_owned();
        let organization = parts.organization.filter(|_| self.organization);
        let organization = organization.map(|id| format!("{id}/")).unwrap_or_default();
        let events = |family| (family, "########T####Z_0123456789abcdef".to_owned());
        let digest = ("CloudTrail-Digest", format!("{}_{}_########T######Z", trail.name(), trail.region()));
        let families = [Some(events("CloudTrail")), self.digests.then_some(digest), parts.family.map(events)];
        families.into_iter().flatten().map(move |(kind, end)| {
            format!(
                "arn:{}:s3:::{bucket}/{folder}{organization}{account}/{kind}/{region}/####/##/##/{account}_{kind}_{region}_{end}.json.gz",
                trail.partition()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail() -> TrailArn {
        "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap()
    }

    fn about(resources: &[&str], organization: bool) -> Vec<String> {
        let trail = trail();
        let files = LogFiles { organization, digests: false, ..LogFiles::new("logs", Some("audit"), &trail) };
        let mut examples = files.examples(&files.organization_among(resources), resources);
        examples.retain(|it| OPTIONAL_FAMILIES.iter().all(|family| !it.object.contains(family)));
        let folder =
            |it: Example| it.object.split("/####/").next().unwrap().replace("arn:aws:s3:::logs/audit/AWSLogs/", "");
        examples.into_iter().map(folder).collect()
    }

    #[test]
    fn the_first_example_is_one_that_every_trail_has() {
        assert_eq!(about(&[], false), ["123456789012/CloudTrail/eu-west-1"]);
        assert_eq!(about(&["arn:aws:s3:::logs/*"], true), ["o-0000000000/123456789012/CloudTrail/eu-west-1"]);
        let trail = trail();
        let mut examples = LogFiles::new("logs", Some(""), &trail).examples("", &[]);
        assert!(examples.iter().all(|it| (it.presence == Presence::Certain)
            != OPTIONAL_FAMILIES.iter().any(|family| it.object.contains(family))));
        examples.retain(|it| it.presence == Presence::Certain);
        let begins =
            ["CloudTrail", "CloudTrail-Digest"].map(|kind| format!("arn:aws:s3:::logs/AWSLogs/123456789012/{kind}/"));
        assert_eq!(examples.len(), 2);
        assert!(examples.iter().zip(begins).all(|(it, begin)| it.object.starts_with(&begin)), "{examples:?}");
    }

    #[test]
    fn every_named_account_and_region_gets_an_example() {
        let resources = [
            "arn:aws:s3:::logs/audit/AWSLogs/o-abcdefghij/*",
            "arn:aws:s3:::logs/*/AWSLogs/o-abcdefghij/210987654321/*",
            "arn:aws:s3:::logs/audit/AWSLogs/*/CloudTrail/us-west-2/*",
        ];
        assert_eq!(
            about(&resources, true),
            [
                "o-abcdefghij/123456789012/CloudTrail/eu-west-1",
                "o-abcdefghij/210987654321/CloudTrail/eu-west-1",
                "o-abcdefghij/123456789012/CloudTrail/us-west-2",
            ]
        );
        assert_eq!(
            about(&resources, false),
            ["123456789012/CloudTrail/eu-west-1", "123456789012/CloudTrail/us-west-2"],
            "other accounts' files are not this trail's"
        );
    }

    #[test]
    fn a_region_in_full_outranks_one_with_wildcards() {
        for resource in ["us-*/eu-west-1", "eu-west-1/us-*"] {
            assert_eq!(PathParts::of(resource).region, Some("eu-west-1"), "{resource}");
        }
    }

    #[test]
    fn a_named_family_gets_an_example_in_the_named_region() {
        let trail = trail();
        let files = LogFiles::new("logs", None, &trail);
        let examples = files.examples("", &["arn:aws:s3:::logs/AWSLogs/*/CloudTrail-Insight/us-west-2/*"]);
        assert!(examples.iter().any(|it| it.object.contains("/CloudTrail-Insight/us-west-2/")), "{examples:?}");
    }

    #[test]
    fn a_part_with_wildcards_gets_an_example_that_matches() {
        for (part, account, region) in [
            ("2222*", Some("222200000000"), None),
            ("*22", Some("000000000022"), None),
            ("22222222222?", Some("222222222220"), None),
            ("us-*", None, Some("us-east-1")),
            ("us*", None, Some("us-east-1")),
            ("eu-west-?", None, Some("eu-west-1")),
            ("ap-south*", None, Some("ap-south-1")),
            ("us-*-1", None, Some("us-east-1")),
            ("*-west-2", None, Some("us-west-2")),
            ("*-2", None, Some("us-east-2")),
            ("*", None, None),
            ("????", None, None),
            ("CloudTrail*", None, None),
            ("20*", Some("200000000000"), None),
        ] {
            let parts = PathParts::of(part);
            assert_eq!((parts.account.as_deref(), parts.region), (account, region), "{part}");
        }
    }
}

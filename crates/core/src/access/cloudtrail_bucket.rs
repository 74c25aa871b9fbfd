//! What the policy of a trail's bucket says to CloudTrail, and which objects are a trail's log files.

use serde_json::json;

use crate::access::CLOUDTRAIL;
use crate::access::cloudtrail_key::cloudtrail_context;
use crate::iam::principal::texts;
use crate::iam::{Caller, Context, Decision, Document, Reason, Request, Statement, evaluate};
use crate::ids::{AccountId, KeyArn, OrganizationId, Region, TrailArn};

/// Where a trail's log files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFiles<'a> {
    /// The bucket's name.
    pub bucket: &'a str,
    /// What comes before `AWSLogs/` in each file's key, without the slash.
    pub prefix: Option<&'a str>,
    /// The trail.
    pub trail: &'a TrailArn,
    /// Whether it is an organization trail: then the files of every member account are its own, in a
    /// folder that is named after the organization.
    pub organization: bool,
    /// Whether it logs the events of other Regions than its own.
    pub every_region: bool,
    /// Whether it delivers digest files, which are encrypted with the same key.
    /// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-document-history.html>.
    pub digests: bool,
}

impl<'a> LogFiles<'a> {
    /// Those of a trail of one account that logs every Region and delivers digest files.
    pub fn new(bucket: &'a str, prefix: Option<&'a str>, trail: &'a TrailArn) -> Self {
        Self { bucket, prefix, trail, organization: false, every_region: true, digests: true }
    }
}

/// One object of a trail's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Example {
    /// Its ARN.
    pub(crate) object: String,
    /// Whether any such trail has objects like this one.
    pub(crate) certain: bool,
}

/// Whether a Deny of a bucket's policy stops CloudTrail from writing these files, encrypted with that key. Only Deny
/// statements count: CloudTrail itself checks for an Allow whenever a trail is changed. For a key that does not exist
/// yet, use an ARN that looks like its own.
///
/// The decision is allowed if no Deny applies, and denied only if a Deny applies to log files that the trail certainly
/// has.
///
/// Sources for the contents of the request:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>,
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html>.
pub fn cloudtrail_bucket_access(policy: &Document, files: &LogFiles<'_>, key: &KeyArn) -> Decision {
    let resources: Vec<&str> = policy.statements().iter().flat_map(resources).collect();
    let examples = files.examples(&files.organization_among(&resources), &resources);
    let everything = json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" });
    let policy = policy.clone().with(&everything);
    let mut overall = None;
    for Example { object: resource, certain } in examples {
        let context = over_tls(cloudtrail_context(files.trail))
            .with("s3:x-amz-acl", "bucket-owner-full-control")
            .with("s3:x-amz-server-side-encryption", "aws:kms")
            .with("s3:x-amz-server-side-encryption-aws-kms-key-id", key.as_str())
            .without("s3:x-amz-server-side-encryption-customer-algorithm");
        let caller = Caller::service(CLOUDTRAIL);
        let decision = evaluate(&policy, &Request { caller, action: "s3:PutObject".to_owned(), resource, context });
        let decision = match decision {
            Decision::ExplicitDeny(statement) if certain => return Decision::ExplicitDeny(statement),
            // Whether the trail has files of these accounts or Regions is unknown.
            Decision::ExplicitDeny(statement) => {
                let why = "it denies some accounts or Regions, whose files this trail may not have".to_owned();
                Decision::Unknown(vec![Reason { statement: Some(statement), why }])
            }
            decision => decision,
        };
        overall = match overall {
            Some(known @ Decision::Unknown(_)) => Some(known),
            _ => Some(decision),
        };
    }
    overall.unwrap_or(Decision::Unknown(Vec::new()))
}

/// What is known of the transport of any request to S3: AWS takes nothing below TLS 1.2 any more.
/// Source: <https://aws.amazon.com/blogs/security/tls-1-2-required-for-aws-endpoints/>.
pub(crate) fn over_tls(context: Context) -> Context {
    // One of these; what fits neither or both is certain.
    context.with("aws:SecureTransport", "true").with_all("s3:TlsVersion", ["1.2", "1.3"])
}

/// What a statement says that it is, or is not, about.
pub(crate) fn resources(statement: &Statement) -> Vec<&str> {
    let Ok(members) = statement.members() else { return Vec::new() };
    let named = |element: &str| members.get(element).and_then(texts).unwrap_or_default();
    [named("Resource"), named("NotResource")].concat()
}

const FOLDER: &str = "AWSLogs/";

/// What a `Resource` element says of log files: the parts of their keys that it spells out.
#[derive(Default)]
struct Spelt<'a> {
    organization: Option<&'a str>,
    account: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Spelt<'a> {
    fn of(resource: &'a str) -> Self {
        let mut spelt = Self::default();
        let below = resource.split_once(FOLDER).map_or("", |(_, below)| below);
        for part in below.split('/') {
            if part.parse::<OrganizationId>().is_ok() {
                spelt.organization = Some(part);
            } else if part.parse::<AccountId>().is_ok() {
                spelt.account = Some(part);
            } else if part.parse::<Region>().is_ok() {
                spelt.region = Some(part);
            }
        }
        spelt
    }
}

impl LogFiles<'_> {
    /// What comes before `AWSLogs/`, with the slash.
    fn above(&self) -> String {
        let prefix = self.prefix.filter(|prefix| !prefix.is_empty());
        prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default()
    }

    /// What the keys of the log files begin with.
    pub(crate) fn begin(&self) -> String {
        let prefix = self.above();
        if self.organization {
            // What follows is the organization's id, which a trail does not tell.
            format!("{prefix}{FOLDER}o-")
        } else {
            format!("{prefix}{FOLDER}{}/CloudTrail", self.trail.account())
        }
    }

    /// The organization in whose folder the files are, as far as `Resource` elements tell.
    pub(crate) fn organization_among(&self, resources: &[&str]) -> String {
        let spelt = resources.iter().find_map(|resource| Spelt::of(resource).organization);
        spelt.unwrap_or("o-0000000000").to_owned()
    }

    /// Some of the log and digest files: first those that any such trail has, then those that `Resource`
    /// elements are about if they are only about some accounts or Regions.
    ///
    /// Forms: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html>,
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>.
    pub(crate) fn examples(&self, organization: &str, resources: &[&str]) -> Vec<Example> {
        let own = Spelt { organization: Some(organization), account: None, region: None };
        let mut examples: Vec<Example> =
            self.files(&own).into_iter().map(|object| Example { object, certain: true }).collect();
        for resource in resources {
            let mut spelt = Spelt::of(resource);
            if !self.organization {
                spelt.account = None;
            }
            if !self.every_region {
                spelt.region = None;
            }
            spelt.organization = spelt.organization.or(Some(organization));
            for object in self.files(&spelt) {
                if examples.iter().all(|known| known.object != object) {
                    examples.push(Example { object, certain: false });
                }
            }
        }
        examples
    }

    /// A log file and, if there are any, a digest file.
    fn files(&self, spelt: &Spelt<'_>) -> Vec<String> {
        let log = self.example(spelt, "CloudTrail", "20260131T0005Z_0123456789abcdef.json.gz");
        let name = self.trail.name();
        let digest = || self.example(spelt, "CloudTrail-Digest", &format!("{name}_20260131T000500Z.json.gz"));
        std::iter::once(log).chain(self.digests.then(digest)).collect()
    }

    fn example(&self, spelt: &Spelt<'_>, kind: &str, ends: &str) -> String {
        let partition = self.trail.partition();
        let account = spelt.account.unwrap_or(self.trail.account().as_str());
        let region = spelt.region.unwrap_or(self.trail.region().as_str());
        let prefix = self.above();
        let organization = spelt.organization.filter(|_| self.organization);
        let organization = organization.map(|id| format!("{id}/")).unwrap_or_default();
        format!(
            "arn:{partition}:s3:::{}/{prefix}{FOLDER}{organization}{account}/{kind}/{region}/2026/01/31/\
             {account}_{kind}_{region}_{ends}",
            self.bucket
        )
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
        let examples = files.examples(&files.organization_among(resources), resources);
        let folder =
            |it: Example| it.object.split("/2026/").next().unwrap().replace("arn:aws:s3:::logs/audit/AWSLogs/", "");
        examples.into_iter().map(folder).collect()
    }

    #[test]
    fn the_first_log_file_is_one_that_any_such_trail_has() {
        assert_eq!(about(&[], false), ["123456789012/CloudTrail/eu-west-1"]);
        assert_eq!(about(&["arn:aws:s3:::logs/*"], true), ["o-0000000000/123456789012/CloudTrail/eu-west-1"]);
        let trail = trail();
        let examples = LogFiles::new("logs", Some(""), &trail).examples("", &[]);
        let begins =
            ["CloudTrail", "CloudTrail-Digest"].map(|kind| format!("arn:aws:s3:::logs/AWSLogs/123456789012/{kind}/"));
        assert_eq!(examples.len(), 2);
        assert!(
            examples.iter().zip(begins).all(|(it, begin)| it.certain && it.object.starts_with(&begin)),
            "{examples:?}"
        );
    }

    #[test]
    fn what_a_resource_spells_out_gets_a_log_file_of_its_own() {
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
}

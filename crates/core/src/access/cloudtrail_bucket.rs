//! Whether a bucket policy lets CloudTrail deliver, and which objects are a trail's log files.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::access::{CLOUDTRAIL, cloudtrail_context};
use crate::iam::pattern::matches_action;
use crate::iam::principal::Principal;
use crate::iam::statement::Condition;
use crate::iam::truth::Truth;
use crate::iam::{
    Caller, Context, Decision, Document, Identity, IdentityKind, Reason, Request, Statement, StatementId, evaluate,
    evaluate_change,
};
use crate::ids::{AccountId, KeyArn, OrganizationId, Region, TrailArn, shorten};

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
    /// Whether every such trail has objects like this one.
    pub(crate) certain: bool,
}

impl Example {
    /// Whether it is of a kind of files that the trail may not deliver.
    pub(crate) fn is_optional(&self) -> bool {
        OPTIONAL_FAMILIES.iter().any(|family| self.object.contains(&format!("/{family}/")))
    }
}

/// What a bucket policy decides about each of CloudTrail's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct BucketAccess {
    /// `s3:GetBucketAcl`, when a trail is changed.
    pub get_bucket_acl: Decision,
    /// `s3:PutObject`, for each file.
    pub put_object: Decision,
}

impl BucketAccess {
    /// The call that decides whether CloudTrail can use the bucket: one that is denied, or else one that is unknown.
    pub fn decisive(&self) -> (&'static str, &Decision) {
        let calls = [("s3:PutObject", &self.put_object), ("s3:GetBucketAcl", &self.get_bucket_acl)];
        let denied = calls.into_iter().find(|(_, decision)| decision.is_denied());
        denied.or_else(|| calls.into_iter().find(|(_, decision)| decision.is_unknown())).unwrap_or(calls[0])
    }
}

/// What a bucket policy decides about CloudTrail's calls for a trail once its files are encrypted with `key`. For a key
/// that does not exist yet, use a placeholder ARN of the same account and Region. `current_key`: the key that encrypts
/// them now; without one, S3's own key.
///
/// A Deny that may apply, but in the same way to today's files, says nothing about the key and is left out. A Deny that
/// certainly applies counts even then, because CloudTrail checks the bucket whenever a trail is changed.
///
/// Sources for the contents of the requests:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>,
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html>.
pub fn cloudtrail_bucket_access(
    policy: &Document,
    files: &LogFiles<'_>,
    key: &KeyArn,
    current_key: Option<&str>,
) -> BucketAccess {
    let calls = Calls { policy, files };
    BucketAccess { get_bucket_acl: calls.get_bucket_acl(), put_object: calls.put_object(key, current_key) }
}

/// CloudTrail's calls, as a bucket policy decides them.
struct Calls<'a> {
    policy: &'a Document,
    files: &'a LogFiles<'a>,
}

impl Calls<'_> {
    fn get_bucket_acl(&self) -> Decision {
        let resource = format!("arn:{}:s3:::{}", self.files.trail.partition(), self.files.bucket);
        let call = |caller, context: Context| Request {
            caller,
            action: "s3:GetBucketAcl".to_owned(),
            resource: resource.clone(),
            context: over_tls(context)
                .without_any("s3:x-amz-server-side-encryption")
                .without("s3:x-amz-acl")
                .without("s3:x-amz-storage-class"),
        };
        let request = self.by_service(call);
        self.or_by_account(evaluate_change(self.policy, &request, &request, |_| false), call)
    }

    fn put_object(&self, key: &KeyArn, current_key: Option<&str>) -> Decision {
        let named: Vec<&str> = self.policy.statements().iter().flat_map(resources).collect();
        let organization = self.files.organization_among(&named);
        // Such a pattern may or may not match the organization's folder.
        let is_pattern = |name: &&str| name.contains("AWSLogs/o-") && PathParts::of(name).organization.is_none();
        let pattern = named.iter().find(|name| is_pattern(name) && self.files.organization_is_unknown());
        let mut decisions = Vec::new();
        let about_writes = self.policy.statements().iter().filter(|statement| concerns_writes(statement));
        let about_writes: Vec<&str> = about_writes.flat_map(resources).collect();
        let examples = self.files.examples(&organization, &about_writes);
        for (index, Example { object, certain }) in examples.into_iter().enumerate() {
            let call = |key| {
                let object = object.clone();
                move |caller, context| put_object(object.clone(), key, caller, context)
            };
            let new = call(Some(key.as_str()));
            let (after, before) = (self.by_service(&new), self.by_service(call(current_key)));
            let unknown = |statement, why: &str| Decision::Unknown(vec![Reason { statement, why: why.to_owned() }]);
            decisions.push(match evaluate_change(self.policy, &after, &before, is_about_encryption) {
                Decision::ImplicitDeny(unmet) if index == 0 => {
                    match (self.or_by_account(Decision::ImplicitDeny(unmet), new), pattern) {
                        (Decision::ImplicitDeny(_), Some(name)) => unknown(
                            None,
                            &format!("whether `{}` contains the organization's folder is unknown", shorten(name, 200)),
                        ),
                        (decision, _) => decision,
                    }
                }
                decision if !decision.is_denied() || decision.explicit_deny().is_some() && certain => decision,
                // CloudTrail has accepted the trail so, and a new key does not change it.
                _ if evaluate(self.policy, &before).is_denied() => continue,
                Decision::ExplicitDeny(statement) => {
                    unknown(Some(statement), "it denies only files that this trail may not have")
                }
                _ if !certain => unknown(None, "no statement allows some files that this trail may not have"),
                decision => decision,
            });
        }
        let denied = decisions.iter().find(|decision| decision.is_denied());
        let decisive = denied.or_else(|| decisions.iter().find(|decision| decision.is_unknown())).or(decisions.first());
        decisive.cloned().unwrap_or(Decision::Unknown(Vec::new()))
    }

    fn by_service(&self, call: impl Fn(Caller, Context) -> Request) -> Request {
        let LogFiles { trail, organization_id, bucket_owner, .. } = *self.files;
        let context = cloudtrail_context(trail, organization_id);
        let context = match bucket_owner {
            Some(owner) => {
                context.with("aws:ResourceAccount", owner.as_str()).with("s3:ResourceAccount", owner.as_str())
            }
            None => context,
        };
        call(Caller::service(CLOUDTRAIL), context)
    }

    /// Before March 2015, CloudTrail called S3 with an account of its own in each Region. AWS no longer documents these
    /// accounts, nor whether CloudTrail still uses them. A call is therefore unknown if another account may make it.
    fn or_by_account(&self, decision: Decision, call: impl Fn(Caller, Context) -> Request) -> Decision {
        let Decision::ImplicitDeny(unmet) = decision else { return decision };
        let own = self.files.bucket_owner.unwrap_or(self.files.trail.account()).as_str();
        for (id, statement) in self.policy.identified().filter(|(_, statement)| statement.is_allow()) {
            let alone = self.policy.with_statements([statement.clone()]);
            let principals = statement.elements().ok().and_then(|elements| elements.principal.named());
            let mut others =
                principals.into_iter().flatten().filter_map(|it| self.root_user(it)).filter(|it| it.account != own);
            let may_call =
                |root: &Identity| !evaluate(&alone, &call(Caller::Identity(root.clone()), Context::new())).is_denied();
            if let Some(Identity { account, .. }) = others.find(may_call) {
                let why = format!("account `{account}` may be one that CloudTrail used before 2015");
                return Decision::Unknown(vec![Reason { statement: Some(id), why }]);
            }
        }
        Decision::ImplicitDeny(unmet)
    }

    /// The root user of the account that a principal names.
    fn root_user(&self, principal: &Principal) -> Option<Identity> {
        let Principal { kind, name, .. } = principal;
        let arn = if name.parse::<AccountId>().is_ok() {
            format!("arn:{}:iam::{name}:root", self.files.trail.partition())
        } else {
            name.clone()
        };
        Identity::parse(&arn).filter(|it| kind == "AWS" && it.kind == IdentityKind::Root)
    }
}

/// Whether a statement may apply to CloudTrail's writes.
fn concerns_writes(statement: &Statement) -> bool {
    let Ok(elements) = statement.elements() else { return true };
    let named = elements.principal.names(&Caller::service(CLOUDTRAIL), elements.effect).itself;
    let action = elements.action.matches("Action", |pattern| matches_action(pattern, "s3:PutObject"));
    named != Truth::No && action != Truth::No
}

fn put_object(object: String, key: Option<&str>, caller: Caller, context: Context) -> Request {
    const ENCRYPTION: &str = "s3:x-amz-server-side-encryption";
    const KEY_ID: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    let context = over_tls(context)
        .with("s3:x-amz-acl", "bucket-owner-full-control")
        .without("s3:x-amz-server-side-encryption-customer-algorithm");
    let context = match key {
        Some(key) => context.with(ENCRYPTION, "aws:kms").with(KEY_ID, key),
        None => context.with(ENCRYPTION, "AES256").without(KEY_ID),
    };
    Request { caller, action: "s3:PutObject".to_owned(), resource: object, context }
}

/// Whether a statement of a bucket policy tests how an object is encrypted.
#[must_use]
pub fn tests_encryption(policy: &Document, statement: &StatementId) -> bool {
    let statement = policy.statements().get(statement.index).and_then(|statement| statement.elements().ok());
    statement.is_some_and(|elements| elements.conditions.iter().any(is_about_encryption))
}

fn is_about_encryption(condition: &Condition) -> bool {
    let names = |text: &String| text.to_ascii_lowercase().contains("s3:x-amz-server-side-encryption");
    names(&condition.key) || condition.values.iter().any(names)
}

/// Adds what is known about the transport of every request to S3, which requires TLS 1.2.
/// Source: <https://aws.amazon.com/blogs/security/tls-1-2-required-for-aws-endpoints/>.
pub(crate) fn over_tls(context: Context) -> Context {
    context.with("aws:SecureTransport", "true").with_one_of("s3:TlsVersion", ["1.2", "1.3"])
}

/// What a statement's `Resource` or `NotResource` names.
pub(crate) fn resources(statement: &Statement) -> impl Iterator<Item = &str> {
    let elements = statement.elements().ok();
    elements.and_then(|elements| elements.resource.named()).into_iter().flatten().map(String::as_str)
}

const FOLDER: &str = "AWSLogs/";

/// The parts of an object's path that a `Resource` element names.
#[derive(Default, Clone, Copy)]
struct PathParts<'a> {
    organization: Option<&'a str>,
    account: Option<&'a str>,
    region: Option<&'a str>,
    family: Option<&'static str>,
}

/// The folders of what CloudTrail delivers beside log files and digest files, if the trail logs it.
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html>.
const OPTIONAL_FAMILIES: [&str; 3] = ["CloudTrail-Insight", "CloudTrail-NetworkActivity", "CloudTrail-Aggregated"];

impl<'a> PathParts<'a> {
    fn of(resource: &'a str) -> Self {
        let family = OPTIONAL_FAMILIES.into_iter().find(|family| resource.contains(family));
        let mut parts = Self { family, ..Self::default() };
        for part in resource.split('/') {
            if part.parse::<OrganizationId>().is_ok() {
                parts.organization = Some(part);
            } else if part.parse::<AccountId>().is_ok() {
                parts.account = Some(part);
            } else if part.parse::<Region>().is_ok() {
                parts.region = Some(part);
            }
        }
        parts
    }
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
    fn organization_is_unknown(&self) -> bool {
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
        let example = |certain| move |object| Example { object, certain };
        let mut examples: Vec<Example> = self.objects(&own).map(example(true)).collect();
        for family in OPTIONAL_FAMILIES {
            let own = PathParts { family: Some(family), ..own };
            examples.extend(self.objects(&own).last().map(example(false)));
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
            let others = self.objects(&parts).filter(|object| known.insert(object.clone()));
            examples.extend(others.map(example(false)));
        }
        examples
    }

    /// The ARNs of a log file, of a digest file if the trail has any, and of a file of the named family. What differs
    /// between the files of a folder is the date.
    fn objects(&self, parts: &PathParts<'_>) -> impl Iterator<Item = String> {
        let (trail, bucket, folder) = (self.trail, self.bucket, self.folder());
        let account = parts.account.unwrap_or(trail.account().as_str()).to_owned();
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
        assert!(
            examples.iter().all(|it| it.certain != OPTIONAL_FAMILIES.iter().any(|family| it.object.contains(family)))
        );
        examples.retain(|it| it.certain);
        let begins =
            ["CloudTrail", "CloudTrail-Digest"].map(|kind| format!("arn:aws:s3:::logs/AWSLogs/123456789012/{kind}/"));
        assert_eq!(examples.len(), 2);
        assert!(
            examples.iter().zip(begins).all(|(it, begin)| it.certain && it.object.starts_with(&begin)),
            "{examples:?}"
        );
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
}

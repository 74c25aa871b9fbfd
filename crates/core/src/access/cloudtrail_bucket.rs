//! Whether a bucket policy lets CloudTrail deliver a trail's log files.

use crate::access::log_files::{Example, LogFiles, PathParts, Presence, resources};
use crate::access::{CLOUDTRAIL, cloudtrail_context};
use crate::iam::pattern::matches_action;
use crate::iam::principal::Principal;
use crate::iam::statement::Condition;
use crate::iam::truth::Truth;
use crate::iam::{
    Caller, Context, Decision, Document, Identity, IdentityKind, Reason, Request, Statement, StatementId, evaluate,
    evaluate_change,
};
use crate::ids::{AccountId, KeyArn, shorten};

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
    let calls = Calls { policy, files, accepted: true };
    let before = current_key.map_or(Encryption::S3, |key| Encryption::Kms(Some(key)));
    BucketAccess {
        get_bucket_acl: calls.get_bucket_acl(),
        put_object: calls.put_object(Encryption::Kms(Some(key.as_str())), before),
    }
}

/// What a bucket policy decides about CloudTrail's calls for a trail that CloudTrail has not accepted yet, whose files
/// are encrypted with a KMS key, which may be unknown. Every Deny that may apply counts.
pub fn cloudtrail_new_bucket_access(policy: &Document, files: &LogFiles<'_>, key: Option<&KeyArn>) -> BucketAccess {
    let calls = Calls { policy, files, accepted: false };
    let encryption = Encryption::Kms(key.map(KeyArn::as_str));
    BucketAccess { get_bucket_acl: calls.get_bucket_acl(), put_object: calls.put_object(encryption, encryption) }
}

/// How files are encrypted.
#[derive(Clone, Copy)]
enum Encryption<'a> {
    /// With S3's own keys.
    S3,
    /// With a KMS key, if it is known which.
    Kms(Option<&'a str>),
}

/// CloudTrail's calls, as a bucket policy decides them.
struct Calls<'a> {
    policy: &'a Document,
    files: &'a LogFiles<'a>,
    /// Whether CloudTrail has accepted the trail with this policy.
    accepted: bool,
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
        self.or_by_account(self.decide(&request, &request, |_| false), call)
    }

    fn decide(&self, request: &Request, before: &Request, tells_apart: impl Fn(&Condition) -> bool) -> Decision {
        match self.accepted {
            true => evaluate_change(self.policy, request, before, tells_apart),
            false => evaluate(self.policy, request),
        }
    }

    fn put_object(&self, encryption: Encryption<'_>, encryption_before: Encryption<'_>) -> Decision {
        let named: Vec<&str> = self.policy.statements().iter().flat_map(resources).collect();
        let organization = self.files.organization_among(&named);
        // Such a pattern may or may not match the organization's folder.
        let is_pattern = |name: &&str| name.contains("AWSLogs/o-") && PathParts::of(name).organization.is_none();
        let pattern = named.iter().find(|name| is_pattern(name) && self.files.organization_is_unknown());
        // A new key does not change which files an Allow is for.
        let counts = |it: &&Statement| concerns_writes(it) && !(self.accepted && it.is_allow());
        let about_writes: Vec<&str> = self.policy.statements().iter().filter(counts).flat_map(resources).collect();
        let examples = self.files.examples(&organization, &about_writes);
        let decide = |(index, example): (usize, Example)| {
            let decision = self.put_example(&example, index == 0, encryption, encryption_before)?;
            Some(match pattern {
                Some(name) if index == 0 && matches!(decision, Decision::ImplicitDeny(_)) => {
                    let name = shorten(name, 200);
                    unknown(None, format!("whether `{name}` contains the organization's folder is unknown"))
                }
                _ => decision,
            })
        };
        let decisions: Vec<Decision> = examples.into_iter().enumerate().filter_map(decide).collect();
        let denied = decisions.iter().find(|decision| decision.is_denied());
        let decisive = denied.or_else(|| decisions.iter().find(|decision| decision.is_unknown())).or(decisions.first());
        decisive.cloned().unwrap_or(Decision::Unknown(Vec::new()))
    }

    /// The decision about one example. `None`: CloudTrail has accepted that it cannot write such files. `or_by_account`:
    /// whether an account of CloudTrail may write it instead.
    fn put_example(
        &self,
        example: &Example,
        or_by_account: bool,
        encryption: Encryption<'_>,
        encryption_before: Encryption<'_>,
    ) -> Option<Decision> {
        let is_certain = example.presence == Presence::Certain;
        let call = |with| move |caller, context| put_object(example.object.clone(), with, caller, context);
        let new = call(encryption);
        let (after, before) = (self.by_service(new), self.by_service(call(encryption_before)));
        match self.decide(&after, &before, is_about_encryption) {
            decision @ Decision::ImplicitDeny(_) if or_by_account => Some(self.or_by_account(decision, new)),
            decision if !decision.is_denied() || decision.explicit_deny().is_some() && is_certain => Some(decision),
            // A new key does not change it.
            _ if self.accepted && evaluate(self.policy, &before).is_denied() => None,
            Decision::ExplicitDeny(statement) => {
                Some(unknown(Some(statement), "it denies only files that this trail may not have"))
            }
            _ if !is_certain => Some(unknown(None, "no statement allows some files that this trail may not have")),
            decision => Some(decision),
        }
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

fn unknown(statement: Option<StatementId>, why: impl Into<String>) -> Decision {
    Decision::Unknown(vec![Reason { statement, why: why.into() }])
}

/// Whether a statement may apply to CloudTrail's writes.
pub(super) fn concerns_writes(statement: &Statement) -> bool {
    let Ok(elements) = statement.elements() else { return true };
    let named = elements.principal.names(&Caller::service(CLOUDTRAIL), elements.effect).itself;
    let action = elements.action.matches("Action", |pattern| matches_action(pattern, "s3:PutObject"));
    named != Truth::No && action != Truth::No
}

fn put_object(object: String, encryption: Encryption<'_>, caller: Caller, context: Context) -> Request {
    const ENCRYPTION: &str = "s3:x-amz-server-side-encryption";
    const KEY_ID: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    let context = over_tls(context)
        .with("s3:x-amz-acl", "bucket-owner-full-control")
        .without("s3:x-amz-server-side-encryption-customer-algorithm");
    let context = match encryption {
        Encryption::Kms(Some(key)) => context.with(ENCRYPTION, "aws:kms").with(KEY_ID, key),
        Encryption::Kms(None) => context.with(ENCRYPTION, "aws:kms").with_some(KEY_ID),
        Encryption::S3 => context.with(ENCRYPTION, "AES256").without(KEY_ID),
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

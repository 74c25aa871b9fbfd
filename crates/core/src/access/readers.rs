//! Which readers of a trail's log files cannot decrypt them.

use std::collections::BTreeMap;

use crate::access::cloudtrail_bucket::{LogFiles, over_tls, resources};
use crate::access::principal_set::{PrincipalKind, PrincipalSet, allowed_outside};
use crate::iam::{Decision, Document, Reason, Request, StatementId, evaluate};
use crate::ids::{AccountId, KeyArn, shorten};

/// Principals that a bucket policy allows to read and a key policy does not allow to decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedOutReader {
    /// The principals as the bucket policy names them: an ARN or a pattern of ARNs, an account's id, an organization
    /// or a part of it, a service, a canonical user, `*`.
    pub reader: String,
    /// The statement of the bucket policy that allows them to read.
    pub statement: StatementId,
    /// Whether it certainly does.
    pub reads_certainly: bool,
    /// Why they cannot decrypt.
    pub barrier: DecryptBarrier,
    /// Whether they are certainly locked out; otherwise possibly, or only some of them.
    pub certain: bool,
}

/// Why principals cannot decrypt with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecryptBarrier {
    /// The key policy cannot be read.
    UnknownPolicy,
    /// The decision of the key policy is unknown, for this reason.
    UnknownDecision(Reason),
    /// This statement denies it.
    ExplicitDeny(StatementId),
    /// No statement allows it.
    ImplicitDeny,
    /// The key policy may allow only some of them: these.
    SomeAllowed(String),
}

/// Every principal outside `account` that a bucket policy may allow to read these log files, and that a key policy
/// does not allow to decrypt them through S3. Sorted by name, each once. If the key policy is unknown (`None`),
/// nothing is certain.
///
/// Principals of the account itself are never listed, because their IAM policies, which trailseal does not read, decide.
/// Grants of the key do not show in its policy.
pub fn locked_out_readers(
    bucket_policy: &Document,
    files: &LogFiles<'_>,
    key_policy: Option<&Document>,
    key: &KeyArn,
    account: &AccountId,
) -> Vec<LockedOutReader> {
    let key = Key::new(key_policy, key, account);
    // CloudTrail's own Allow names the organization.
    let named: Vec<&str> = bucket_policy.statements().iter().filter(|it| it.is_allow()).flat_map(resources).collect();
    let organization = files.organization_among(&named);
    let denies = || bucket_policy.statements().iter().filter(|statement| !statement.is_allow());
    let mut found: BTreeMap<String, LockedOutReader> = BTreeMap::new();
    for (id, statement) in bucket_policy.identified() {
        let alone = bucket_policy.with_statements([statement.clone()]);
        // Every other Allow is considered by itself.
        let with_denies = bucket_policy.with_statements(denies().chain([statement]).cloned());
        let examples = files.examples(&organization, &resources(statement).collect::<Vec<&str>>());
        for principals in allowed_outside(statement, account) {
            let decide = |policy: &Document, object: &str| key.decide_read(policy, &principals, object);
            let allowed_here = examples.iter().filter(|it| !decide(&alone, &it.object).is_denied());
            let decisions = allowed_here.map(|it| decide(&with_denies, &it.object));
            let reads: Vec<Decision> = decisions.filter(|decision| !decision.is_denied()).collect();
            let Some((lacks, barrier)) = key.missing_decrypt(&principals).filter(|_| !reads.is_empty()) else {
                continue;
            };
            let reads_certainly = reads.iter().any(Decision::is_allowed);
            let certain = match principals.kind {
                PrincipalKind::Unknown => false,
                // The statement's condition may select principals that can decrypt.
                PrincipalKind::Everyone => lacks && reads_certainly,
                _ => lacks,
            };
            let by = StatementId { sid: id.sid.as_deref().map(|sid| shorten(sid, 80)), ..id };
            let reader =
                LockedOutReader { reader: principals.name.clone(), statement: by, reads_certainly, barrier, certain };
            let known = found.entry(principals.name).or_insert_with(|| reader.clone());
            if certain && !known.certain {
                *known = reader;
            }
        }
    }
    found.into_values().collect()
}

/// The key that encrypts the log files.
struct Key<'a> {
    arn: &'a KeyArn,
    policy: Option<&'a Document>,
    /// The principals outside the account that its policy allows something, by name.
    named: Vec<PrincipalSet>,
}

impl<'a> Key<'a> {
    fn new(policy: Option<&'a Document>, arn: &'a KeyArn, account: &AccountId) -> Self {
        let statements = policy.into_iter().flat_map(Document::statements);
        let named = statements.flat_map(|statement| allowed_outside(statement, account));
        let named = named.filter(|it| it.has_many() || matches!(it.kind, PrincipalKind::One(_))).collect();
        Self { arn, policy, named }
    }

    /// What a bucket policy decides about reading an object, or one of its versions.
    ///
    /// Source for the contents of the request: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>.
    fn decide_read(&self, bucket_policy: &Document, principals: &PrincipalSet, object: &str) -> Decision {
        let caller = principals.example(self.arn.partition());
        let context = over_tls(principals.common_context(&caller))
            // CloudTrail's objects have no tags, and the other keys are those of lists.
            .without_any("s3:ExistingObjectTag/")
            .without("s3:prefix")
            .without("s3:delimiter")
            .without("s3:max-keys");
        let request = |action: &str| Request {
            caller: caller.clone(),
            action: action.to_owned(),
            resource: object.to_owned(),
            context: context.clone(),
        };
        match evaluate(bucket_policy, &request("s3:GetObject")) {
            decision if decision.is_denied() => evaluate(bucket_policy, &request("s3:GetObjectVersion")),
            decision => decision,
        }
    }

    /// Whether the principals certainly cannot decrypt, and why; `None` if they can.
    fn missing_decrypt(&self, principals: &PrincipalSet) -> Option<(bool, DecryptBarrier)> {
        let Some(policy) = self.policy else { return Some((false, DecryptBarrier::UnknownPolicy)) };
        let barrier = match self.decide_decrypt(policy, principals) {
            Decision::Allowed(_) | Decision::Delegated(_) => return None,
            Decision::Unknown(reasons) => {
                let reason = reasons.into_iter().next();
                return Some((false, reason.map_or(DecryptBarrier::UnknownPolicy, DecryptBarrier::UnknownDecision)));
            }
            Decision::ExplicitDeny(by) => DecryptBarrier::ExplicitDeny(by),
            Decision::ImplicitDeny(_) => DecryptBarrier::ImplicitDeny,
        };
        let mut members = self.named.iter().filter(|one| principals.has_many() && principals.may_include(one));
        let some = members.find(|one| !self.decide_decrypt(policy, &one.within(principals)).is_denied());
        Some(some.map_or((true, barrier), |one| (false, DecryptBarrier::SomeAllowed(one.name.clone()))))
    }

    /// Source for the contents of the request:
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>.
    fn decide_decrypt(&self, policy: &Document, principals: &PrincipalSet) -> Decision {
        let caller = principals.example(self.arn.partition());
        let context = principals
            .context_of(&caller)
            .with("aws:SecureTransport", "true")
            .with_all("kms:ViaService", via_s3(self.arn))
            // The object, or with an S3 Bucket Key the bucket; CloudTrail adds the trail.
            .without_any("kms:EncryptionContext:")
            .with_some("kms:EncryptionContext:aws:s3:arn")
            .with_some("kms:EncryptionContext:aws:cloudtrail:arn")
            .with_some("kms:EncryptionContextKeys");
        let (action, resource) = ("kms:Decrypt".to_owned(), self.arn.to_string());
        evaluate(policy, &Request { caller, action, resource, context })
    }
}

/// The names of S3 in the key's Region, which is the bucket's, in `kms:ViaService`. Whether every partition has its own
/// domain there is not documented, so a decision needs the same result for each.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service>.
fn via_s3(key: &KeyArn) -> Vec<String> {
    let own = match key.partition().as_str() {
        "aws" | "aws-us-gov" => None,
        "aws-cn" => Some("amazonaws.com.cn"),
        "aws-eusc" => Some("amazonaws.eu"),
        "aws-iso" => Some("c2s.ic.gov"),
        "aws-iso-b" => Some("sc2s.sgov.gov"),
        "aws-iso-e" => Some("cloud.adc-e.uk"),
        "aws-iso-f" => Some("csp.hci.ic.gov"),
        _ => Some("unknown"),
    };
    let domains = std::iter::once("amazonaws.com").chain(own);
    domains.map(|domain| format!("s3.{}.{domain}", key.region())).collect()
}

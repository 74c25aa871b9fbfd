//! Who could read a trail's log files and could not decrypt them.

use std::collections::BTreeMap;

use crate::access::cloudtrail_bucket::{LogFiles, over_tls, resources};
use crate::access::principal_set::{Who, Whom, admitted};
use crate::iam::{Context, Decision, Document, Reason, Request, StatementId, evaluate};
use crate::ids::{AccountId, KeyArn, Partition, shorten};

/// Somebody whom a bucket's policy lets read and whom a key's policy does not let decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedOutReader {
    /// As the bucket's policy names them: an ARN or a pattern of ARNs, an account's id, an organization
    /// or a part of it, a service, a canonical user, `*`.
    pub reader: String,
    /// Whether it is certain; otherwise only some of them, or nobody, may be locked out.
    pub certain: bool,
    /// By which statement they read, and what is missing, in short.
    pub reason: String,
}

/// Everybody outside `account` whom a bucket's policy may let read these log files and whom a key's
/// policy does not let decrypt them through S3. Sorted by name, each once. A key's policy that may
/// not be read is `None`: then nobody can tell, and nothing is certain.
///
/// Principals of the account itself are never listed: their own IAM policies count too, which are not
/// read. Nor do grants of the key show in its policy.
pub fn locked_out_readers(
    bucket: &Document,
    files: &LogFiles<'_>,
    key_policy: Option<&Document>,
    key: &KeyArn,
    account: &AccountId,
) -> Vec<LockedOutReader> {
    let key = Key::of(key_policy, key, account);
    let admitted: Vec<Vec<Who>> = bucket.statements().iter().map(|statement| admitted(statement, account)).collect();
    let allows = || bucket.statements().iter().zip(&admitted).enumerate().filter(|(_, (_, who))| !who.is_empty());
    // CloudTrail's own Allow spells the organization out, whoever reads.
    let spelt: Vec<&str> = bucket.statements().iter().filter(|it| it.is_allow()).flat_map(resources).collect();
    let organization = files.organization_among(&spelt);
    let mut found: BTreeMap<&str, LockedOutReader> = BTreeMap::new();
    for (index, (statement, admitted)) in allows() {
        let alone = bucket.with_only([statement]);
        // What another Allow says is that one's to tell.
        let denies = bucket.statements().iter().filter(|other| !other.is_allow());
        let despite_denies = bucket.with_only(denies.chain([statement]));
        let examples = files.examples(&organization, &resources(statement));
        let objects: Vec<String> = examples.into_iter().map(|it| it.object).collect();
        for who in admitted {
            let asked = |policy: &Document, object: &String| reads(policy, who, object, files.trail.partition());
            let by_this = objects.iter().filter(|object| !asked(&alone, object).is_denied());
            let says: Vec<Decision> =
                by_this.map(|object| asked(&despite_denies, object)).filter(|it| !it.is_denied()).collect();
            if says.is_empty() {
                continue;
            }
            let Some((lacks, why)) = key.lacks(who) else { continue };
            let sure = says.iter().any(Decision::is_allowed);
            let certain = match who.kind {
                Whom::Unknown => false,
                // Whom the condition of such a statement means may be somebody who can decrypt.
                Whom::Everybody => lacks && sure,
                _ => lacks,
            };
            let by = StatementId { index, sid: statement.sid().map(|sid| shorten(sid, 80)) };
            let allows = if sure { "allows" } else { "may allow" };
            let why = format!("{by} of the bucket's policy {allows} them to read; {why}");
            let known = found.get(who.name.as_str()).is_some_and(|first| first.certain || !certain);
            if !known {
                found.insert(&who.name, LockedOutReader { reader: who.name.clone(), certain, reason: why });
            }
        }
    }
    found.into_values().collect()
}

/// What a bucket's policy says to them about reading that object.
///
/// Source for what a request carries: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>.
fn reads(bucket: &Document, who: &Who, object: &str, partition: &Partition) -> Decision {
    let context = who
        .known_of_all(over_tls(Context::new()))
        // CloudTrail's objects have no tags, and the others belong to lists.
        .without_any("s3:ExistingObjectTag/")
        .without("s3:prefix")
        .without("s3:delimiter")
        .without("s3:max-keys");
    let says = |action: &str| {
        let (caller, context) = (who.example(partition), context.clone());
        evaluate(bucket, &Request { caller, action: action.to_owned(), resource: object.to_owned(), context })
    };
    let decision = says("s3:GetObject");
    // An object can be read by its version, too.
    if decision.is_denied() { says("s3:GetObjectVersion") } else { decision }
}

/// The key that the log files are to be encrypted with.
struct Key<'a> {
    arn: &'a KeyArn,
    policy: Option<&'a Document>,
    /// Whom its policy lets in, by name, outside the account.
    named: Vec<Who>,
}

impl<'a> Key<'a> {
    fn of(policy: Option<&'a Document>, arn: &'a KeyArn, account: &AccountId) -> Self {
        let statements = policy.into_iter().flat_map(Document::statements);
        let named = statements.flat_map(|statement| admitted(statement, account));
        let named = named.filter(|who| who.are_many() || matches!(who.kind, Whom::One(_))).collect();
        Self { arn, policy, named }
    }

    fn partition(&self) -> &Partition {
        self.arn.partition()
    }

    /// Whether it is certain that they could not decrypt, and why; `None` if they could.
    fn lacks(&self, who: &Who) -> Option<(bool, String)> {
        let Some(document) = self.policy else {
            return Some((false, "the key's policy is unknown".to_owned()));
        };
        let first = |reasons: Vec<Reason>| reasons.first().map(|reason| shorten(&reason.to_string(), 300));
        let why = match self.decrypts(document, who) {
            Decision::Allowed(_) | Decision::Delegated(_) => return None,
            Decision::Unknown(reasons) => {
                let reason = first(reasons).unwrap_or_default();
                return Some((false, format!("whether the key's policy allows them to decrypt is unknown: {reason}")));
            }
            Decision::ExplicitDeny(by) => format!("{by} of the key's policy denies them `kms:Decrypt`"),
            Decision::ImplicitDeny(_) => "no statement of the key's policy allows them to decrypt".to_owned(),
        };
        let mut among = self.named.iter().filter(|one| who.are_many() && who.may_include(one));
        let some = among.find(|one| !self.decrypts(document, &one.within(who)).is_denied());
        Some(match some {
            Some(one) => (false, format!("the key's policy may allow only some of them to decrypt: `{}`", one.name)),
            None => (true, why),
        })
    }

    /// Source for what a request carries: <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>.
    fn decrypts(&self, document: &Document, who: &Who) -> Decision {
        let caller = who.example(self.partition());
        let context = who
            .known_of(&caller, Context::new())
            .with("aws:SecureTransport", "true")
            .with_all("kms:ViaService", via_s3(self.arn))
            // The object, or with an S3 Bucket Key the bucket; CloudTrail adds the trail.
            .without_any("kms:EncryptionContext:")
            .with_some("kms:EncryptionContext:aws:s3:arn")
            .with_some("kms:EncryptionContext:aws:cloudtrail:arn")
            .with_some("kms:EncryptionContextKeys");
        let request = Request { caller, action: "kms:Decrypt".to_owned(), resource: self.arn.to_string(), context };
        evaluate(document, &request)
    }
}

/// S3 in the key's Region, which is the bucket's, as `kms:ViaService` names it. Whether every partition
/// has its own domain there is not documented, so it is one of these.
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
    std::iter::once("amazonaws.com").chain(own).map(|suffix| format!("s3.{}.{suffix}", key.region())).collect()
}

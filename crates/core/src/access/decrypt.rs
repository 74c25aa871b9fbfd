//! Whether a key policy allows principals to decrypt log files.

use crate::access::principal_set::{PrincipalKind, PrincipalSet, external_principals, singled_out_principals};
use crate::iam::{Decision, Document, Reason, Request, StatementId, evaluate};
use crate::ids::{AccountId, KeyArn};

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
    /// The key policy may deny some of them: these.
    SomeDenied(String),
}

impl DecryptBarrier {
    /// Whether it certainly stops all of the principals.
    pub(super) fn is_certain(&self) -> bool {
        matches!(self, Self::ExplicitDeny(_) | Self::ImplicitDeny)
    }
}

/// The key that encrypts the log files.
pub(super) struct Key<'a> {
    pub(super) arn: &'a KeyArn,
    policy: Option<&'a Document>,
    /// The principals outside the account that its policy allows something, by name.
    named: Vec<PrincipalSet>,
    /// The principals that a Deny names, or that a statement exempts.
    singled_out: Vec<PrincipalSet>,
}

impl<'a> Key<'a> {
    pub(super) fn new(policy: Option<&'a Document>, arn: &'a KeyArn, account: &AccountId) -> Self {
        let statements = policy.into_iter().flat_map(Document::statements);
        let named = statements.flat_map(|statement| external_principals(statement, account));
        let named = named.filter(|it| it.has_many() || matches!(it.kind, PrincipalKind::One(_))).collect();
        let singled_out = policy.into_iter().flat_map(Document::statements).flat_map(singled_out_principals).collect();
        Self { arn, policy, named, singled_out }
    }

    /// Why the principals cannot decrypt, or may be unable to; `None` if they can.
    pub(super) fn decrypt_barrier(&self, principals: &PrincipalSet) -> Option<DecryptBarrier> {
        let Some(policy) = self.policy else { return Some(DecryptBarrier::UnknownPolicy) };
        let members = |of: &'_ [PrincipalSet], can_decrypt: bool| {
            let mut members = of.iter().filter(|one| principals.has_many() && principals.may_include(one));
            members
                .find(|one| {
                    let decision = decide_decrypt(policy, self.arn, &one.within(principals));
                    if can_decrypt { !decision.is_denied() } else { !decision.is_allowed() }
                })
                .map(|one| one.name.clone())
        };
        let barrier = match decide_decrypt(policy, self.arn, principals) {
            Decision::Allowed(_) | Decision::Delegated(_) => {
                return members(&self.singled_out, false).map(DecryptBarrier::SomeDenied);
            }
            Decision::Unknown(reasons) => {
                let reason = reasons.into_iter().next();
                return Some(reason.map_or(DecryptBarrier::UnknownPolicy, DecryptBarrier::UnknownDecision));
            }
            Decision::ExplicitDeny(by) => DecryptBarrier::ExplicitDeny(by),
            Decision::ImplicitDeny(_) => DecryptBarrier::ImplicitDeny,
        };
        let some = members(&self.named, true).or_else(|| members(&self.singled_out, true));
        Some(some.map_or(barrier, DecryptBarrier::SomeAllowed))
    }
}

/// What a key policy decides about principals' request to decrypt log files through S3.
///
/// Source for the contents of the request:
/// <https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html>.
pub(super) fn decide_decrypt(policy: &Document, key: &KeyArn, principals: &PrincipalSet) -> Decision {
    let caller = principals.example(key.partition());
    let context = principals
        .context_of(&caller)
        .with("aws:SecureTransport", "true")
        .with_one_of("kms:ViaService", via_s3(key))
        // The object, or with an S3 Bucket Key the bucket; CloudTrail adds the trail.
        .without_any("kms:EncryptionContext:")
        .with_some("kms:EncryptionContext:aws:s3:arn")
        .with_some("kms:EncryptionContext:aws:cloudtrail:arn")
        .with_some("kms:EncryptionContextKeys");
    let (action, resource) = ("kms:Decrypt".to_owned(), key.to_string());
    evaluate(policy, &Request { caller, action, resource, context })
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

//! The policy of a central key: one that the owner of many accounts keeps in one of them, and names to
//! each account's trailseal in `TRAILSEAL_KEY_ARNS`.
//!
//! trailseal never writes this policy, so its statements are none of its templates: what is recognised as
//! trailseal's on its own keys stays what it was. Those for the key's own account are the same to the
//! letter, so that trailseal, there, judges the policy with certainty.
//!
//! As on trailseal's own keys, no principal is named that somebody could delete: KMS would refuse every
//! change to the policy from then on.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::access::CLOUDTRAIL;
use crate::config::LogReaders;
use crate::ids::{AccountId, OrganizationId, Partition, StackName};
use crate::key_policy::MAX_BYTES;
use crate::key_policy::templates::{Statement, Template, Terms, VERSION, one_or_many};

/// A key that encrypts the logs of many accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CentralKey {
    /// Where the key is.
    pub partition: Partition,
    /// Whose key it is.
    pub account: AccountId,
    /// Whose accounts' trails use it, all of them.
    pub organization: Option<OrganizationId>,
    /// Further accounts whose trails use it.
    pub accounts: BTreeSet<AccountId>,
    /// Who decrypts the logs. `own_account` is the key's.
    pub readers: LogReaders,
    /// What trailseal is called in the accounts (the stack's name; of a StackSet, its parameter `Name`): the
    /// function's role is `NAME-REGION`.
    pub stack: StackName,
}

/// Why there is no policy.
#[derive(Debug, Error)]
pub enum NoPolicy {
    /// Nobody but the key's own account would use it.
    #[error(
        "no other account would use the key; for the trails of one account alone, the key that trailseal makes there does"
    )]
    NobodyElse,
    /// KMS would not take it.
    #[error("the policy would be {bytes} bytes long and KMS takes {MAX_BYTES}: {}", what_fits(*accounts, *fitting))]
    TooLong {
        /// Its length, without layout.
        bytes: usize,
        /// The further accounts.
        accounts: usize,
        /// How many of them would fit.
        fitting: usize,
    },
    /// It is no JSON.
    #[error("the policy cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

fn what_fits(accounts: usize, fitting: usize) -> String {
    if accounts == 0 {
        return "there are too many readers; an account or an organization is shorter than its roles".to_owned();
    }
    format!(
        "of the {accounts} further accounts, {fitting} fit; an organization says the same of all of its accounts at once"
    )
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Piece>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Piece {
    /// As on trailseal's own keys.
    Sealing(Statement),
    Central(Central),
}

/// An Allow for somebody of many accounts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Central {
    sid: &'static str,
    effect: &'static str,
    principal: Value,
    action: &'static str,
    resource: &'static str,
    condition: Value,
}

impl Central {
    fn allow(sid: &'static str, principal: Value, action: &'static str, condition: Value) -> Piece {
        // In a key policy, `*` means the key itself.
        Piece::Central(Self { sid, effect: "Allow", principal, action, resource: "*", condition })
    }
}

impl CentralKey {
    /// The policy's text, as `aws kms create-key --policy file://…` takes it, with a line end. It is laid
    /// out for people, unless it is too long for that.
    ///
    /// # Errors
    ///
    /// [`NoPolicy`]: nobody else is let in, or KMS would refuse the policy for its length.
    pub fn policy(&self) -> Result<String, NoPolicy> {
        let accounts: Vec<&AccountId> = self.accounts.iter().filter(|account| **account != self.account).collect();
        if accounts.is_empty() && self.organization.is_none() {
            return Err(NoPolicy::NobodyElse);
        }
        let policy = self.policy_with(&accounts);
        let laid_out = serde_json::to_string_pretty(&policy)?;
        if fits(&laid_out) {
            return Ok(laid_out + "\n");
        }
        let text = serde_json::to_string(&policy)?;
        if fits(&text) {
            return Ok(text + "\n");
        }
        let mut fitting = 0;
        for count in 1..=accounts.len() {
            let some = accounts.get(..count).unwrap_or_default();
            if !fits(&serde_json::to_string(&self.policy_with(some))?) {
                break;
            }
            fitting = count;
        }
        Err(NoPolicy::TooLong { bytes: text.len(), accounts: accounts.len(), fitting })
    }

    fn policy_with(&self, accounts: &[&AccountId]) -> Policy {
        let Self { partition, account, organization, readers, .. } = self;
        let owners = std::iter::once(account).chain(accounts.iter().copied()).collect();
        let terms = Terms { partition, account, owners, role: None, readers };
        let (for_readers, for_trails): (Vec<Statement>, Vec<Statement>) =
            terms.statements().into_iter().partition(|statement| is_for_readers(statement.template));
        let mut statement: Vec<Piece> = for_trails.into_iter().map(Piece::Sealing).collect();
        statement.extend(organization.iter().flat_map(|organization| self.for_trails_of(organization)));
        statement.extend(organization.iter().map(|organization| {
            let of_it = json!({ "aws:PrincipalOrgID": organization.as_str() });
            self.for_trailseal("OrganizationTrailsealDescribes", of_it)
        }));
        if !accounts.is_empty() {
            let ids = one_or_many(accounts.iter().map(ToString::to_string));
            statement.push(self.for_trailseal("TrailsealDescribes", json!({ "kms:CallerAccount": ids })));
        }
        statement.extend(for_readers.into_iter().map(Piece::Sealing));
        Policy { version: VERSION, statement }
    }

    /// For CloudTrail, whichever account of the organization has the trail. A service belongs to no
    /// organization itself; that of the account for which it asks is in `aws:SourceOrgID`.
    /// Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-sourceorgid>,
    /// for CloudTrail <https://docs.aws.amazon.com/controltower/latest/userguide/logging-s3-audit-bucket.html>.
    fn for_trails_of(&self, organization: &OrganizationId) -> [Piece; 3] {
        let trails = format!("arn:{}:cloudtrail:*:*:trail/*", self.partition);
        let of_it = json!({ "aws:SourceOrgID": organization.as_str() });
        let for_a_trail = json!({ "aws:SourceArn": trails });
        let in_its_context = json!({ "kms:EncryptionContext:aws:cloudtrail:arn": trails });
        let allow = |sid, action, condition| Central::allow(sid, json!({ "Service": CLOUDTRAIL }), action, condition);
        [
            allow(
                "OrganizationTrailsEncrypt",
                "kms:GenerateDataKey*",
                json!({ "StringEquals": of_it, "ArnLike": for_a_trail, "StringLike": in_its_context }),
            ),
            allow(
                "OrganizationTrailsDescribe",
                "kms:DescribeKey",
                json!({ "StringEquals": of_it, "ArnLike": for_a_trail }),
            ),
            allow(
                "OrganizationTrailsDecryptForBucketKeys",
                "kms:Decrypt",
                json!({ "StringEquals": of_it, "ArnLike": for_a_trail }),
            ),
        ]
    }

    /// So that trailseal, elsewhere, sees the state of the key; its own account's IAM has to let it, too.
    /// KMS tells a key's policy to nobody outside the key's account, so there is no more to allow.
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html>.
    fn for_trailseal(&self, sid: &'static str, of: Value) -> Piece {
        let role = format!("arn:{}:iam::*:role/{}-*", self.partition, self.stack);
        let condition = json!({ "StringEquals": of, "ArnLike": { "aws:PrincipalArn": role } });
        Central::allow(sid, json!("*"), "kms:DescribeKey", condition)
    }
}

fn is_for_readers(template: Template) -> bool {
    match template {
        Template::LogReaders | Template::ReaderAccounts | Template::OrganizationReaders | Template::AccountReaders => {
            true
        }
        Template::AccountAdministers
        | Template::FinishesCreation
        | Template::CloudTrailEncrypts
        | Template::CloudTrailDescribes
        | Template::CloudTrailDecrypts => false,
    }
}

/// Whether KMS takes it, with a line end.
fn fits(policy: &str) -> bool {
    policy.len() < MAX_BYTES
}

#[cfg(test)]
mod tests;

//! The policy of a central key: one KMS key that the owner of many accounts keeps in one of them and sets in each account's
//! trailseal as `TRAILSEAL_KEY_ARNS`.
//!
//! The function never writes this policy. For the key's own account, its statements equal those of the keys that trailseal
//! creates, so that trailseal can evaluate the policy with certainty there.
//!
//! As on trailseal's own keys, no principal is a user or role, because KMS rejects every change to a policy that names a deleted
//! one.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use trailseal_core::config::LogReaders;
use trailseal_core::ids::{AccountId, OrganizationId, Partition, StackName};
use trailseal_core::key_policy::{self, MAX_BYTES, PolicyInputs};

/// A key that encrypts the logs of many accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CentralKey {
    /// The key's partition.
    pub(crate) partition: Partition,
    /// The account that owns the key.
    pub(crate) account: AccountId,
    /// The organization whose accounts' trails can use the key.
    pub(crate) organization: Option<OrganizationId>,
    /// Other accounts whose trails can use the key.
    pub(crate) accounts: BTreeSet<AccountId>,
    /// Who may decrypt the logs. `own_account` is the account that owns the key.
    pub(crate) readers: LogReaders,
    /// The name of trailseal's stacks, or the parameter `Name` of its StackSet. The function's role is `NAME-REGION`.
    pub(crate) stack: StackName,
}

/// Why there is no policy.
#[derive(Debug, Error)]
pub(crate) enum NoPolicy {
    #[error(
        "no other account would use the key: add '--organization' or other '--accounts'; for a single account, trailseal creates \
         the key itself"
    )]
    NoOtherAccount,
    #[error("the policy would be {bytes} bytes long, but KMS accepts {MAX_BYTES}: {}", advice(*accounts, *fitting))]
    TooLong {
        /// The length of the policy without whitespace.
        bytes: usize,
        /// How many other accounts it contains.
        accounts: usize,
        /// How many of them fit.
        fitting: usize,
    },
    #[error("the policy cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

fn advice(accounts: usize, fitting: usize) -> String {
    if accounts == 0 {
        return "there are too many '--readers'; name an account or an organization instead of its roles".to_owned();
    }
    format!("only {fitting} of the {accounts} other accounts fit; '--organization' covers all of its accounts")
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Statement {
    /// As on the keys that trailseal creates.
    Own(key_policy::KeyPolicyStatement),
    Central(Allow),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Allow {
    sid: &'static str,
    effect: &'static str,
    principal: Value,
    action: &'static str,
    resource: &'static str,
    condition: Value,
}

impl CentralKey {
    /// The policy's text, with a newline at its end. It is indented, unless that makes it too long.
    ///
    /// # Errors
    ///
    /// [`NoPolicy`] if the policy contains no other account, or if it is too long for KMS.
    pub(crate) fn policy(&self) -> Result<String, NoPolicy> {
        let accounts: Vec<&AccountId> = self.accounts.iter().filter(|account| **account != self.account).collect();
        if accounts.is_empty() && self.organization.is_none() {
            return Err(NoPolicy::NoOtherAccount);
        }
        let policy = self.document(&accounts);
        let indented = serde_json::to_string_pretty(&policy)?;
        if fits(&indented) {
            return Ok(indented + "\n");
        }
        let text = serde_json::to_string(&policy)?;
        if fits(&text) {
            return Ok(text + "\n");
        }
        let fits_with = |count: &usize| {
            let policy = self.document(accounts.get(..*count).unwrap_or_default());
            serde_json::to_string(&policy).is_ok_and(|text| fits(&text))
        };
        let fitting = (1..=accounts.len()).take_while(fits_with).count();
        Err(NoPolicy::TooLong { bytes: text.len(), accounts: accounts.len(), fitting })
    }

    fn document(&self, accounts: &[&AccountId]) -> Policy {
        let (mut statement, for_readers) = self.own_statements(accounts);
        statement.extend(self.organization.iter().flat_map(|organization| self.for_organization(organization)));
        if !accounts.is_empty() {
            let ids = match accounts {
                [account] => json!(account.as_str()),
                accounts => accounts.iter().map(|account| account.as_str()).collect(),
            };
            statement.push(self.for_trailseal("TrailsealDescribes", &json!({ "kms:CallerAccount": ids })));
        }
        statement.extend(for_readers);
        Policy { version: "2012-10-17", statement }
    }

    /// The statements that trailseal writes on its own keys: those for the account and its trails, and those for log readers.
    fn own_statements(&self, accounts: &[&AccountId]) -> (Vec<Statement>, Vec<Statement>) {
        let Self { partition, account, readers, .. } = self;
        let statements = |readers: &LogReaders| -> Vec<Statement> {
            let owners = std::iter::once(account).chain(accounts.iter().copied()).collect();
            let inputs = PolicyInputs { partition, account, owners, role: None, readers };
            inputs.statements().into_iter().map(Statement::Own).collect()
        };
        let for_trails = statements(&LogReaders::default());
        // The statements for readers come last.
        let for_readers = statements(readers).split_off(for_trails.len());
        (for_trails, for_readers)
    }

    /// Allows CloudTrail to use the key for the trails of every account in the organization, and trailseal to describe it. A
    /// service principal belongs to no organization: `aws:SourceOrgID` is that of the account on whose behalf it calls.
    /// Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-sourceorgid>,
    /// for CloudTrail <https://docs.aws.amazon.com/controltower/latest/userguide/logging-s3-audit-bucket.html>.
    fn for_organization(&self, organization: &OrganizationId) -> [Statement; 4] {
        let trails = format!("arn:{}:cloudtrail:*:*:trail/*", self.partition);
        let of_organization = json!({ "aws:SourceOrgID": organization.as_str() });
        let of_trails = json!({ "aws:SourceArn": trails });
        let for_trails = json!({ "StringEquals": of_organization, "ArnLike": of_trails });
        let with_context = json!({
            "StringEquals": of_organization,
            "ArnLike": of_trails,
            "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": trails },
        });
        let service = json!({ "Service": "cloudtrail.amazonaws.com" });
        let cloudtrail = |sid, action, condition| allow(sid, service.clone(), action, condition);
        let principal = json!({ "aws:PrincipalOrgID": organization.as_str() });
        [
            cloudtrail("OrganizationTrailsEncrypt", "kms:GenerateDataKey*", with_context),
            cloudtrail("OrganizationTrailsDescribe", "kms:DescribeKey", for_trails.clone()),
            cloudtrail("OrganizationTrailsDecryptForBucketKeys", "kms:Decrypt", for_trails),
            self.for_trailseal("OrganizationTrailsealDescribes", &principal),
        ]
    }

    /// Allows trailseal in other accounts to read the key's state. Its own account's IAM policy must allow it, too. KMS returns a
    /// key's policy only to the key's own account, so no more can be allowed.
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html>.
    fn for_trailseal(&self, sid: &'static str, string_equals: &Value) -> Statement {
        let role = format!("arn:{}:iam::*:role/{}-*", self.partition, self.stack);
        let condition = json!({ "StringEquals": string_equals, "ArnLike": { "aws:PrincipalArn": role } });
        allow(sid, json!("*"), "kms:DescribeKey", condition)
    }
}

fn allow(sid: &'static str, principal: Value, action: &'static str, condition: Value) -> Statement {
    // In a key policy, the resource `*` means the key itself.
    Statement::Central(Allow { sid, effect: "Allow", principal, action, resource: "*", condition })
}

/// Whether KMS accepts the policy with a newline at its end.
fn fits(policy: &str) -> bool {
    policy.len() < MAX_BYTES
}

#[cfg(test)]
mod tests;

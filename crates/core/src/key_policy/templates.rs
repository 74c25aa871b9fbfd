//! The statements that trailseal writes into a key policy. They name services, account roots and the function's role,
//! and never a single trail, so that one key serves every trail whose bucket is in its Region.

use serde::Serialize;
use serde_json::{Value, json};

use crate::access::{CLOUDTRAIL, KeyAccess};
use crate::config::{Config, LogReaders};
use crate::iam::Document;
use crate::iam::statement::to_policy_value;
use crate::ids::{AccountId, FunctionArn, Partition, RoleArn};

/// The version of the policy language.
const VERSION: &str = "2012-10-17";

/// The policy of a sealing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub struct KeyPolicy {
    version: &'static str,
    #[serde(rename = "Statement")]
    pub(super) statements: Vec<KeyPolicyStatement>,
    /// The key's partition.
    #[serde(skip)]
    pub(super) partition: Partition,
    /// The key's account.
    #[serde(skip)]
    pub(super) account: AccountId,
}

/// A statement that trailseal writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Statement"))]
#[serde(rename_all = "PascalCase")]
pub struct KeyPolicyStatement {
    pub(super) sid: String,
    effect: &'static str,
    pub(super) principal: Value,
    action: Value,
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
    #[serde(skip)]
    pub(super) template: Template,
    /// The values of its template: ARNs, patterns of ARNs, or IDs.
    #[serde(skip)]
    pub(super) values: Vec<String>,
}

/// The kinds of statements that trailseal writes. Each takes values, and has either one action or one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// Values: the root of the key's account.
    AccountAdministers,
    /// Values: the function's role.
    FinishesCreation,
    /// Values: patterns of trails, as for the next two.
    CloudTrailEncrypts,
    CloudTrailDescribes,
    CloudTrailDecrypts,
    /// Values: the ARNs of roles and users.
    LogReaders,
    /// Values: the roots of accounts.
    ReaderAccounts,
    /// Values: the IDs of organizations.
    OrganizationReaders,
    /// Values: the ID of the key's account.
    AccountReaders,
}

impl Template {
    pub(super) const ALL: [Self; 9] = [
        Self::AccountAdministers,
        Self::FinishesCreation,
        Self::CloudTrailEncrypts,
        Self::CloudTrailDescribes,
        Self::CloudTrailDecrypts,
        Self::LogReaders,
        Self::ReaderAccounts,
        Self::OrganizationReaders,
        Self::AccountReaders,
    ];

    pub(super) fn sid(self) -> &'static str {
        self.sid_and_actions().0
    }

    pub(super) fn actions(self) -> &'static [&'static str] {
        self.sid_and_actions().1
    }

    fn sid_and_actions(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::AccountAdministers => ("AccountAdministersThroughIam", &["kms:*"]),
            Self::FinishesCreation => {
                ("TrailsealFinishesCreation", &["kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:CreateAlias"])
            }
            Self::CloudTrailEncrypts => ("CloudTrailEncrypts", &["kms:GenerateDataKey*"]),
            Self::CloudTrailDescribes => ("CloudTrailDescribes", &["kms:DescribeKey"]),
            Self::CloudTrailDecrypts => ("CloudTrailDecryptsForBucketKeys", &["kms:Decrypt"]),
            Self::LogReaders => ("LogReadersDecrypt", &["kms:Decrypt"]),
            Self::ReaderAccounts => ("ReaderAccountsDecrypt", &["kms:Decrypt"]),
            Self::OrganizationReaders => ("OrganizationReadersDecrypt", &["kms:Decrypt"]),
            Self::AccountReaders => ("AccountReadersDecrypt", &["kms:Decrypt"]),
        }
    }

    /// The template whose statements have this `Sid`, or this with a number because another statement had it.
    pub(super) fn of_sid(sid: &str) -> Option<Self> {
        let is_number = |rest: &str| {
            let digits = rest.chars().all(|c| c.is_ascii_digit()) && !rest.starts_with('0');
            digits && rest.parse::<u32>().is_ok_and(|number| number >= 2)
        };
        let has = |it: &Self| sid.strip_prefix(it.sid()).is_some_and(|rest| rest.is_empty() || is_number(rest));
        Self::ALL.into_iter().find(has)
    }

    /// The statement for some of the template's actions.
    ///
    /// Source for the contents of CloudTrail's requests:
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>.
    /// Readers need S3 rather than an encryption context, which an S3 Bucket Key changes.
    pub(super) fn statement(self, actions: &[&str], values: Vec<String>) -> KeyPolicyStatement {
        let allowed = to_policy_value(&values);
        let (aws, cloudtrail) = (json!({ "AWS": allowed }), json!({ "Service": CLOUDTRAIL }));
        let source = json!({ "aws:SourceArn": allowed });
        let through_s3 = json!({ "kms:ViaService": "s3.*" });
        let reader = |operator: &str, key: &str| {
            (json!("*"), Some(json!({ operator: { key: allowed }, "StringLike": through_s3 })))
        };
        let (principal, condition) = match self {
            Self::AccountAdministers | Self::FinishesCreation => (aws, None),
            Self::CloudTrailEncrypts => {
                let context = json!({ "kms:EncryptionContext:aws:cloudtrail:arn": allowed });
                (cloudtrail, Some(json!({ "ArnLike": source, "StringLike": context })))
            }
            // DescribeKey has no encryption context, and Decrypt with an S3 Bucket Key has the bucket's.
            Self::CloudTrailDescribes | Self::CloudTrailDecrypts => (cloudtrail, Some(json!({ "ArnLike": source }))),
            Self::ReaderAccounts => (aws, Some(json!({ "StringLike": through_s3 }))),
            Self::LogReaders => reader("ArnEquals", "aws:PrincipalArn"),
            Self::OrganizationReaders => reader("StringEquals", "aws:PrincipalOrgID"),
            Self::AccountReaders => reader("StringEquals", "kms:CallerAccount"),
        };
        KeyPolicyStatement {
            sid: self.sid().to_owned(),
            effect: "Allow",
            principal,
            action: if let [only] = actions { json!(only) } else { json!(actions) },
            // In a key policy, `*` means the key itself.
            resource: "*",
            condition,
            template: self,
            values,
        }
    }
}

/// What determines the statements that trailseal writes for a key.
#[derive(Debug, Clone)]
pub struct PolicyInputs<'a> {
    /// The key's partition.
    pub partition: &'a Partition,
    /// The key's account.
    pub account: &'a AccountId,
    /// The accounts whose trails use the key, each once.
    pub owners: Vec<&'a AccountId>,
    /// The function's role, which finishes a key that it created.
    pub role: Option<&'a RoleArn>,
    /// The principals that may decrypt the logs.
    pub readers: &'a LogReaders,
}

impl PolicyInputs<'_> {
    /// The statements, those for the readers last.
    #[must_use]
    pub fn statements(&self) -> Vec<KeyPolicyStatement> {
        let all = Template::ALL.into_iter().map(|template| (template, self.values(template)));
        let needed = all.filter(|(_, values)| !values.is_empty());
        needed.map(|(template, values)| template.statement(template.actions(), values)).collect()
    }

    fn values(&self, template: Template) -> Vec<String> {
        let Self { partition, account, owners, role, readers } = self;
        let root_of = |account: &AccountId| format!("arn:{partition}:iam::{account}:root");
        match template {
            Template::AccountAdministers => vec![root_of(account)],
            // Only dry-run mode works without a role, and creates no key.
            Template::FinishesCreation => role.iter().map(ToString::to_string).collect(),
            Template::CloudTrailEncrypts | Template::CloudTrailDescribes | Template::CloudTrailDecrypts => {
                owners.iter().map(|owner| format!("arn:{partition}:cloudtrail:*:{owner}:trail/*")).collect()
            }
            Template::LogReaders => readers.principals.iter().map(ToString::to_string).collect(),
            Template::ReaderAccounts => readers.accounts.iter().map(root_of).collect(),
            Template::OrganizationReaders => readers.organizations.iter().map(ToString::to_string).collect(),
            Template::AccountReaders => readers.own_account.then(|| account.to_string()).into_iter().collect(),
        }
    }
}

impl KeyPolicy {
    /// The policy of the sealing key in the function's account, for this configuration.
    #[must_use]
    pub fn new(config: &Config, function_arn: &FunctionArn) -> Self {
        let (partition, account) = (function_arn.partition(), function_arn.account());
        // The management account owns organization trails, also those that a delegated administrator manages.
        let mut owners: Vec<&AccountId> = std::iter::once(account).chain(&config.org_trail_owner).collect();
        owners.dedup();
        let inputs =
            PolicyInputs { partition, account, owners, role: config.role_arn.as_ref(), readers: &config.log_readers };
        let statements = inputs.statements();
        Self { version: VERSION, statements, partition: partition.clone(), account: account.clone() }
    }

    /// The policy's text, as `CreateKey` takes it.
    #[must_use]
    pub fn text(&self) -> String {
        json!(self).to_string()
    }

    /// The policy as a parsed document.
    #[must_use]
    pub fn document(&self) -> Document {
        Document::new(self.statements.iter().map(|statement| json!(statement)))
    }

    /// The statements that allow CloudTrail to use the key, as JSON, for the owner of a policy that trailseal does not
    /// edit.
    #[must_use]
    pub fn cloudtrail_statements(&self) -> String {
        let cloudtrail = json!({ "Service": CLOUDTRAIL });
        let statements: Vec<&KeyPolicyStatement> =
            self.statements.iter().filter(|it| it.principal == cloudtrail).collect();
        json!(statements).to_string()
    }

    /// Those of these statements whose call no statement of the evaluated policy allows. `None`: none would help.
    #[must_use]
    pub fn missing_statements(&self, access: &KeyAccess) -> Option<String> {
        let is_missing = |statement: &&KeyPolicyStatement| {
            let decision = match statement.template {
                Template::CloudTrailEncrypts => &access.generate_data_key,
                Template::CloudTrailDescribes => &access.describe_key,
                Template::CloudTrailDecrypts => &access.decrypt,
                _ => return false,
            };
            decision.is_denied() && decision.explicit_deny().is_none()
        };
        let missing: Vec<&KeyPolicyStatement> = self.statements.iter().filter(is_missing).collect();
        (!missing.is_empty()).then(|| json!(missing).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, home};

    fn policy(variables: &[(&str, &str)]) -> Value {
        json!(KeyPolicy::new(&config(variables), &home()))
    }

    fn sids(policy: &Value) -> Vec<&str> {
        policy["Statement"].as_array().unwrap().iter().map(|it| it["Sid"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_policy_names_the_account_the_role_and_cloudtrail() {
        let trails = "arn:aws:cloudtrail:*:123456789012:trail/*";
        let expected = json!({
            "Version": "2012-10-17",
            "Statement": [
                { "Sid": "AccountAdministersThroughIam", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" }, "Action": "kms:*", "Resource": "*" },
                { "Sid": "TrailsealFinishesCreation", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:role/trailseal" },
                  "Action": ["kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:CreateAlias"], "Resource": "*" },
                { "Sid": "CloudTrailEncrypts", "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "kms:GenerateDataKey*", "Resource": "*",
                  "Condition": { "ArnLike": { "aws:SourceArn": trails }, "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": trails } } },
                { "Sid": "CloudTrailDescribes", "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "kms:DescribeKey", "Resource": "*",
                  "Condition": { "ArnLike": { "aws:SourceArn": trails } } },
                { "Sid": "CloudTrailDecryptsForBucketKeys", "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "kms:Decrypt", "Resource": "*",
                  "Condition": { "ArnLike": { "aws:SourceArn": trails } } },
            ]
        });
        assert_eq!(policy(&[]), expected);
    }

    #[test]
    fn every_reader_needs_to_use_s3() {
        let policy = policy(&[(
            "TRAILSEAL_LOG_READERS",
            "arn:aws:iam::210987654321:role/siem,arn:aws:iam::123456789012:user/ann,210987654321,o-abcdefghij,account",
        )]);
        assert_eq!(
            &sids(&policy)[5..],
            ["LogReadersDecrypt", "ReaderAccountsDecrypt", "OrganizationReadersDecrypt", "AccountReadersDecrypt"]
        );
        let statements = &policy["Statement"].as_array().unwrap()[5..];
        for statement in statements {
            assert_eq!(statement["Action"], "kms:Decrypt");
            assert_eq!(statement["Condition"]["StringLike"], json!({ "kms:ViaService": "s3.*" }));
        }
        assert_eq!(
            statements[0]["Condition"]["ArnEquals"]["aws:PrincipalArn"],
            json!(["arn:aws:iam::123456789012:user/ann", "arn:aws:iam::210987654321:role/siem"])
        );
        assert_eq!(statements[1]["Principal"], json!({ "AWS": "arn:aws:iam::210987654321:root" }));
        assert_eq!(statements[2]["Condition"]["StringEquals"], json!({ "aws:PrincipalOrgID": "o-abcdefghij" }));
        assert_eq!(statements[3]["Condition"]["StringEquals"], json!({ "kms:CallerAccount": "123456789012" }));
    }

    #[test]
    fn the_organization_trail_owner_is_added() {
        let policy = policy(&[("TRAILSEAL_ORG_TRAIL_OWNER", "999999999999")]);
        let trails = json!(["arn:aws:cloudtrail:*:123456789012:trail/*", "arn:aws:cloudtrail:*:999999999999:trail/*"]);
        for statement in &policy["Statement"].as_array().unwrap()[2..] {
            assert_eq!(statement["Condition"]["ArnLike"]["aws:SourceArn"], trails);
        }
    }

    #[test]
    fn no_principal_is_a_reader_that_can_be_deleted() {
        let readers = "arn:aws:iam::210987654321:role/siem,arn:aws:iam::123456789012:user/ann";
        for statement in policy(&[("TRAILSEAL_LOG_READERS", readers)])["Statement"].as_array().unwrap() {
            let principal = statement["Principal"].to_string();
            assert!(!principal.contains("siem") && !principal.contains("ann"), "{principal}");
        }
    }

    #[test]
    fn cloudtrail_statements_are_those_for_cloudtrail_alone() {
        let text = KeyPolicy::new(&config(&[]), &home()).cloudtrail_statements();
        let statements: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(statements.len(), 3);
    }

    #[test]
    fn only_statements_that_help_are_missing() {
        use crate::iam::{Decision, StatementId};
        let policy = KeyPolicy::new(&config(&[]), &home());
        let missing = |generate_data_key, describe_key, decrypt| -> Option<Vec<String>> {
            let text = policy.missing_statements(&KeyAccess { generate_data_key, describe_key, decrypt })?;
            let statements: Vec<Value> = serde_json::from_str(&text).unwrap();
            Some(statements.iter().map(|it| it["Sid"].as_str().unwrap().to_owned()).collect())
        };
        let none = || Decision::ImplicitDeny(vec![]);
        let allow = || Decision::Allowed(StatementId { index: 0, sid: None });
        let deny = || Decision::ExplicitDeny(StatementId { index: 0, sid: None });
        let some = |sids: &[&str]| Some(sids.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(missing(allow(), none(), allow()), some(&["CloudTrailDescribes"]));
        let rest = some(&["CloudTrailEncrypts", "CloudTrailDecryptsForBucketKeys"]);
        assert_eq!(missing(none(), Decision::Unknown(vec![]), none()), rest);
        assert_eq!(missing(deny(), none(), allow()), some(&["CloudTrailDescribes"]));
        assert_eq!(missing(deny(), allow(), deny()), None);
    }
}

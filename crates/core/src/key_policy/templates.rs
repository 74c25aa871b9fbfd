//! The key policy that trailseal writes. It names services, account roots and the function's role and
//! never which trail asked, so one key serves every trail whose bucket is in its Region.

use serde::Serialize;
use serde_json::{Value, json};

use crate::access::CLOUDTRAIL;
use crate::config::{Config, LogReaders};
use crate::ids::{AccountId, FunctionArn, Partition, RoleArn};

/// The version of the policy language.
pub(super) const VERSION: &str = "2012-10-17";

/// A key policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub struct KeyPolicy {
    version: &'static str,
    pub(super) statement: Vec<Statement>,
    /// Where the key is.
    #[serde(skip)]
    pub(super) partition: Partition,
    /// Whose key it is.
    #[serde(skip)]
    pub(super) account: AccountId,
}

/// A statement that trailseal writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    pub(super) sid: String,
    effect: &'static str,
    pub(super) principal: Value,
    action: Value,
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
    #[serde(skip)]
    pub(super) template: Template,
    /// Those whom it lets in, in its template's terms.
    #[serde(skip)]
    pub(super) whom: Vec<String>,
}

impl Statement {
    fn of(template: Template, whom: Vec<String>) -> Self {
        Self::some_of(template, template.actions(), whom)
    }

    /// The statement of that template with some of its actions.
    pub(super) fn some_of(template: Template, actions: &[&str], whom: Vec<String>) -> Self {
        let those = one_or_many(whom.iter().cloned());
        Self {
            sid: template.sid().to_owned(),
            effect: "Allow",
            principal: template.principal(&those),
            action: one_or_many(actions.iter().map(|&action| action.to_owned())),
            // In a key policy, `*` means the key itself.
            resource: "*",
            condition: template.condition(&those),
            template,
            whom,
        }
    }
}

/// The statements that trailseal writes, by what they are for. Each has either one action or one whom
/// it lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// For the account's root.
    AccountAdministers,
    /// For the function's role.
    FinishesCreation,
    /// For patterns of trails, as are the next two.
    CloudTrailEncrypts,
    CloudTrailDescribes,
    CloudTrailDecrypts,
    /// For the ARNs of roles and users.
    LogReaders,
    /// For the roots of accounts.
    ReaderAccounts,
    /// For the ids of organizations.
    OrganizationReaders,
    /// For the account's own id.
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
        match self {
            Self::AccountAdministers => "AccountAdministersThroughIam",
            Self::FinishesCreation => "TrailsealFinishesCreation",
            Self::CloudTrailEncrypts => "CloudTrailEncrypts",
            Self::CloudTrailDescribes => "CloudTrailDescribes",
            Self::CloudTrailDecrypts => "CloudTrailDecryptsForBucketKeys",
            Self::LogReaders => "LogReadersDecrypt",
            Self::ReaderAccounts => "ReaderAccountsDecrypt",
            Self::OrganizationReaders => "OrganizationReadersDecrypt",
            Self::AccountReaders => "AccountReadersDecrypt",
        }
    }

    /// The template whose statement has that `Sid`, or that and a number because it was taken.
    pub(super) fn of_sid(sid: &str) -> Option<Self> {
        let number = |rest: &str| {
            let digits = rest.chars().all(|c| c.is_ascii_digit()) && !rest.starts_with('0');
            digits && rest.parse::<u32>().is_ok_and(|number| number >= 2)
        };
        let is_its = |it: &Self| sid.strip_prefix(it.sid()).is_some_and(|rest| rest.is_empty() || number(rest));
        Self::ALL.into_iter().find(is_its)
    }

    pub(super) fn actions(self) -> &'static [&'static str] {
        match self {
            Self::AccountAdministers => &["kms:*"],
            Self::FinishesCreation => &["kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:CreateAlias"],
            Self::CloudTrailEncrypts => &["kms:GenerateDataKey*"],
            Self::CloudTrailDescribes => &["kms:DescribeKey"],
            Self::CloudTrailDecrypts
            | Self::LogReaders
            | Self::ReaderAccounts
            | Self::OrganizationReaders
            | Self::AccountReaders => &["kms:Decrypt"],
        }
    }

    fn principal(self, whom: &Value) -> Value {
        match self {
            Self::AccountAdministers | Self::FinishesCreation | Self::ReaderAccounts => json!({ "AWS": whom }),
            Self::CloudTrailEncrypts | Self::CloudTrailDescribes | Self::CloudTrailDecrypts => {
                json!({ "Service": CLOUDTRAIL })
            }
            Self::LogReaders | Self::OrganizationReaders | Self::AccountReaders => json!("*"),
        }
    }

    /// What CloudTrail's requests carry:
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>.
    /// Readers are bound to S3 rather than to an encryption context, which an S3 Bucket Key changes.
    fn condition(self, whom: &Value) -> Option<Value> {
        let through_s3 = json!({ "kms:ViaService": "s3.*" });
        Some(match self {
            Self::AccountAdministers | Self::FinishesCreation => return None,
            Self::CloudTrailEncrypts => json!({
                "ArnLike": { "aws:SourceArn": whom },
                "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": whom },
            }),
            // DescribeKey has no encryption context, and with an S3 Bucket Key it is the bucket.
            Self::CloudTrailDescribes | Self::CloudTrailDecrypts => json!({ "ArnLike": { "aws:SourceArn": whom } }),
            Self::LogReaders => json!({ "ArnEquals": { "aws:PrincipalArn": whom }, "StringLike": through_s3 }),
            Self::ReaderAccounts => json!({ "StringLike": through_s3 }),
            Self::OrganizationReaders => {
                json!({ "StringEquals": { "aws:PrincipalOrgID": whom }, "StringLike": through_s3 })
            }
            Self::AccountReaders => json!({ "StringEquals": { "kms:CallerAccount": whom }, "StringLike": through_s3 }),
        })
    }
}

/// One text, or an array of several.
pub(super) fn one_or_many(texts: impl IntoIterator<Item = String>) -> Value {
    let mut texts: Vec<Value> = texts.into_iter().map(Value::String).collect();
    match (texts.len(), texts.pop()) {
        (1, Some(only)) => only,
        (_, last) => texts.into_iter().chain(last).collect(),
    }
}

/// What decides which statements trailseal writes for a key.
pub struct Terms<'a> {
    /// Where the key is.
    pub partition: &'a Partition,
    /// Whose key it is.
    pub account: &'a AccountId,
    /// Whose trails use it, each account once.
    pub owners: Vec<&'a AccountId>,
    /// The function's role, which finishes a key that it made.
    pub role: Option<&'a RoleArn>,
    /// Who decrypts what CloudTrail encrypts.
    pub readers: &'a LogReaders,
}

impl Terms<'_> {
    /// The statements, those for log readers last.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        let statements = Template::ALL.into_iter().map(|template| Statement::of(template, self.whom(template)));
        statements.filter(|statement| !statement.whom.is_empty()).collect()
    }

    fn whom(&self, template: Template) -> Vec<String> {
        let Self { partition, account, owners, role, readers } = self;
        let root_of = |account: &AccountId| format!("arn:{partition}:iam::{account}:root");
        match template {
            Template::AccountAdministers => vec![root_of(account)],
            // Without a role (in dry-run it may be unset) nothing can be created, so nothing is missing.
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
    /// The policy of the sealing key in `home`'s account, for that configuration.
    #[must_use]
    pub fn of(config: &Config, home: &FunctionArn) -> Self {
        let (partition, account) = (home.partition(), home.account());
        // The owner of an organization trail is the management account, also where a delegated
        // administrator looks after it.
        let mut owners: Vec<&AccountId> = std::iter::once(account).chain(&config.org_trail_owner).collect();
        owners.dedup();
        let terms = Terms { partition, account, owners, role: config.role_arn.as_ref(), readers: &config.log_readers };
        let statement = terms.statements();
        Self { version: VERSION, statement, partition: partition.clone(), account: account.clone() }
    }

    /// The policy's text, as `CreateKey` takes it.
    #[must_use]
    pub fn text(&self) -> String {
        json!(self).to_string()
    }

    /// The statements that let CloudTrail in, as text, for somebody to add to a policy that is not
    /// trailseal's to edit.
    #[must_use]
    pub fn statements_for_cloudtrail(&self) -> String {
        let cloudtrail = json!({ "Service": CLOUDTRAIL });
        let statements: Vec<&Statement> = self.statement.iter().filter(|it| it.principal == cloudtrail).collect();
        json!(statements).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, home};

    fn policy(variables: &[(&str, &str)]) -> Value {
        json!(KeyPolicy::of(&config(variables), &home()))
    }

    fn sids(policy: &Value) -> Vec<&str> {
        policy["Statement"].as_array().unwrap().iter().map(|it| it["Sid"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_policy_lets_in_the_account_the_role_and_cloudtrail_for_this_accounts_trails() {
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
    fn every_kind_of_reader_is_bound_to_s3() {
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
    fn the_owner_of_organization_trails_is_let_in_beside_the_account() {
        let policy = policy(&[("TRAILSEAL_ORG_TRAIL_OWNER", "999999999999")]);
        let trails = json!(["arn:aws:cloudtrail:*:123456789012:trail/*", "arn:aws:cloudtrail:*:999999999999:trail/*"]);
        for statement in &policy["Statement"].as_array().unwrap()[2..] {
            assert_eq!(statement["Condition"]["ArnLike"]["aws:SourceArn"], trails);
        }
    }

    #[test]
    fn no_principal_is_a_reader_who_could_be_deleted() {
        let readers = "arn:aws:iam::210987654321:role/siem,arn:aws:iam::123456789012:user/ann";
        for statement in policy(&[("TRAILSEAL_LOG_READERS", readers)])["Statement"].as_array().unwrap() {
            let principal = statement["Principal"].to_string();
            assert!(!principal.contains("siem") && !principal.contains("ann"), "{principal}");
        }
    }

    #[test]
    fn the_statements_for_another_keys_owner_are_those_for_cloudtrail_alone() {
        let text = KeyPolicy::of(&config(&[]), &home()).statements_for_cloudtrail();
        let statements: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(statements.len(), 3);
    }
}

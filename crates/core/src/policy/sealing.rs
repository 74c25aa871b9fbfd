//! The key policy that trailseal writes. It names services, account roots and the function's role and
//! never which trail asked, so one key serves every trail whose bucket is in its Region.

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{Config, LogReaders};
use crate::ids::{AccountId, FunctionArn, Partition, PrincipalArn};
use crate::policy::CLOUDTRAIL;

/// A key policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub struct KeyPolicy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    principal: Value,
    action: Value,
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
}

impl Statement {
    fn allow(sid: &'static str, principal: Value, action: Value, condition: Option<Value>) -> Self {
        // In a key policy, `*` means the key itself.
        Self { sid, effect: "Allow", principal, action, resource: "*", condition }
    }
}

/// One text, or an array of several.
fn one_or_many(texts: impl IntoIterator<Item = String>) -> Value {
    let mut texts: Vec<Value> = texts.into_iter().map(Value::String).collect();
    match (texts.len(), texts.pop()) {
        (1, Some(only)) => only,
        (_, last) => texts.into_iter().chain(last).collect(),
    }
}

fn root_of(partition: &Partition, account: &AccountId) -> String {
    format!("arn:{partition}:iam::{account}:root")
}

impl KeyPolicy {
    /// The policy of the sealing key in `home`'s account, for that configuration.
    #[must_use]
    pub fn of(config: &Config, home: &FunctionArn) -> Self {
        let mut statement = vec![Statement::allow(
            "AccountAdministersThroughIam",
            json!({ "AWS": root_of(home.partition(), home.account()) }),
            json!("kms:*"),
            None,
        )];
        // Without a role (in dry-run it may be unset) nothing can be created, so nothing is missing.
        statement.extend(config.role_arn.as_ref().map(|role| {
            Statement::allow(
                "TrailsealFinishesCreation",
                json!({ "AWS": role.as_str() }),
                json!(["kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:CreateAlias"]),
                None,
            )
        }));
        statement.extend(for_cloudtrail(config, home));
        statement.extend(for_readers(&config.log_readers, home));
        Self { version: "2012-10-17", statement }
    }

    /// The policy's text, as `CreateKey` takes it.
    #[must_use]
    pub fn text(&self) -> String {
        json!(self).to_string()
    }

    /// Whether `text` is this very policy. Compared as JSON, since AWS may lay a document out anew.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        serde_json::from_str::<Value>(text).is_ok_and(|other| other == json!(self))
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

/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html>.
/// The owner of an organization trail is the management account, also where a delegated
/// administrator looks after it.
fn for_cloudtrail(config: &Config, home: &FunctionArn) -> [Statement; 3] {
    let owners = std::iter::once(home.account()).chain(&config.org_trail_owner);
    let mut trails: Vec<String> =
        owners.map(|account| format!("arn:{}:cloudtrail:*:{account}:trail/*", home.partition())).collect();
    trails.dedup();
    let trails = one_or_many(trails);
    let cloudtrail = || json!({ "Service": CLOUDTRAIL });
    let by_our_trails = json!({ "ArnLike": { "aws:SourceArn": trails } });
    let of_our_trails = json!({
        "ArnLike": { "aws:SourceArn": trails },
        "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": trails },
    });
    [
        Statement::allow("CloudTrailEncrypts", cloudtrail(), json!("kms:GenerateDataKey*"), Some(of_our_trails)),
        // DescribeKey has no encryption context.
        Statement::allow("CloudTrailDescribes", cloudtrail(), json!("kms:DescribeKey"), Some(by_our_trails.clone())),
        // With an S3 Bucket Key the encryption context is the bucket.
        Statement::allow("CloudTrailDecryptsForBucketKeys", cloudtrail(), json!("kms:Decrypt"), Some(by_our_trails)),
    ]
}

/// Readers are bound to S3 rather than to an encryption context, which an S3 Bucket Key changes.
fn for_readers(readers: &LogReaders, home: &FunctionArn) -> Vec<Statement> {
    let LogReaders { principals, accounts, organizations, own_account } = readers;
    let decrypt = || json!("kms:Decrypt");
    let through_s3 = || json!({ "kms:ViaService": "s3.*" });
    let mut statements = Vec::new();
    if !principals.is_empty() {
        let arns = one_or_many(principals.iter().map(PrincipalArn::to_string));
        let condition = json!({ "ArnEquals": { "aws:PrincipalArn": arns }, "StringLike": through_s3() });
        statements.push(Statement::allow("LogReadersDecrypt", json!("*"), decrypt(), Some(condition)));
    }
    if !accounts.is_empty() {
        let roots = one_or_many(accounts.iter().map(|account| root_of(home.partition(), account)));
        let condition = json!({ "StringLike": through_s3() });
        statements.push(Statement::allow("ReaderAccountsDecrypt", json!({ "AWS": roots }), decrypt(), Some(condition)));
    }
    if !organizations.is_empty() {
        let ids = one_or_many(organizations.iter().map(ToString::to_string));
        let condition = json!({ "StringEquals": { "aws:PrincipalOrgID": ids }, "StringLike": through_s3() });
        statements.push(Statement::allow("OrganizationReadersDecrypt", json!("*"), decrypt(), Some(condition)));
    }
    if *own_account {
        let condition =
            json!({ "StringEquals": { "kms:CallerAccount": home.account().as_str() }, "StringLike": through_s3() });
        statements.push(Statement::allow("AccountReadersDecrypt", json!("*"), decrypt(), Some(condition)));
    }
    statements
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
    fn a_policy_is_recognised_however_it_is_laid_out_and_not_when_anything_differs() {
        let policy = KeyPolicy::of(&config(&[]), &home());
        let mut value = json!(policy);
        assert!(policy.is(&serde_json::to_string_pretty(&value).unwrap()));
        value["Statement"][0]["Effect"] = json!("Deny");
        assert!(!policy.is(&value.to_string()));
        assert!(!policy.is("no JSON"));
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

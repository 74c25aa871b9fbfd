//! Who outside the account can decrypt log files with a key.

use crate::access::decrypt::decide_decrypt;
use crate::access::principal_set::{PrincipalKind, external_principals};
use crate::iam::{Decision, Document, Statement, StatementId};
use crate::ids::{AccountId, KeyArn};

/// Principals outside the account that a key policy allows to decrypt log files through S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decrypter {
    /// The principals as the key policy names them: an ARN or a pattern of ARNs, an account's ID, an organization, a
    /// service, `*`.
    pub name: String,
    /// The statement that allows it.
    pub statement: StatementId,
    /// Whether it certainly does, as far as the policy decides.
    pub certain: bool,
}

/// The principals outside `account` that a key policy may allow to decrypt log files, by statement. CloudTrail is left
/// out. Those of other accounts also need their own IAM policies.
#[must_use]
pub fn decrypters(policy: &Document, key: &KeyArn, account: &AccountId) -> Vec<Decrypter> {
    let denies: Vec<&Statement> = policy.statements().iter().filter(|it| !it.is_allow()).collect();
    let mut found: Vec<Decrypter> = Vec::new();
    for (id, statement) in policy.identified().filter(|(_, statement)| statement.is_allow()) {
        let alone = policy.with_statements(denies.iter().copied().chain([statement]).cloned());
        for set in external_principals(statement, account) {
            let certain = match decide_decrypt(&alone, key, &set) {
                Decision::Allowed(_) | Decision::Delegated(_) => set.kind != PrincipalKind::Unknown,
                Decision::Unknown(_) => false,
                Decision::ExplicitDeny(_) | Decision::ImplicitDeny(_) => continue,
            };
            if found.iter().all(|known| known.name != set.name || known.statement != id) {
                found.push(Decrypter { name: set.name, statement: id.clone(), certain });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(statements: Vec<Value>) -> Vec<(String, bool)> {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
        let found = decrypters(&Document::new(statements), &key, &"123456789012".parse().unwrap());
        found.into_iter().map(|it| (it.name, it.certain)).collect()
    }

    fn allow(principal: Value, action: &str, condition: Value) -> Value {
        json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", "Condition": condition })
    }

    #[test]
    fn only_outsiders_that_can_decrypt_are_found() {
        let organization = json!({ "StringEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } });
        let account = "arn:aws:iam::210987654321:root";
        let statements = vec![
            allow(json!({ "AWS": "arn:aws:iam::123456789012:root" }), "kms:*", json!({})),
            allow(json!({ "Service": "cloudtrail.amazonaws.com" }), "kms:*", json!({})),
            allow(json!({ "AWS": account }), "kms:Decrypt", json!({ "StringLike": { "kms:ViaService": "s3.*" } })),
            allow(json!({ "AWS": "arn:aws:iam::210987654321:role/x" }), "kms:Encrypt", json!({})),
            allow(json!("*"), "kms:Decrypt", organization),
            allow(
                json!({ "AWS": "arn:aws:iam::210987654321:role/vpc" }),
                "kms:*",
                json!({ "StringEquals": { "aws:SourceVpce": "vpce-1" } }),
            ),
            allow(
                json!({ "AWS": "arn:aws:iam::210987654321:role/ec2" }),
                "kms:*",
                json!({ "StringLike": { "kms:ViaService": "ec2.*" } }),
            ),
        ];
        let own = |name: &str, certain| (name.to_owned(), certain);
        assert_eq!(
            found(statements),
            [own(account, true), own("o-abcdefghij", true), own("arn:aws:iam::210987654321:role/vpc", false)]
        );
    }

    #[test]
    fn a_deny_takes_permission_away() {
        let everyone = || allow(json!("*"), "kms:*", json!({}));
        assert_eq!(found(vec![everyone()]), [("*".to_owned(), true)]);
        let mut deny = everyone();
        deny["Effect"] = json!("Deny");
        assert!(found(vec![everyone(), deny.clone()]).is_empty());
        deny["Condition"] = json!({ "Bool": { "aws:MultiFactorAuthPresent": "false" } });
        assert_eq!(found(vec![everyone(), deny]), [("*".to_owned(), false)]);
    }
}

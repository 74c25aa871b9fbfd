//! What to report about a key policy: whether trailseal wrote in it, which readers it still allows that the
//! configuration no longer names, and which statements KMS rejects.

use crate::iam::element::{Effect, Element};
use crate::iam::pattern::matches_action;
use crate::iam::principal::Principal;
use crate::iam::statement::Elements;
use crate::iam::truth::Truth;
use crate::iam::{Document, Reason, Statement};
use crate::ids::{AccountId, OrganizationId, PrincipalArn, split_arn};
use crate::key_policy::templates::{KeyPolicy, Template};

/// A reader that one of trailseal's statements allows to decrypt and that the configuration does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrevokedReader {
    /// The statement's `Sid`.
    pub sid: String,
    /// The reader, as `TRAILSEAL_LOG_READERS` names it.
    pub reader: String,
}

/// Who may change a key, as far as its policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdministrator {
    /// Principals of the key's account, perhaps.
    Account,
    /// The function's role only.
    Role,
    /// No principal: KMS calls such a key unmanageable, and only AWS Support can help.
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>.
    NoPrincipal,
}

impl KeyPolicy {
    /// Who may change a key policy. Only principals of the key's own account can:
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html>.
    #[must_use]
    pub fn administrator(&self, document: &Document) -> KeyAdministrator {
        self.caller(document, "kms:PutKeyPolicy")
    }

    /// Who may enable a key, if necessary after its deletion is canceled or its policy is changed.
    #[must_use]
    pub fn restorer(&self, document: &Document, pending_deletion: bool) -> KeyAdministrator {
        let may = |action| self.caller(document, action) != KeyAdministrator::NoPrincipal;
        match self.administrator(document) {
            KeyAdministrator::NoPrincipal
                if may("kms:EnableKey") && (!pending_deletion || may("kms:CancelKeyDeletion")) =>
            {
                KeyAdministrator::Account
            }
            administrator => administrator,
        }
    }

    /// Who may make a call that only principals of the key's own account can make.
    fn caller(&self, document: &Document, action: &str) -> KeyAdministrator {
        let roles = self.statements.iter().filter(|own| own.template == Template::FinishesCreation);
        let roles: Vec<&str> = roles.flat_map(|own| &own.values).map(String::as_str).collect();
        if !document.unsupported().is_empty() {
            return KeyAdministrator::Account;
        }
        let elements: Vec<Option<&Elements>> = document.statements().iter().map(|it| it.elements().ok()).collect();
        let denies_everyone =
            |it: &Elements| it.effect == Effect::Deny && is_unconditional(it) && names_everyone(it) && is_about_all(it);
        let may_call = |it: &Elements| it.action.matches("Action", |pattern| matches_action(pattern, action));
        if elements.iter().flatten().any(|it| denies_everyone(it) && may_call(it) == Truth::Yes) {
            return KeyAdministrator::NoPrincipal;
        }
        // A malformed statement may allow anything.
        let allows = |names: &dyn Fn(&Elements) -> bool| {
            elements
                .iter()
                .any(|it| it.is_none_or(|it| it.effect == Effect::Allow && may_call(it) != Truth::No && names(it)))
        };
        let names_other = |it: &Elements| may_name(it, |name| !roles.contains(&name) && self.is_in_account(name));
        let names_role = |it: &Elements| may_name(it, |name| roles.contains(&name));
        if allows(&names_other) {
            KeyAdministrator::Account
        } else if allows(&names_role) {
            KeyAdministrator::Role
        } else {
            KeyAdministrator::NoPrincipal
        }
    }

    fn is_in_account(&self, name: &str) -> bool {
        let account = self.account.as_str();
        name == "*" || name == account || split_arn(name).is_some_and(|arn| arn.account == account)
    }

    /// Whether a key policy has one of trailseal's `Sid`s, which anyone can write.
    #[must_use]
    pub fn has_trailseal_sid(document: &Document) -> bool {
        document.statements().iter().filter_map(Statement::sid).any(|sid| Template::of_sid(sid).is_some())
    }

    /// The readers that trailseal's statements allow and this policy does not name. A statement that was changed is no
    /// longer trailseal's.
    #[must_use]
    pub fn unrevoked_readers(&self, document: &Document) -> Vec<UnrevokedReader> {
        let mut unrevoked = Vec::new();
        for statement in document.statements() {
            let sid = statement.sid().unwrap_or_default();
            let Some(template) = Template::of_sid(sid) else { continue };
            for (value, reader) in self.readers(statement, template).unwrap_or_default() {
                if !self.statements.iter().any(|own| own.template == template && own.values.contains(&value)) {
                    unrevoked.push(UnrevokedReader { sid: sid.to_owned(), reader });
                }
            }
        }
        unrevoked
    }

    /// The statements because of which KMS rejects a policy, even with this policy's extension. Their owner has to fix
    /// them.
    #[must_use]
    pub fn rejected_statements(&self, document: &Document) -> Vec<Reason> {
        let (document, _) = self.with_current_role(document);
        let identified = document.identified().filter_map(|(id, statement)| Some((id, statement.elements().ok()?)));
        let reasons = identified.flat_map(|(id, elements)| {
            rejections(elements).into_iter().map(move |why| Reason { statement: Some(id.clone()), why })
        });
        reasons.collect()
    }

    /// The values of a statement, each with its reader as the configuration names it, if the statement is exactly what
    /// trailseal writes for readers.
    fn readers(&self, statement: &Statement, template: Template) -> Option<Vec<(String, String)>> {
        let permissions = self.permissions(statement)?;
        let values = match template {
            Template::LogReaders => permissions.values("ArnEquals", "aws:PrincipalArn"),
            Template::ReaderAccounts => permissions.aws_principals(),
            Template::OrganizationReaders => permissions.values("StringEquals", "aws:PrincipalOrgID"),
            Template::AccountReaders => permissions.values("StringEquals", "kms:CallerAccount"),
            _ => return None,
        };
        let written = self.own_permissions(&template.statement(template.actions(), values.clone()))?;
        let unchanged = written.covers(&permissions) && permissions.covers(&written);
        let reader = |value: String| self.configured_name(template, &value).map(|reader| (value, reader));
        if unchanged { values.into_iter().map(reader).collect() } else { None }
    }

    fn configured_name(&self, template: Template, value: &str) -> Option<String> {
        let account = |id: &str| id.parse().ok().map(|id: AccountId| id.to_string());
        match template {
            Template::LogReaders => value.parse().ok().map(|arn: PrincipalArn| arn.to_string()),
            Template::OrganizationReaders => value.parse().ok().map(|id: OrganizationId| id.to_string()),
            Template::ReaderAccounts => {
                let root = split_arn(value).filter(|arn| arn.service == "iam" && arn.resource == "root")?;
                account(root.account)
            }
            _ if value == self.account.as_str() => Some("account".to_owned()),
            _ => account(value),
        }
    }
}

fn is_unconditional(elements: &Elements) -> bool {
    elements.conditions.is_empty() && elements.unsupported.is_empty()
}

/// Whether a statement is certainly about the key. Its ARN may be another key's.
fn is_about_all(elements: &Elements) -> bool {
    matches!(&elements.resource, Element::Is(resources) if resources.iter().any(|it| it == "*"))
}

fn names_everyone(elements: &Elements) -> bool {
    matches!(&elements.principal, Element::Is(principals) if principals.iter().any(Principal::is_everyone))
}

/// Whether a statement may name a principal of the kind `AWS` with such a name, and which was not deleted.
fn may_name(elements: &Elements, is_meant: impl Fn(&str) -> bool) -> bool {
    match &elements.principal {
        Element::Is(principals) => {
            principals.iter().any(|it| it.kind == "AWS" && !it.is_deleted() && is_meant(&it.name))
        }
        Element::Missing => false,
        Element::Not(_) | Element::Malformed(_) => true,
    }
}

/// Why KMS rejects every policy with a statement.
fn rejections(elements: &Elements) -> Vec<String> {
    let Elements { principal, action, resource, .. } = elements;
    // Source: <https://repost.aws/knowledge-center/kms-policy-error-invalid-principals>.
    let deleted = principal.named().into_iter().flatten().filter(|it| it.is_deleted());
    let deleted = deleted.map(|it| format!("it names `{}`, the ID of a deleted role or user", it.name));
    // Such a statement has no effect, and since August 2025 KMS rejects it.
    // Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html>.
    let missing = [("Action", action), ("Resource", resource)].into_iter().filter(|(_, it)| **it == Element::Missing);
    deleted.chain(missing.map(|(name, _)| format!("it has no `{name}`"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{changed_policy, document, key_policy};

    const DELETED: &str = "AROADBQP57FF2AEXAMPLE";

    #[test]
    fn a_key_without_an_administrator_is_unmanageable() {
        use KeyAdministrator::{Account, NoPrincipal, Role};
        let allow = |principal: &str, action: &str| json!({ "Effect": "Allow", "Principal": { "AWS": principal }, "Action": action, "Resource": "*" });
        let root = "arn:aws:iam::123456789012:root";
        let role = "arn:aws:iam::123456789012:role/trailseal";
        let deny = |principal: serde_json::Value, action: &str| json!({ "Effect": "Deny", "Principal": principal, "Action": action, "Resource": "*" });
        let conditional = json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { "StringNotEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } } });
        let of_another_key = json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy",
            "Resource": "arn:aws:kms:eu-west-1:123456789012:key/another" });
        for (statements, administrator) in [
            (json!([allow(root, "kms:*")]), Account),
            (json!([allow("123456789012", "kms:Put*")]), Account),
            (json!([allow("arn:aws:iam::123456789012:user/ann", "kms:PutKeyPolicy")]), Account),
            (json!([allow("*", "*")]), Account),
            (json!([allow(role, "kms:PutKeyPolicy"), allow(root, "kms:Describe*")]), Role),
            (json!([allow(role, "kms:PutKeyPolicy"), allow(root, "kms:PutKeyPolicy")]), Account),
            (json!([allow(root, "kms:Decrypt")]), NoPrincipal),
            (json!([allow("arn:aws:iam::210987654321:root", "kms:*")]), NoPrincipal),
            (json!([allow(DELETED, "kms:*")]), NoPrincipal),
            (
                json!([{ "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "kms:*", "Resource": "*" }]),
                NoPrincipal,
            ),
            (json!([allow(root, "kms:*"), deny(json!("*"), "kms:PutKeyPolicy")]), NoPrincipal),
            (json!([allow(root, "kms:*"), deny(json!("*"), "kms:ScheduleKeyDeletion")]), Account),
            (json!([allow(root, "kms:*"), conditional]), Account),
            (json!([allow(root, "kms:*"), of_another_key]), Account),
            (json!([7]), Account),
        ] {
            let document = document(&json!({ "Version": "2012-10-17", "Statement": statements }));
            assert_eq!(key_policy("").administrator(&document), administrator, "{statements}");
        }
        let enable = || allow(root, "kms:EnableKey");
        for (statements, pending_deletion, restorer) in [
            (json!([allow(root, "kms:*")]), true, Account),
            (json!([enable()]), false, Account),
            (json!([enable()]), true, NoPrincipal),
            (json!([enable(), allow(root, "kms:Cancel*")]), true, Account),
            (json!([allow(root, "kms:*"), deny(json!("*"), "kms:PutKeyPolicy")]), true, Account),
            (json!([allow(root, "kms:*"), deny(json!("*"), "kms:*")]), false, NoPrincipal),
            (json!([allow(root, "kms:Describe*")]), false, NoPrincipal),
            (json!([allow(role, "kms:PutKeyPolicy")]), false, Role),
        ] {
            let document = document(&json!({ "Version": "2012-10-17", "Statement": statements }));
            assert_eq!(key_policy("").restorer(&document, pending_deletion), restorer, "{statements}");
        }
    }

    #[test]
    fn a_statement_without_action_or_resource_is_rejected() {
        let halves = changed_policy("", |statements| {
            statements.push(json!({ "Effect": "Allow", "Principal": "*", "Action": "kms:List*" }));
            statements.push(json!({ "Sid": "x", "Effect": "Deny", "NotPrincipal": { "AWS": DELETED }, "NotAction": "a:b", "NotResource": "*" }));
            statements.push(json!({ "Sid": "y", "Effect": "Deny", "Principal": "*" }));
        });
        let reasons: Vec<String> =
            key_policy("").rejected_statements(&halves).iter().map(ToString::to_string).collect();
        assert_eq!(
            reasons,
            [
                "statement number 6: it has no `Resource`",
                "statement `x`: it names `AROADBQP57FF2AEXAMPLE`, the ID of a deleted role or user",
                "statement `y`: it has no `Action`",
                "statement `y`: it has no `Resource`",
            ]
        );
    }

    #[test]
    fn one_sid_is_enough_also_with_a_number() {
        let with = |sid: &str| KeyPolicy::has_trailseal_sid(&document(&json!({ "Statement": [7, { "Sid": sid }] })));
        assert!(with("CloudTrailEncrypts") && with("CloudTrailEncrypts12"));
        for foreign in [
            "",
            "CloudTrail",
            "CloudTrailEncrypts1",
            "CloudTrailEncrypts02",
            "CloudTrailEncrypts+2",
            "CloudTrailEncryptsX",
        ] {
            assert!(!with(foreign), "{foreign}");
        }
    }

    #[test]
    fn unrevoked_readers_are_named_as_configured() {
        let all =
            "arn:aws:iam::210987654321:role/siem,arn:aws:iam::123456789012:user/ann,210987654321,o-abcdefghij,account";
        let found = |document: &Document, readers: &str| -> Vec<String> {
            key_policy(readers)
                .unrevoked_readers(document)
                .into_iter()
                .map(|it| format!("{} {}", it.sid, it.reader))
                .collect()
        };
        let whole = changed_policy(all, |_| {});
        assert!(found(&whole, all).is_empty());
        assert_eq!(
            found(&whole, "arn:aws:iam::123456789012:user/ann"),
            [
                "LogReadersDecrypt arn:aws:iam::210987654321:role/siem",
                "ReaderAccountsDecrypt 210987654321",
                "OrganizationReadersDecrypt o-abcdefghij",
                "AccountReadersDecrypt account",
            ]
        );
        let reshaped = changed_policy(all, |statements| {
            statements[5]["Sid"] = json!("LogReadersDecrypt9");
            statements[6]["Principal"] = json!({ "AWS": ["210987654321", "arn:aws:iam::210987654321:role/siem"] });
            statements[7]["Action"] = json!("kms:*");
            statements[8]["Condition"]["StringEquals"]["kms:CallerAccount"] = json!("999999999999");
            let mut narrower = statements[5].clone();
            narrower["Condition"]["Bool"] = json!({ "aws:MultiFactorAuthPresent": "true" });
            statements.push(narrower);
        });
        assert_eq!(
            found(&reshaped, "arn:aws:iam::210987654321:role/siem"),
            ["LogReadersDecrypt9 arn:aws:iam::123456789012:user/ann", "AccountReadersDecrypt 999999999999"]
        );
    }

    #[test]
    fn the_root_and_the_role_are_not_readers() {
        let both = "123456789012,arn:aws:iam::123456789012:role/trailseal";
        let unrevoked_readers = key_policy("").unrevoked_readers(&changed_policy(both, |_| {}));
        let readers: Vec<String> = unrevoked_readers.into_iter().map(|it| it.reader).collect();
        assert_eq!(readers, ["arn:aws:iam::123456789012:role/trailseal", "123456789012"]);
    }
}

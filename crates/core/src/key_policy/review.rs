//! What is to be said about the policy of a key: whether trailseal wrote in it, whom it still lets in
//! that the configuration no longer names, and what in it KMS would not take back.

use serde_json::Value;

use crate::iam::principal::is_unique_id;
use crate::iam::{Document, Statement as Theirs};
use crate::iam::{Reason, StatementId};
use crate::ids::{AccountId, OrganizationId, PrincipalArn, split_arn};
use crate::key_policy::templates::{KeyPolicy, Statement, Template};

/// A reader whom a key's policy lets in by a statement of trailseal's and the configuration does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrevokedReader {
    /// The statement's `Sid`.
    pub sid: String,
    /// The reader, as `TRAILSEAL_LOG_READERS` would name it.
    pub reader: String,
}

impl KeyPolicy {
    /// Whether a key's policy looks as if trailseal had written in it, which anybody else can have done.
    #[must_use]
    pub fn resembles(document: &Document) -> bool {
        document.statements().iter().filter_map(Theirs::sid).any(|sid| Template::of_sid(sid).is_some())
    }

    /// The readers whom statements of trailseal's let in and this policy does not name. A statement that
    /// somebody has reshaped is no longer trailseal's.
    #[must_use]
    pub fn unrevoked_readers(&self, document: &Document) -> Vec<UnrevokedReader> {
        let mut unrevoked_readers = Vec::new();
        for theirs in document.statements() {
            let sid = theirs.sid().unwrap_or_default();
            let Some(template) = Template::of_sid(sid) else { continue };
            for (whom, reader) in self.readers(theirs, template).unwrap_or_default() {
                let configured = |ours: &Statement| ours.template == template && ours.whom.contains(&whom);
                if !self.statement.iter().any(configured) {
                    unrevoked_readers.push(UnrevokedReader { sid: sid.to_owned(), reader });
                }
            }
        }
        unrevoked_readers
    }

    /// The statements on account of which KMS would refuse a policy even with this one's extension, and
    /// why: they are somebody else's to mend.
    #[must_use]
    pub fn rejected_statements(&self, document: &Document) -> Vec<Reason> {
        let (document, _) = self.with_present_role(document);
        let mut reasons = Vec::new();
        for (index, theirs) in document.statements().iter().enumerate() {
            let statement = StatementId { index, sid: theirs.sid().map(str::to_owned) };
            let names = |id: &str| format!("it names `{id}`, the id of a deleted role or user");
            let whys = deleted(theirs).into_iter().map(names);
            let whys = whys.chain(lacking(theirs).into_iter().map(|element| format!("it has no `{element}`")));
            reasons.extend(whys.map(|why| Reason { statement: Some(statement.clone()), why }));
        }
        reasons
    }

    /// Whom a statement lets in, and as what reader, if it is exactly what trailseal writes for readers.
    fn readers(&self, theirs: &Theirs, template: Template) -> Option<Vec<(String, String)>> {
        let theirs = self.read(theirs)?;
        let whom = match template {
            Template::LogReaders => theirs.values("ArnEquals", "aws:PrincipalArn"),
            Template::ReaderAccounts => theirs.principals("AWS"),
            Template::OrganizationReaders => theirs.values("StringEquals", "aws:PrincipalOrgID"),
            Template::AccountReaders => theirs.values("StringEquals", "kms:CallerAccount"),
            Template::AccountAdministers
            | Template::FinishesCreation
            | Template::CloudTrailEncrypts
            | Template::CloudTrailDescribes
            | Template::CloudTrailDecrypts => return None,
        };
        let written = self.grant(&Statement::some_of(template, template.actions(), whom.clone()))?;
        if !(written.covers(&theirs) && theirs.covers(&written)) {
            return None;
        }
        whom.into_iter().map(|whom| self.reader(template, &whom).map(|reader| (whom, reader))).collect()
    }

    /// A reader in the configuration's words.
    fn reader(&self, template: Template, whom: &str) -> Option<String> {
        match template {
            Template::LogReaders => whom.parse().ok().map(|arn: PrincipalArn| arn.to_string()),
            Template::OrganizationReaders => whom.parse().ok().map(|id: OrganizationId| id.to_string()),
            Template::ReaderAccounts => {
                let arn = split_arn(whom).filter(|arn| arn.service == "iam" && arn.resource == "root")?;
                arn.account.parse().ok().map(|id: AccountId| id.to_string())
            }
            _ if whom == self.account.as_str() => Some("account".to_owned()),
            _ => whom.parse().ok().map(|id: AccountId| id.to_string()),
        }
    }
}

/// The ids of deleted roles and users that a statement names. KMS refuses every policy that names a
/// principal that does not exist.
/// Source: <https://repost.aws/knowledge-center/kms-policy-error-invalid-principals>.
fn deleted(theirs: &Theirs) -> Vec<&str> {
    let Ok(members) = theirs.members() else { return Vec::new() };
    let elements = ["Principal", "NotPrincipal"].into_iter().filter_map(|element| members.get(element)?.get("AWS"));
    let names = elements.flat_map(|names| match names {
        Value::Array(names) => names.iter().collect(),
        one => vec![one],
    });
    names.filter_map(Value::as_str).filter(|name| is_unique_id(name)).collect()
}

/// The required elements that a statement lacks. KMS once took such a statement, which has no effect,
/// and refuses the policy since August 2025.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html>.
fn lacking(theirs: &Theirs) -> Vec<&'static str> {
    let Ok(members) = theirs.members() else { return Vec::new() };
    let lacks =
        |(element, opposite): &(&str, &str)| !members.contains_key(*element) && !members.contains_key(*opposite);
    let pairs = [("Action", "NotAction"), ("Resource", "NotResource")];
    pairs.into_iter().filter(lacks).map(|(element, _)| element).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{config, home};

    const DELETED: &str = "AROADBQP57FF2AEXAMPLE";

    fn policy(readers: &str) -> KeyPolicy {
        KeyPolicy::new(&config(&[("TRAILSEAL_LOG_READERS", readers)]), &home())
    }

    fn document(value: &Value) -> Document {
        Document::parse(&value.to_string()).unwrap()
    }

    /// trailseal's policy, changed.
    fn changed(readers: &str, change: impl Fn(&mut Vec<Value>)) -> Document {
        let mut value = json!(policy(readers));
        change(value["Statement"].as_array_mut().unwrap());
        document(&value)
    }

    #[test]
    fn a_statement_without_action_or_resource_is_named() {
        let halves = changed("", |statements| {
            statements.push(json!({ "Effect": "Allow", "Principal": "*", "Action": "kms:List*" }));
            statements.push(json!({ "Sid": "x", "Effect": "Deny", "NotPrincipal": { "AWS": DELETED }, "NotAction": "a:b", "NotResource": "*" }));
            statements.push(json!({ "Sid": "y", "Effect": "Deny", "Principal": "*" }));
        });
        let told: Vec<String> = policy("").rejected_statements(&halves).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "statement number 6: it has no `Resource`",
                "statement `x`: it names `AROADBQP57FF2AEXAMPLE`, the id of a deleted role or user",
                "statement `y`: it has no `Action`",
                "statement `y`: it has no `Resource`",
            ]
        );
    }

    #[test]
    fn a_policy_resembles_ours_by_one_sid() {
        let with = |sid: &str| KeyPolicy::resembles(&document(&json!({ "Statement": [7, { "Sid": sid }] })));
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
    fn readers_who_are_not_configured_any_more_are_named_as_they_were_configured() {
        let all =
            "arn:aws:iam::210987654321:role/siem,arn:aws:iam::123456789012:user/ann,210987654321,o-abcdefghij,account";
        let found = |document: &Document, readers: &str| -> Vec<String> {
            policy(readers)
                .unrevoked_readers(document)
                .into_iter()
                .map(|it| format!("{} {}", it.sid, it.reader))
                .collect()
        };
        let whole = changed(all, |_| {});
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
        let reshaped = changed(all, |statements| {
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
    fn who_is_let_in_for_another_reason_is_no_configured_reader() {
        let both = "123456789012,arn:aws:iam::123456789012:role/trailseal";
        let unrevoked_readers = policy("").unrevoked_readers(&changed(both, |_| {}));
        let readers: Vec<String> = unrevoked_readers.into_iter().map(|it| it.reader).collect();
        assert_eq!(readers, ["arn:aws:iam::123456789012:role/trailseal", "123456789012"]);
    }
}

//! What the policy of a key that exists lacks of trailseal's, and the policy with it: statements are
//! appended, and nothing that is there is altered.
//!
//! The one exception is trailseal's own statement for the function's role. Where that role was deleted
//! since, KMS would refuse the policy, and the present role takes its place.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::iam::principal::{is_unique_id, texts};
use crate::iam::{Document, Statement as Theirs};
use crate::key_policy::coverage::Grant;
use crate::key_policy::equal::raw_equal;
use crate::key_policy::templates::{KeyPolicy, Statement, Template};

/// The longest key policy that KMS takes, in bytes.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>.
pub const MAX_BYTES: usize = 32_768;

/// A key's policy with what it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Extension {
    /// The extended policy.
    pub document: Document,
    /// The statements that are appended, in their order.
    pub added: Vec<Value>,
    /// The `Sid`s of the statements in which the function's present role takes a deleted one's place.
    pub rewritten: Vec<String>,
    /// Whether anything hangs on it. A finished key does well without the statement that lets the
    /// function's role finish it, which is added where something else is.
    pub needed: bool,
}

impl Extension {
    /// Whether KMS would take a policy of that length.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.document.text().len() <= MAX_BYTES
    }

    /// Whether a policy contains every added statement, besides any others.
    #[must_use]
    pub fn is_applied_to(&self, document: &Document) -> bool {
        let contains = |added: &Value| document.statements().iter().any(|it| raw_equal(it.raw(), &added.to_string()));
        self.rewritten.is_empty() && self.added.iter().all(contains)
    }

    /// What to change in the policy, with the exact statements.
    #[must_use]
    pub fn instruction(&self) -> String {
        let mut words = Vec::new();
        if !self.rewritten.is_empty() {
            words.push(format!("replace the deleted role by the function's role in {}", quoted(&self.rewritten)));
        }
        if !self.added.is_empty() {
            words.push(format!("add {}", json!(self.added)));
        }
        words.join(" and ")
    }

    /// The changed statements, by `Sid`.
    #[must_use]
    pub fn summary(&self) -> String {
        let sids: Vec<String> = self.sids().into_iter().map(str::to_owned).collect();
        quoted(&sids)
    }

    /// The `Sid`s of the statements that are rewritten, then of those that are appended.
    #[must_use]
    pub fn sids(&self) -> Vec<&str> {
        let added = self.added.iter().filter_map(|statement| statement.get("Sid")?.as_str());
        self.rewritten.iter().map(String::as_str).chain(added).collect()
    }
}

/// A JSON text without the white space between its parts.
fn without_layout(text: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let is_part = |c: &char| {
        let part = in_text || !c.is_ascii_whitespace();
        in_text ^= *c == '"' && !escaped;
        escaped = in_text && *c == '\\' && !escaped;
        part
    };
    text.chars().filter(is_part).collect()
}

fn quoted(sids: &[String]) -> String {
    let quoted: Vec<String> = sids.iter().map(|sid| format!("`{sid}`")).collect();
    quoted.join(", ")
}

impl KeyPolicy {
    /// What a key's policy needs so that it grants everything that this one grants. None: nothing.
    ///
    /// A grant is missing if no single statement is sure to cover it; a Deny is not looked at. Whether
    /// the policy then lets CloudTrail in is for the evaluator to say.
    #[must_use]
    pub fn full_extension(&self, document: &Document) -> Option<Extension> {
        let (mut extended, rewritten) = self.with_present_role(document);
        let granted: Vec<Grant> = extended.statements().iter().filter_map(|theirs| self.read(theirs)).collect();
        let mut added = Vec::new();
        let mut needed = !rewritten.is_empty();
        for mut missing in self.statement.iter().filter_map(|ours| self.missing(ours, &granted)) {
            needed |= missing.template != Template::FinishesCreation;
            missing.sid = free_sid(missing.template.sid(), document);
            let missing = json!(missing);
            extended = extended.with(&missing);
            added.push(missing);
        }
        if added.is_empty() && rewritten.is_empty() {
            return None;
        }
        // The layout of a policy is its owner's choice, as long as there is room for it.
        if extended.text().len() > MAX_BYTES {
            extended = Document::parse(&without_layout(&extended.text())).unwrap_or(extended);
        }
        Some(Extension { document: extended, added, rewritten, needed })
    }

    /// [`Self::full_extension`], if a finished key needs it.
    #[must_use]
    pub fn extension(&self, document: &Document) -> Option<Extension> {
        self.full_extension(document).filter(|extension| extension.needed)
    }

    /// Whether a key's policy is one that trailseal may have written for a smaller configuration: it has
    /// statements, and each is an Allow that grants no more than one of this policy's. A deleted role in
    /// the function's place counts as the present one.
    #[must_use]
    pub fn covers(&self, document: &Document) -> bool {
        let (document, _) = self.with_present_role(document);
        let ours: Vec<Grant> = self.statement.iter().filter_map(|ours| self.grant(ours)).collect();
        let covered =
            |theirs: &Theirs| self.read(theirs).is_some_and(|theirs| ours.iter().any(|ours| ours.covers(&theirs)));
        document.unsupported().is_empty()
            && !document.statements().is_empty()
            && document.statements().iter().all(covered)
    }

    /// Whether a key's policy lets the function's role itself finish the key, so that its own IAM policy is
    /// not needed for that. True where no role is configured: nothing is finished then.
    #[must_use]
    pub fn role_can_finish(&self, document: &Document) -> bool {
        let granted: Vec<Grant> = document.statements().iter().filter_map(|theirs| self.read(theirs)).collect();
        let mut for_the_role = self.statement.iter().filter(|ours| ours.template == Template::FinishesCreation);
        for_the_role.all(|ours| self.missing(ours, &granted).is_none())
    }

    pub(super) fn grant(&self, ours: &Statement) -> Option<Grant> {
        Grant::read(json!(ours).as_object()?, &self.partition)
    }

    /// None: nothing that could be relied on.
    pub(super) fn read(&self, theirs: &Theirs) -> Option<Grant> {
        Grant::read(theirs.members().ok()?, &self.partition)
    }

    /// The part of a statement of ours that no statement covers, as a statement of its template.
    ///
    /// It is looked at piece by piece, since different statements may cover different pieces. As a
    /// template has one action or one whom it is for, the pieces that are missing are one statement.
    fn missing(&self, ours: &Statement, granted: &[Grant]) -> Option<Statement> {
        let template = ours.template;
        let is_missing = |action: &str, whom: &str| {
            let piece = self.grant(&Statement::some_of(template, &[action], vec![whom.to_owned()]));
            !piece.is_some_and(|piece| granted.iter().any(|theirs| theirs.covers(&piece)))
        };
        let (mut actions, mut whom) = (BTreeSet::new(), BTreeSet::new());
        for &action in template.actions() {
            for name in ours.whom.iter().filter(|name| is_missing(action, name)) {
                actions.insert(action);
                whom.insert(name.as_str());
            }
        }
        let actions: Vec<&str> = template.actions().iter().copied().filter(|it| actions.contains(it)).collect();
        let whom: Vec<String> = ours.whom.iter().filter(|it| whom.contains(it.as_str())).cloned().collect();
        (!actions.is_empty()).then(|| Statement::some_of(template, &actions, whom))
    }

    /// The document with the function's present role in the place of deleted ones, and the `Sid`s of the
    /// statements where it took one.
    pub(super) fn with_present_role(&self, document: &Document) -> (Document, Vec<String>) {
        let mut sids = Vec::new();
        let mut renewed = document.clone();
        for (index, theirs) in document.statements().iter().enumerate() {
            if let Some((sid, statement)) = self.with_present_role_in(theirs) {
                renewed = renewed.replacing(index, &statement);
                sids.push(sid.to_owned());
            }
        }
        (renewed, sids)
    }

    /// None unless the statement is trailseal's for the function's role, unchanged but for the role,
    /// which was deleted. The ids of roles begin with `AROA`:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
    fn with_present_role_in<'a>(&self, theirs: &'a Theirs) -> Option<(&'a str, Value)> {
        let ours = self.statement.iter().find(|ours| ours.template == Template::FinishesCreation)?;
        let sid = theirs.sid().filter(|sid| Template::of_sid(sid) == Some(ours.template))?;
        let members = theirs.members().ok()?;
        let principals = members.get("Principal")?.as_object().filter(|kinds| kinds.len() == 1)?;
        let names = texts(principals.get("AWS")?)?;
        let deleted = names.iter().all(|name| name.starts_with("AROA") && is_unique_id(name));
        if !deleted || members.contains_key("Condition") || texts(members.get("Resource")?)? != ["*"] {
            return None;
        }
        let mut renewed = members.clone();
        renewed.insert("Principal".to_owned(), ours.principal.clone());
        let grant = Grant::read(&renewed, &self.partition)?;
        self.grant(ours)?.covers(&grant).then_some((sid, Value::Object(renewed)))
    }
}

/// That `Sid` if no statement has it, or else with the smallest number from 2 that makes it free.
fn free_sid(sid: &str, document: &Document) -> String {
    let taken = |sid: &String| document.statements().iter().any(|theirs| theirs.sid() == Some(sid));
    let numbered = (2..=u32::MAX).map(|number| format!("{sid}{number}"));
    std::iter::once(sid.to_owned()).chain(numbered).find(|sid| !taken(sid)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::testing::{config, home};

    const READERS: &str = "TRAILSEAL_LOG_READERS";
    const DELETED: &str = "AROADBQP57FF2AEXAMPLE";

    fn policy(readers: &str) -> KeyPolicy {
        KeyPolicy::new(&config(&[(READERS, readers)]), &home())
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

    fn sids(extension: Option<Extension>) -> Vec<String> {
        extension.iter().flat_map(Extension::sids).map(str::to_owned).collect()
    }

    #[test]
    fn a_whole_policy_needs_nothing_and_an_empty_one_everything() {
        let ours = policy("account");
        assert_eq!(ours.full_extension(&changed("account", |_| {})), None);
        let all = ours.full_extension(&document(&json!({ "Statement": [] }))).unwrap();
        assert_eq!(json!(all.added), json!(ours)["Statement"]);
        assert!(all.fits() && all.rewritten.is_empty());
    }

    #[test]
    fn what_is_missing_of_one_kind_is_one_statement_under_a_free_sid() {
        let extension =
            policy("o-abcdefghij,o-bbbbbbbbbb,o-cccccccccc").full_extension(&changed("o-bbbbbbbbbb", |_| {})).unwrap();
        assert_eq!(extension.sids(), ["OrganizationReadersDecrypt2"]);
        assert_eq!(
            extension.added[0]["Condition"]["StringEquals"]["aws:PrincipalOrgID"],
            json!(["o-abcdefghij", "o-cccccccccc"])
        );
        let role = changed("", |statements| {
            statements[1]["Action"] = json!("kms:CreateAlias");
            statements[2]["Sid"] = json!("TrailsealFinishesCreation2");
            statements.push(json!({ "Sid": "TrailsealFinishesCreation4" }));
        });
        let extension = policy("").full_extension(&role).unwrap();
        assert_eq!(extension.sids(), ["TrailsealFinishesCreation3"]);
        assert_eq!(extension.added[0]["Action"], json!(["kms:PutKeyPolicy", "kms:EnableKeyRotation"]));
    }

    #[test]
    fn what_others_grant_in_other_words_is_not_granted_again() {
        let in_other_words = changed("210987654321", |statements| {
            statements[0]["Principal"]["AWS"] = json!(["123456789012", "123456789012"]);
            statements[1]["Action"] = json!(["kms:createalias", "kms:Put*", "kms:Enable*", "kms:Put*"]);
            statements[3]["Condition"] = json!({});
            statements[5]["Principal"] = json!("*");
            for statement in statements {
                statement.as_object_mut().unwrap().remove("Sid");
            }
        });
        assert_eq!(policy("210987654321").full_extension(&in_other_words), None);
    }

    #[test]
    fn an_owner_of_organization_trails_is_added_to_what_cloudtrail_may() {
        let owner = KeyPolicy::new(&config(&[("TRAILSEAL_ORG_TRAIL_OWNER", "999999999999")]), &home());
        let extension = owner.full_extension(&changed("", |_| {})).unwrap();
        assert_eq!(
            extension.sids(),
            ["CloudTrailEncrypts2", "CloudTrailDescribes2", "CloudTrailDecryptsForBucketKeys2"]
        );
        let trails = "arn:aws:cloudtrail:*:999999999999:trail/*";
        assert_eq!(
            extension.added[0]["Condition"],
            json!({ "ArnLike": { "aws:SourceArn": trails }, "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": trails } })
        );
    }

    #[test]
    fn a_statement_that_stood_alone_becomes_the_first_of_several() {
        let alone = r#"{"Version":"2012-10-17","Id":"x","Statement":{"Sid" : "Mine","Effect":"Allow","Principal":"*","Action":"kms:List*","Resource":"*"}}"#;
        let extension = policy("").full_extension(&Document::parse(alone).unwrap()).unwrap();
        assert!(
            extension.document.text().starts_with(r#"{"Version":"2012-10-17","Id":"x","Statement":[{"Sid" : "Mine","#)
        );
        assert_eq!(extension.added.len(), 5);
    }

    #[test]
    fn the_present_role_takes_a_deleted_ones_place() {
        let stale = changed("", |statements| {
            statements[1]["Principal"]["AWS"] = json!([DELETED]);
            statements[1]["Sid"] = json!("TrailsealFinishesCreation7");
        });
        let extension = policy("").full_extension(&stale).unwrap();
        assert_eq!(extension.sids(), ["TrailsealFinishesCreation7"]);
        let expected = changed("", |statements| statements[1]["Sid"] = json!("TrailsealFinishesCreation7"));
        assert_eq!(extension.document.text(), expected.text());
        assert!(policy("").covers(&stale) && policy("").rejected_statements(&stale).is_empty());

        let partly = changed("", |statements| {
            statements[1]["Principal"]["AWS"] = json!(DELETED);
            statements[1]["Action"] = json!("kms:PutKeyPolicy");
        });
        assert_eq!(
            sids(policy("").full_extension(&partly)),
            ["TrailsealFinishesCreation", "TrailsealFinishesCreation2"]
        );
    }

    #[test]
    fn a_deleted_role_in_any_other_statement_is_named_and_stays() {
        let role = |key: &'static str, value: Value| {
            changed("", move |statements| {
                statements[1]["Principal"]["AWS"] = json!(DELETED);
                statements[1][key] = value.clone();
            })
        };
        for foreign in [
            role("Sid", json!("TrailsealFinishesCreation1")),
            role("Sid", json!("Mine")),
            role("Effect", json!("Deny")),
            role("Action", json!(["kms:PutKeyPolicy", "kms:Decrypt"])),
            role("Resource", json!(["*", "arn:aws:kms:eu-west-1:123456789012:key/x"])),
            role("Condition", json!({})),
            role("Principal", json!({ "AWS": [DELETED, "arn:aws:iam::123456789012:role/r"] })),
            role("Principal", json!({ "AWS": DELETED, "Service": "s3.amazonaws.com" })),
            role("Principal", json!({ "AWS": "AIDADBQP57FF2AEXAMPLE" })),
        ] {
            let extension = policy("").full_extension(&foreign).unwrap();
            assert!(extension.rewritten.is_empty() && extension.added.len() == 1, "{}", foreign.text());
            let reasons = policy("").rejected_statements(&foreign);
            assert_eq!(reasons.len(), 1);
            assert_eq!(reasons[0].statement.as_ref().unwrap().index, 1);
            assert!(reasons[0].to_string().ends_with("the id of a deleted role or user"));
        }
        let roleless = Config::parse(|_| None).unwrap();
        let stale = role("Resource", json!("*"));
        assert_eq!(KeyPolicy::new(&roleless, &home()).full_extension(&stale), None);
        assert_eq!(KeyPolicy::new(&roleless, &home()).rejected_statements(&stale).len(), 1);
    }

    #[test]
    fn a_policy_longer_than_kms_takes_does_not_fit() {
        let text_of = |length: usize| {
            let with = |id: &str| document(&json!({ "Id": id, "Statement": [] }));
            let rest = policy("").full_extension(&with("")).unwrap().document.text().len();
            policy("").full_extension(&with(&"x".repeat(length - rest))).unwrap()
        };
        assert!(text_of(MAX_BYTES).fits());
        assert_eq!(text_of(MAX_BYTES).document.text().len(), 32_768);
        assert!(!text_of(MAX_BYTES + 1).fits());
    }

    #[test]
    fn a_smaller_configurations_policy_is_covered_and_nothing_else() {
        let ours = policy("account,210987654321");
        for document in [changed("account", |_| {}), changed("210987654321", |statements| drop(statements.remove(0)))] {
            assert!(ours.covers(&document));
        }
        for document in [
            changed("o-abcdefghij", |_| {}),
            changed("", Vec::clear),
            changed("", |statements| statements[0]["Effect"] = json!("Deny")),
            changed("", |statements| statements[0]["Principal"] = json!("*")),
            changed("", |statements| drop(statements[3].as_object_mut().unwrap().remove("Condition"))),
            changed("", |statements| drop(statements[0].as_object_mut().unwrap().remove("Resource"))),
            changed("", |statements| statements.push(json!(7))),
            Document::parse(&policy("").text().replace("2012-10-17", "2026-01-01")).unwrap(),
        ] {
            assert!(!ours.covers(&document), "{}", document.text());
        }
    }
}

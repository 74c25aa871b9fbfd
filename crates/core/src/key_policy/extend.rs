//! Which of trailseal's statements an existing key policy lacks, and the policy with them. Statements are appended, and
//! no existing statement is altered.
//!
//! The one exception is trailseal's own statement for the function's role. If that role was deleted, KMS rejects every
//! new policy that still names it, so the current role replaces it.

use serde_json::{Value, json};

use crate::iam;
use crate::iam::Document;
use crate::iam::element::Element;
use crate::key_policy::coverage::Permissions;
use crate::key_policy::equal::json_equal;
use crate::key_policy::templates::{KeyPolicy, KeyPolicyStatement, Template};

/// The longest key policy that KMS accepts, in bytes.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html>.
pub const MAX_BYTES: usize = 32_768;

/// A key's policy with the statements that it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Extension {
    /// The extended policy.
    pub document: Document,
    /// The appended statements, in order.
    pub added: Vec<Value>,
    /// The `Sid`s of the statements in which the function's current role replaces a deleted one.
    pub rewritten: Vec<String>,
    /// Whether a finished key needs the extension. False if it only adds the statement that allows the function's role
    /// to finish the key.
    pub needed: bool,
}

impl Extension {
    /// Whether the extended policy is short enough for KMS.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.document.text().len() <= MAX_BYTES
    }

    /// Whether a policy contains every added statement, besides any others.
    #[must_use]
    pub fn is_applied_to(&self, document: &Document) -> bool {
        let contains = |added: &Value| document.statements().iter().any(|it| json_equal(it.raw(), &added.to_string()));
        self.rewritten.is_empty() && self.added.iter().all(contains)
    }

    /// The `Sid`s of the rewritten statements, then of the added ones.
    #[must_use]
    pub fn sids(&self) -> Vec<&str> {
        let added = self.added.iter().filter_map(|statement| statement.get("Sid")?.as_str());
        self.rewritten.iter().map(String::as_str).chain(added).collect()
    }
}

/// A JSON text without the white space between its tokens.
fn minified(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let is_token = |c: &char| {
        let token = in_text || !c.is_ascii_whitespace();
        in_text ^= *c == '"' && !escaped;
        escaped = in_text && *c == '\\' && !escaped;
        token
    };
    json.chars().filter(is_token).collect()
}

impl KeyPolicy {
    /// What a key policy needs to allow everything that this one allows; `None` if it does.
    ///
    /// A permission is missing if no single statement certainly covers it. Deny statements do not count:
    /// [`crate::access::cloudtrail_key_access`] decides whether CloudTrail can use the key.
    #[must_use]
    pub fn full_extension(&self, document: &Document) -> Option<Extension> {
        let (mut extended, rewritten) = self.with_current_role(document);
        let existing = self.permissions_in(&extended);
        let mut added = Vec::new();
        let mut needed = !rewritten.is_empty();
        for mut missing in self.statements.iter().filter_map(|own| self.missing(own, &existing)) {
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
            extended = Document::parse(&minified(&extended.text())).unwrap_or(extended);
        }
        Some(Extension { document: extended, added, rewritten, needed })
    }

    /// [`Self::full_extension`], if a finished key needs it.
    #[must_use]
    pub fn extension(&self, document: &Document) -> Option<Extension> {
        self.full_extension(document).filter(|extension| extension.needed)
    }

    /// Whether trailseal may have written a key policy for a smaller configuration: it has statements, and each is an
    /// Allow that allows no more than a statement of this policy. A deleted role counts as the function's.
    #[must_use]
    pub fn covers(&self, document: &Document) -> bool {
        let (document, _) = self.with_current_role(document);
        let own: Vec<Permissions> =
            self.statements.iter().filter_map(|statement| self.own_permissions(statement)).collect();
        let covered = |statement: &iam::Statement| {
            self.permissions(statement).is_some_and(|theirs| own.iter().any(|own| own.covers(&theirs)))
        };
        let statements = document.statements();
        document.unsupported().is_empty() && !statements.is_empty() && statements.iter().all(covered)
    }

    /// Whether a key policy allows the function's role to finish the key, without the role's own IAM policy. True if
    /// no role is configured, because then no key is finished.
    #[must_use]
    pub fn role_can_finish(&self, document: &Document) -> bool {
        let existing = self.permissions_in(document);
        let mut for_the_role = self.statements.iter().filter(|own| own.template == Template::FinishesCreation);
        for_the_role.all(|own| self.missing(own, &existing).is_none())
    }

    fn permissions_in(&self, document: &Document) -> Vec<Permissions> {
        document.statements().iter().filter_map(|statement| self.permissions(statement)).collect()
    }

    pub(super) fn own_permissions(&self, statement: &KeyPolicyStatement) -> Option<Permissions> {
        self.permissions(&iam::Statement::from(&json!(statement)))
    }

    pub(super) fn permissions(&self, statement: &iam::Statement) -> Option<Permissions> {
        Permissions::read(statement, &self.partition)
    }

    /// The part of a statement that no existing statement covers, as a statement of its template.
    ///
    /// Each action and value is checked separately, because different statements may cover them. As a template has
    /// either one action or one value, the missing ones fit into one statement.
    fn missing(&self, statement: &KeyPolicyStatement, existing: &[Permissions]) -> Option<KeyPolicyStatement> {
        let KeyPolicyStatement { template, values, .. } = statement;
        let is_missing = |action: &str, value: &String| {
            let piece = self.own_permissions(&template.statement(&[action], vec![value.clone()]));
            !piece.is_some_and(|piece| existing.iter().any(|permissions| permissions.covers(&piece)))
        };
        let pairs = template.actions().iter().flat_map(|&action| values.iter().map(move |value| (action, value)));
        let (mut actions, mut values): (Vec<&str>, Vec<String>) = pairs
            .filter(|(action, value)| is_missing(action, value))
            .map(|(action, value)| (action, value.clone()))
            .unzip();
        actions.dedup();
        values.dedup();
        (!actions.is_empty()).then(|| template.statement(&actions, values))
    }

    /// The document with the function's current role instead of a deleted one, and the `Sid`s of the rewritten
    /// statements.
    pub(super) fn with_current_role(&self, document: &Document) -> (Document, Vec<String>) {
        let mut sids = Vec::new();
        let statements = document.statements().iter().map(|statement| match self.with_current_role_in(statement) {
            Some(rewritten) => {
                sids.extend(statement.sid().map(str::to_owned));
                rewritten
            }
            None => statement.clone(),
        });
        (document.with_statements(statements.collect::<Vec<iam::Statement>>()), sids)
    }

    /// `None` unless the statement is trailseal's for the function's role, unchanged except for the deleted role. The
    /// IDs of roles begin with `AROA`:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
    fn with_current_role_in(&self, statement: &iam::Statement) -> Option<iam::Statement> {
        let own = self.statements.iter().find(|own| own.template == Template::FinishesCreation)?;
        statement.sid().filter(|sid| Template::of_sid(sid) == Some(own.template))?;
        let elements = statement.elements().ok()?;
        let (Element::Is(principals), Element::Is(resources)) = (&elements.principal, &elements.resource) else {
            return None;
        };
        let deleted = principals.iter().all(|it| it.is_deleted() && it.name.starts_with("AROA"));
        let mut json = statement.json();
        if !deleted || *resources != ["*"] || json.get("Condition").is_some() {
            return None;
        }
        json.as_object_mut()?.insert("Principal".to_owned(), own.principal.clone());
        let rewritten = iam::Statement::from(&json);
        self.own_permissions(own)?.covers(&self.permissions(&rewritten)?).then_some(rewritten)
    }
}

/// The `Sid` if no statement has it, otherwise the `Sid` with the smallest free number from 2.
fn free_sid(sid: &str, document: &Document) -> String {
    let taken = |sid: &String| document.statements().iter().any(|statement| statement.sid() == Some(sid));
    let numbered = (2..=u32::MAX).map(|number| format!("{sid}{number}"));
    std::iter::once(sid.to_owned()).chain(numbered).find(|sid| !taken(sid)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::testing::{changed_policy, config, document, home, key_policy};

    const DELETED: &str = "AROADBQP57FF2AEXAMPLE";

    fn sids(extension: Option<Extension>) -> Vec<String> {
        extension.iter().flat_map(Extension::sids).map(str::to_owned).collect()
    }

    #[test]
    fn a_full_policy_needs_nothing_and_an_empty_one_all() {
        let own = key_policy("account");
        assert_eq!(own.full_extension(&changed_policy("account", |_| {})), None);
        let all = own.full_extension(&document(&json!({ "Statement": [] }))).unwrap();
        assert_eq!(json!(all.added), json!(own)["Statement"]);
        assert!(all.fits() && all.rewritten.is_empty());
    }

    #[test]
    fn missing_names_become_one_statement_with_a_free_sid() {
        let extension = key_policy("o-abcdefghij,o-bbbbbbbbbb,o-cccccccccc")
            .full_extension(&changed_policy("o-bbbbbbbbbb", |_| {}))
            .unwrap();
        assert_eq!(extension.sids(), ["OrganizationReadersDecrypt2"]);
        assert_eq!(
            extension.added[0]["Condition"]["StringEquals"]["aws:PrincipalOrgID"],
            json!(["o-abcdefghij", "o-cccccccccc"])
        );
        let role = changed_policy("", |statements| {
            statements[1]["Action"] = json!("kms:CreateAlias");
            statements[2]["Sid"] = json!("TrailsealFinishesCreation2");
            statements.push(json!({ "Sid": "TrailsealFinishesCreation4" }));
        });
        let extension = key_policy("").full_extension(&role).unwrap();
        assert_eq!(extension.sids(), ["TrailsealFinishesCreation3"]);
        assert_eq!(extension.added[0]["Action"], json!(["kms:PutKeyPolicy", "kms:EnableKeyRotation"]));
    }

    #[test]
    fn equivalent_permissions_are_not_added_again() {
        let in_other_words = changed_policy("210987654321", |statements| {
            statements[0]["Principal"]["AWS"] = json!(["123456789012", "123456789012"]);
            statements[1]["Action"] = json!(["kms:createalias", "kms:Put*", "kms:Enable*", "kms:Put*"]);
            statements[3]["Condition"] = json!({});
            statements[5]["Principal"] = json!("*");
            for statement in statements {
                statement.as_object_mut().unwrap().remove("Sid");
            }
        });
        assert_eq!(key_policy("210987654321").full_extension(&in_other_words), None);
    }

    #[test]
    fn an_organization_trail_owner_adds_statements() {
        let owner = KeyPolicy::new(&config(&[("TRAILSEAL_ORG_TRAIL_OWNER", "999999999999")]), &home());
        let extension = owner.full_extension(&changed_policy("", |_| {})).unwrap();
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
    fn a_single_statement_becomes_an_array() {
        let alone = r#"{"Version":"2012-10-17","Id":"x","Statement":{"Sid" : "Mine","Effect":"Allow","Principal":"*","Action":"kms:List*","Resource":"*"}}"#;
        let extension = key_policy("").full_extension(&Document::parse(alone).unwrap()).unwrap();
        assert!(
            extension.document.text().starts_with(r#"{"Version":"2012-10-17","Id":"x","Statement":[{"Sid" : "Mine","#)
        );
        assert_eq!(extension.added.len(), 5);
    }

    #[test]
    fn the_current_role_replaces_a_deleted_one() {
        let stale = changed_policy("", |statements| {
            statements[1]["Principal"]["AWS"] = json!([DELETED]);
            statements[1]["Sid"] = json!("TrailsealFinishesCreation7");
        });
        let extension = key_policy("").full_extension(&stale).unwrap();
        assert_eq!(extension.sids(), ["TrailsealFinishesCreation7"]);
        let expected = changed_policy("", |statements| statements[1]["Sid"] = json!("TrailsealFinishesCreation7"));
        assert_eq!(extension.document.text(), expected.text());
        assert!(key_policy("").covers(&stale) && key_policy("").rejected_statements(&stale).is_empty());

        let partly = changed_policy("", |statements| {
            statements[1]["Principal"]["AWS"] = json!(DELETED);
            statements[1]["Action"] = json!("kms:PutKeyPolicy");
        });
        assert_eq!(
            sids(key_policy("").full_extension(&partly)),
            ["TrailsealFinishesCreation", "TrailsealFinishesCreation2"]
        );
    }

    #[test]
    fn a_deleted_role_elsewhere_is_reported_and_kept() {
        let role = |key: &'static str, value: Value| {
            changed_policy("", move |statements| {
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
            let extension = key_policy("").full_extension(&foreign).unwrap();
            assert!(extension.rewritten.is_empty() && extension.added.len() == 1, "{}", foreign.text());
            let reasons = key_policy("").rejected_statements(&foreign);
            assert_eq!(reasons.len(), 1);
            assert_eq!(reasons[0].statement.as_ref().unwrap().index, 1);
            assert!(reasons[0].to_string().ends_with("the ID of a deleted role or user"));
        }
        let roleless = Config::parse(|_| None).unwrap();
        let stale = role("Resource", json!("*"));
        assert_eq!(KeyPolicy::new(&roleless, &home()).full_extension(&stale), None);
        assert_eq!(KeyPolicy::new(&roleless, &home()).rejected_statements(&stale).len(), 1);
    }

    #[test]
    fn a_policy_longer_than_kms_accepts_does_not_fit() {
        let text_of = |length: usize| {
            let with = |id: &str| document(&json!({ "Id": id, "Statement": [] }));
            let rest = key_policy("").full_extension(&with("")).unwrap().document.text().len();
            key_policy("").full_extension(&with(&"x".repeat(length - rest))).unwrap()
        };
        assert!(text_of(MAX_BYTES).fits());
        assert_eq!(text_of(MAX_BYTES).document.text().len(), 32_768);
        assert!(!text_of(MAX_BYTES + 1).fits());
    }

    #[test]
    fn white_space_goes_only_where_there_is_no_room() {
        let sid = r#"a \\\" b\\"#;
        let text = |space: &str, id: usize| {
            format!("{{ {space}\"Id\" :\t\"{}\",\r\n \"Statement\": [ {{ \"Sid\" : \"{sid}\" }} ] }}", "x".repeat(id))
        };
        let extended = |text: &str| key_policy("").full_extension(&Document::parse(text).unwrap()).unwrap();
        let short = extended(&text("", 1));
        assert!(short.document.text().contains(&format!(r#"{{ "Sid" : "{sid}" }}"#)), "{}", short.document.text());
        let rest = short.document.text().len() - 1;
        // One byte too many, of which white space takes more.
        let long = extended(&text("", MAX_BYTES - rest + 1));
        assert!(long.fits(), "{}", long.document.text().len());
        assert!(long.document.text().contains(&format!(r#"[{{"Sid":"{sid}"}},"#)), "{}", long.document.text());
        let full = extended(&text("", MAX_BYTES - rest));
        assert_eq!(full.document.text().len(), MAX_BYTES);
        assert!(full.document.text().contains(&format!(r#"{{ "Sid" : "{sid}" }}"#)));
    }

    #[test]
    fn an_extension_is_applied_if_every_statement_is_there() {
        let before = changed_policy("", |statements| statements.truncate(2));
        let extension = key_policy("").full_extension(&before).unwrap();
        assert!(!extension.is_applied_to(&before) && extension.is_applied_to(&extension.document));
        assert!(extension.is_applied_to(&extension.document.clone().with(&json!({ "Sid": "Another" }))));
        let partly = changed_policy("", |statements| statements.truncate(3));
        assert!(!extension.is_applied_to(&partly));
        let stale = changed_policy("", |statements| statements[1]["Principal"]["AWS"] = json!(DELETED));
        let rewritten = key_policy("").full_extension(&stale).unwrap();
        assert!(!rewritten.is_applied_to(&rewritten.document), "a rewritten statement is not compared");
    }

    #[test]
    fn the_role_finishes_a_key_only_with_its_statement() {
        let own = key_policy("");
        assert!(own.role_can_finish(&changed_policy("", |_| {})));
        assert!(!own.role_can_finish(&changed_policy("", |statements| drop(statements.remove(1)))));
        let only_the_role = changed_policy("", |statements| statements.truncate(2));
        assert!(own.role_can_finish(&only_the_role), "no other statement matters");
        let roleless = Config::parse(|_| None).unwrap();
        assert!(KeyPolicy::new(&roleless, &home()).role_can_finish(&document(&json!({ "Statement": [] }))));
    }

    #[test]
    fn a_finished_key_does_not_need_the_roles_statement() {
        let without_role = changed_policy("", |statements| drop(statements.remove(1)));
        assert!(key_policy("").full_extension(&without_role).is_some_and(|extension| !extension.needed));
        assert_eq!(key_policy("").extension(&without_role), None);
        let stale = changed_policy("", |statements| statements[1]["Principal"]["AWS"] = json!(DELETED));
        assert!(key_policy("").extension(&stale).is_some(), "KMS rejects every policy that names a deleted role");
    }

    #[test]
    fn only_a_smaller_configurations_policy_is_covered() {
        let own = key_policy("account,210987654321");
        for document in
            [changed_policy("account", |_| {}), changed_policy("210987654321", |statements| drop(statements.remove(0)))]
        {
            assert!(own.covers(&document));
        }
        for document in [
            changed_policy("o-abcdefghij", |_| {}),
            changed_policy("", Vec::clear),
            changed_policy("", |statements| statements[0]["Effect"] = json!("Deny")),
            changed_policy("", |statements| statements[0]["Principal"] = json!("*")),
            changed_policy("", |statements| drop(statements[3].as_object_mut().unwrap().remove("Condition"))),
            changed_policy("", |statements| drop(statements[0].as_object_mut().unwrap().remove("Resource"))),
            changed_policy("", |statements| statements.push(json!(7))),
            Document::parse(&key_policy("").text().replace("2012-10-17", "2026-01-01")).unwrap(),
        ] {
            assert!(!own.covers(&document), "{}", document.text());
        }
    }
}

//! Whom the Allow statements of a policy let in, by name: its principals, and where those are
//! everybody, the people that its conditions are about.

use serde_json::{Map, Value};

use crate::access::CLOUDTRAIL;
use crate::iam::pattern::Pattern;
use crate::iam::principal::{is_unique_id, texts};
use crate::iam::truth::Truth;
use crate::iam::{Caller, Context, Identity, Kind, Statement};
use crate::ids::{AccountId, OrganizationId, Partition, shorten, split_arn};

/// Somebody, or many, whom a statement lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    /// As the policy names them.
    pub(crate) name: String,
    pub(crate) kind: Whom,
    /// Their organization, where the statement wants one and only one.
    organization: Option<String>,
}

/// What kind of somebody it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whom {
    /// A role, a user or a session.
    One(Identity),
    /// An AWS service.
    Service(String),
    /// Those of that account whom its IAM policies let.
    Account(String),
    /// Everybody in an organization, or in a part of it.
    Organization,
    /// Everybody whose ARN is one that this pattern stands for.
    Matching(String),
    /// Everybody, as far as can be told.
    Everybody,
    /// Nobody can tell who.
    Unknown,
}

/// An account that nobody has.
const NOBODYS: &str = "000000000000";

/// Everybody outside an account whom a statement lets in; nobody, if it is no Allow. CloudTrail itself
/// is left out, and so are deleted roles and users.
pub(crate) fn admitted(statement: &Statement, own: &AccountId) -> Vec<Who> {
    let unknown = |name: String| vec![Who { name, kind: Whom::Unknown, organization: None }];
    let members = match statement.members() {
        Ok(members) => members,
        Err(why) => return unknown(format!("whoever it names in a statement that cannot be read: {why}")),
    };
    match members.get("Effect").and_then(Value::as_str) {
        Some("Allow") => {}
        Some("Deny") => return Vec::new(),
        _ => return unknown("whoever it names in a statement whose `Effect` is not known here".to_owned()),
    }
    let organization = match wanted(members, "aws:principalorgid").as_slice() {
        [only] => Some((*only).to_owned()),
        _ => None,
    };
    let kinds = match (members.get("Principal"), members.get("NotPrincipal")) {
        (Some(Value::String(all)), None) if all == "*" => by_condition(members, own),
        (Some(Value::Object(principals)), None) => {
            principals.iter().flat_map(|(kind, entries)| by_principal(kind, entries, members, own)).collect()
        }
        (Some(odd), _) => vec![(shorten(&odd.to_string(), 120), Whom::Unknown)],
        (None, Some(not)) => vec![(format!("everybody but {}", shorten(&not.to_string(), 120)), Whom::Unknown)],
        (None, None) => Vec::new(),
    };
    kinds.into_iter().map(|(name, kind)| Who { name, kind, organization: organization.clone() }).collect()
}

fn by_principal(kind: &str, entries: &Value, members: &Map<String, Value>, own: &AccountId) -> Vec<(String, Whom)> {
    let Some(entries) = texts(entries) else {
        return vec![(shorten(&entries.to_string(), 120), Whom::Unknown)];
    };
    let each = |entry: &&str| match (kind, *entry) {
        ("AWS", "*") => by_condition(members, own),
        ("AWS", id) if is_unique_id(id) => Vec::new(),
        ("AWS", arn) => by_arn(arn, own, Whom::Unknown).into_iter().collect(),
        ("Service", name) => by_service(name).into_iter().collect(),
        (_, entry) if is_of(entry, own) => Vec::new(),
        (_, entry) => vec![(shorten(entry, 200), Whom::Unknown)],
    };
    entries.iter().flat_map(each).collect()
}

fn by_service(name: &str) -> Option<(String, Whom)> {
    (name != CLOUDTRAIL).then(|| (shorten(name, 200), Whom::Service(name.to_owned())))
}

fn is_of(arn: &str, own: &AccountId) -> bool {
    split_arn(arn).is_some_and(|parts| parts.account == own.as_str())
}

/// An ARN or an account's id; `otherwise`: what a text is that is neither.
fn by_arn(text: &str, own: &AccountId, otherwise: Whom) -> Option<(String, Whom)> {
    let kind = match Identity::read(text) {
        Some(Identity { account, kind: Kind::Root, .. }) => Whom::Account(account),
        Some(one) => Whom::One(one),
        None if text.parse::<AccountId>().is_ok() => Whom::Account(text.to_owned()),
        None => otherwise,
    };
    let is_own = match &kind {
        Whom::Account(account) => account == own.as_str(),
        Whom::One(identity) => identity.account == own.as_str(),
        _ => is_of(text, own),
    };
    (!is_own).then(|| (shorten(text, 200), kind))
}

/// Whom a statement for everybody means, by the first of the condition keys that tell.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principal-properties>.
fn by_condition(members: &Map<String, Value>, own: &AccountId) -> Vec<(String, Whom)> {
    let named = |key: &str, value: &str| match key {
        // The bucket's own account.
        _ if value.contains("${aws:ResourceAccount}") || value.contains("${s3:ResourceAccount}") => None,
        _ if value.contains("${") => Some((shorten(value, 200), Whom::Unknown)),
        "aws:principalarn" => by_arn(value, own, Whom::Matching(value.to_owned())),
        "aws:principalservicename" => by_service(value),
        "aws:principalorgid" | "aws:principalorgpaths" => {
            let id = value.split('/').next().unwrap_or_default();
            let known = id.parse::<OrganizationId>().is_ok();
            Some((shorten(value, 200), if known { Whom::Organization } else { Whom::Unknown }))
        }
        // Accounts.
        _ => by_arn(value, own, Whom::Unknown),
    };
    let keys = [
        "aws:principalarn",
        "aws:principalaccount",
        "kms:calleraccount",
        "s3:dataaccesspointaccount",
        "aws:principalservicename",
        "aws:principalorgpaths",
        "aws:principalorgid",
    ];
    for key in keys {
        let values = wanted(members, key);
        if !values.is_empty() {
            return values.into_iter().filter_map(|value| named(key, value)).collect();
        }
    }
    vec![("*".to_owned(), Whom::Everybody)]
}

/// The values of which a request must have one for that key, in lower case, by the statement's conditions.
fn wanted<'a>(members: &'a Map<String, Value>, key: &str) -> Vec<&'a str> {
    let conditions = members.get("Condition").and_then(Value::as_object);
    let operators = conditions.into_iter().flatten().filter(|(operator, _)| {
        let operator = operator.strip_prefix("ForAnyValue:").unwrap_or(operator);
        matches!(operator, "StringEquals" | "StringEqualsIgnoreCase" | "StringLike" | "ArnEquals" | "ArnLike")
    });
    let keys = operators.filter_map(|(_, keys)| keys.as_object()).flatten();
    let values = keys.filter(|(known, _)| known.eq_ignore_ascii_case(key)).filter_map(|(_, values)| texts(values));
    values.flatten().collect()
}

impl Who {
    /// Whether these are many, of whom some may have what the others have not.
    pub(crate) fn are_many(&self) -> bool {
        matches!(self.kind, Whom::Account(_) | Whom::Organization | Whom::Matching(_))
    }

    /// Whether others may be, or be among, these.
    pub(crate) fn may_include(&self, other: &Self) -> bool {
        if let (Whom::Matching(pattern), Whom::One(one)) = (&self.kind, &other.kind) {
            return Pattern::with_wildcards(pattern, true).is_arn(&one.arn) != Truth::No;
        }
        let alike = |ours: Option<&str>, theirs: Option<&str>| ours.is_none() || theirs.is_none() || ours == theirs;
        alike(self.account(), other.account()) && alike(self.organization_id(), other.organization_id())
    }

    /// The same, for members of these people's organization.
    pub(crate) fn within(&self, these: &Self) -> Self {
        let organization = these.organization_id().or(self.organization_id()).map(str::to_owned);
        Self { organization, ..self.clone() }
    }

    fn organization_id(&self) -> Option<&str> {
        match self.kind {
            Whom::Organization => self.name.split('/').next(),
            _ => self.organization.as_deref(),
        }
    }

    /// Their account, where they are all of one.
    fn account(&self) -> Option<&str> {
        match &self.kind {
            Whom::One(Identity { account, .. }) | Whom::Account(account) => Some(account),
            Whom::Matching(pattern) => {
                split_arn(pattern).map(|parts| parts.account).filter(|account| account.parse::<AccountId>().is_ok())
            }
            _ => None,
        }
    }

    /// One of them, to ask a policy about.
    pub(crate) fn example(&self, partition: &Partition) -> Caller {
        let account = self.account().unwrap_or(NOBODYS);
        let somebody = match &self.kind {
            Whom::Service(name) => return Caller::service(name.as_str()),
            Whom::One(identity) => return Caller::Identity(identity.clone()),
            Whom::Matching(pattern) => split_arn(pattern).and_then(|parts| {
                let resource = parts.resource.replace(['*', '?'], "x");
                Identity::read(&format!("arn:{partition}:{}::{account}:{resource}", parts.service))
            }),
            _ => None,
        };
        let arn = || format!("arn:{partition}:iam::{account}:role/somebody");
        somebody.or_else(|| Identity::read(&arn())).map_or(Caller::Anonymous, Caller::Identity)
    }

    /// What is known of any request of theirs.
    pub(crate) fn known_of_all(&self, context: Context) -> Context {
        let context = match &self.kind {
            Whom::Service(name) => return self.of_service(name, context),
            Whom::One(one) => return self.of_identity(one, context),
            Whom::Everybody | Whom::Unknown => return context,
            _ => not_a_service(context).with_some("aws:PrincipalArn"),
        };
        let context = match self.account() {
            Some(account) => context.with("aws:PrincipalAccount", account),
            None => context.with_some("aws:PrincipalAccount"),
        };
        self.in_organization(context)
    }

    /// What is known of the requests of the one who is the example.
    pub(crate) fn known_of(&self, example: &Caller, context: Context) -> Context {
        match example {
            Caller::Service(name) => self.of_service(name, context),
            Caller::Identity(identity) => self.of_identity(identity, context),
            Caller::Anonymous => context,
        }
    }

    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>.
    fn of_service(&self, name: &str, context: Context) -> Context {
        context
            .with("aws:PrincipalIsAWSService", "true")
            .with("aws:PrincipalServiceName", name)
            .with_some("aws:PrincipalServiceNamesList")
            .without("aws:PrincipalOrgID")
            .without("aws:PrincipalOrgPaths")
            .without_any("aws:PrincipalTag/")
    }

    fn of_identity(&self, identity: &Identity, context: Context) -> Context {
        let context = not_a_service(context).with("aws:PrincipalAccount", identity.account.as_str());
        let context = context.with("kms:CallerAccount", identity.account.as_str());
        self.in_organization(match identity.kind {
            // The role's, whose path a session's ARN does not show.
            Kind::Session(_) => context.with_some("aws:PrincipalArn"),
            _ => context.with("aws:PrincipalArn", identity.arn.as_str()),
        })
    }

    fn in_organization(&self, context: Context) -> Context {
        match (self.organization_id(), &self.kind) {
            (Some(id), _) if id.parse::<OrganizationId>().is_ok() => {
                context.with("aws:PrincipalOrgID", id).with_some("aws:PrincipalOrgPaths")
            }
            // A stranger, who has nothing to do with anybody.
            (_, Whom::Everybody) => context.without("aws:PrincipalOrgID").without("aws:PrincipalOrgPaths"),
            _ => context,
        }
    }
}

fn not_a_service(context: Context) -> Context {
    context
        .with("aws:PrincipalIsAWSService", "false")
        .without("aws:PrincipalServiceName")
        .without("aws:PrincipalServiceNamesList")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::iam::Document;

    fn who(statement: Value) -> Vec<Who> {
        let document = Document::parse(&json!({ "Statement": [statement] }).to_string()).unwrap();
        admitted(&document.statements()[0], &"123456789012".parse().unwrap())
    }

    fn everybody(condition: Value) -> Who {
        let mut who = who(json!({ "Effect": "Allow", "Principal": "*", "Condition": condition }));
        assert_eq!(who.len(), 1, "{who:?}");
        who.remove(0)
    }

    #[test]
    fn a_deny_lets_nobody_in_and_what_cannot_be_read_may_let_anybody_in() {
        assert!(who(json!({ "Effect": "Deny", "Principal": "*" })).is_empty());
        for odd in [json!(7), json!({ "Principal": "*" }), json!({ "Effect": "Allow", "Principal": { "AWS": 7 } })] {
            assert_eq!(who(odd.clone())[0].kind, Whom::Unknown, "{odd}");
        }
    }

    #[test]
    fn the_key_that_tells_most_is_the_one_that_counts() {
        let condition = json!({
            "StringEquals": { "AWS:PrincipalOrgId": "o-abcdefghij", "aws:SourceVpce": "vpce-1" },
            "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::*:role/siem" },
        });
        let siem = everybody(condition);
        assert_eq!(siem.kind, Whom::Matching("arn:aws:iam::*:role/siem".to_owned()));
        assert_eq!(siem.organization_id(), Some("o-abcdefghij"));
        for no_wish in ["StringNotEquals", "StringEqualsIfExists", "ForAllValues:StringEquals", "Null"] {
            let condition = json!({ no_wish: { "aws:PrincipalOrgID": "o-abcdefghij" } });
            assert_eq!(everybody(condition).kind, Whom::Everybody, "{no_wish}");
        }
    }

    #[test]
    fn an_example_is_one_of_them() {
        let partition = "aws-cn".parse().unwrap();
        let example = |condition: Value| everybody(condition).example(&partition).to_string();
        let like = |pattern: &str| json!({ "ArnLike": { "aws:PrincipalArn": pattern } });
        assert_eq!(example(json!({})), "arn:aws-cn:iam::000000000000:role/somebody");
        assert_eq!(
            example(json!({ "StringEquals": { "aws:PrincipalAccount": "210987654321" } })),
            "arn:aws-cn:iam::210987654321:role/somebody"
        );
        assert_eq!(
            example(like("arn:aws-cn:iam::210987654321:role/read-*")),
            "arn:aws-cn:iam::210987654321:role/read-x"
        );
        assert_eq!(example(like("arn:aws-cn:iam::*:user/??")), "arn:aws-cn:iam::000000000000:user/xx");
        assert_eq!(example(like("*")), "arn:aws-cn:iam::000000000000:role/somebody");
    }

    #[test]
    fn members_of_different_accounts_or_organizations_are_not_among_each_other() {
        let account = |id: &str| everybody(json!({ "StringEquals": { "aws:PrincipalAccount": id } }));
        let organization = |id: &str| everybody(json!({ "StringEquals": { "aws:PrincipalOrgID": id } }));
        assert!(account("210987654321").may_include(&account("210987654321")));
        assert!(!account("210987654321").may_include(&account("999999999999")));
        assert!(organization("o-abcdefghij").may_include(&account("999999999999")));
        assert!(!organization("o-abcdefghij").may_include(&organization("o-zzzzzzzzzz")));
    }
}

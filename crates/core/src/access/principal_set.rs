//! The principals that the Allow statements of a policy name, and for a statement that names everyone, the principals
//! that its conditions select.

use crate::access::{CLOUDTRAIL, service_context};
use crate::iam::element::{Effect, Element};
use crate::iam::pattern::Pattern;
use crate::iam::principal::Principal;
use crate::iam::statement::{Condition, Elements};
use crate::iam::truth::Truth;
use crate::iam::{Caller, Context, Identity, IdentityKind, Statement, is_session_arn};
use crate::ids::{AccountId, OrganizationId, Partition, PrincipalArn, shorten, split_arn};

/// One or more principals that a statement allows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrincipalSet {
    /// As the policy names them.
    pub(crate) name: String,
    pub(crate) kind: PrincipalKind,
    /// Their organization, if the statement requires exactly one.
    organization: Option<String>,
}

/// How a policy names principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalKind {
    /// A role, a user or a session.
    One(Identity),
    /// An AWS service.
    Service(String),
    /// The principals of this account whose IAM policies allow the request.
    Account(String),
    /// The principals of an organization, or of a part of it.
    Organization,
    /// The principals whose ARN matches this pattern.
    Matching(String),
    /// Everyone.
    Everyone,
    /// Unknown principals.
    Unknown,
}

/// An account ID that AWS does not assign.
const NO_ACCOUNT: &str = "000000000000";

/// The principals outside an account that an Allow statement names. CloudTrail itself is left out, and so are deleted
/// roles and users.
pub(crate) fn external_principals(statement: &Statement, own: &AccountId) -> Vec<PrincipalSet> {
    let mut principals = allowed_principals(statement);
    principals.retain(|set| !set.is_of(own));
    principals
}

/// The principals of an account itself that an Allow statement names.
pub(crate) fn own_principals(statement: &Statement, own: &AccountId) -> Vec<PrincipalSet> {
    let mut principals = allowed_principals(statement);
    principals.retain(|set| set.is_of(own) && !matches!(set.kind, PrincipalKind::Service(_) | PrincipalKind::Unknown));
    principals
}

/// The principals that a Deny statement names, or that a statement exempts by `NotPrincipal` or by a negated condition on
/// their ARN, account or organization: the policy treats them differently from other members of their account or organization.
pub(crate) fn singled_out_principals(statement: &Statement) -> Vec<PrincipalSet> {
    let Ok(elements) = statement.elements() else { return Vec::new() };
    let principals = elements.principal.named().into_iter().flatten().filter(|_| elements.effect == Effect::Deny);
    let everyone = |principal: &&Principal| principal.is_everyone();
    let named = principals.clone().filter(|it| !everyone(it)).flat_map(|principal| kinds(principal, elements));
    let selected = principals.filter(everyone).flat_map(|_| selected_kinds(elements));
    const EXEMPTING: [&str; 4] = ["StringNotEquals", "StringNotLike", "ArnNotEquals", "ArnNotLike"];
    let exempting =
        elements.conditions.iter().filter(|it| EXEMPTING.contains(&it.operator.trim_end_matches("IfExists")));
    let exempted = exempting.flat_map(|Condition { key, values, .. }| {
        let key = SELECTING_KEYS.into_iter().find(|selecting| key.eq_ignore_ascii_case(selecting));
        key.into_iter().flat_map(|key| values.iter().map(move |value| (value.as_str(), selected_kind(key, value))))
    });
    let one = named.chain(selected).chain(exempted);
    let set = |(name, kind): (&str, PrincipalKind)| PrincipalSet { name: shorten(name, 200), kind, organization: None };
    one.map(set).filter(|set| set.has_many() || matches!(set.kind, PrincipalKind::One(_))).collect()
}

fn allowed_principals(statement: &Statement) -> Vec<PrincipalSet> {
    let unknown = |name: String| vec![PrincipalSet { name, kind: PrincipalKind::Unknown, organization: None }];
    let elements = match statement.elements() {
        Ok(Elements { effect: Effect::Deny, .. }) => return Vec::new(),
        Ok(elements) => elements,
        Err(why) => return unknown(format!("the principals of a malformed statement: {why}")),
    };
    let principals = match &elements.principal {
        Element::Is(principals) => principals,
        Element::Missing => return Vec::new(),
        Element::Not(_) | Element::Malformed(_) => {
            let json = statement.json();
            let text = |name: &str| json.get(name).map(|value| shorten(&value.to_string(), 120));
            let everyone_but = || format!("everyone but {}", text("NotPrincipal").unwrap_or_default());
            return unknown(text("Principal").unwrap_or_else(everyone_but));
        }
    };
    let organization = match required_values(elements, "aws:principalorgid").as_slice() {
        [only] => Some((*only).to_owned()),
        _ => None,
    };
    let named = principals.iter().flat_map(|principal| kinds(principal, elements));
    let named = named.filter(|(_, kind)| !matches!(kind, PrincipalKind::Service(service) if service == CLOUDTRAIL));
    let set = |(name, kind): (&str, PrincipalKind)| {
        let of_access_points = elements.conditions.iter().any(|it| it.key.eq_ignore_ascii_case(ACCESS_POINT_ACCOUNT));
        let name = match kind {
            PrincipalKind::Unknown if of_access_points && name.parse::<AccountId>().is_ok() => {
                format!("principals that the access points of account {name} allow")
            }
            _ => shorten(name, 200),
        };
        PrincipalSet { name, kind, organization: organization.clone() }
    };
    named.map(set).collect()
}

/// What kind a principal is, with its name. For everyone, each principal that the conditions select.
fn kinds<'a>(principal: &'a Principal, elements: &'a Elements) -> Vec<(&'a str, PrincipalKind)> {
    let name = principal.name.as_str();
    let kind = match principal.kind.as_str() {
        _ if principal.is_everyone() => return selected_kinds(elements),
        _ if principal.is_deleted() => return Vec::new(),
        "AWS" => identity_kind(name).unwrap_or(PrincipalKind::Unknown),
        "Service" => PrincipalKind::Service(name.to_owned()),
        _ => PrincipalKind::Unknown,
    };
    vec![(name, kind)]
}

/// The kind of an identity's ARN or an account's ID.
fn identity_kind(text: &str) -> Option<PrincipalKind> {
    match Identity::parse(text) {
        Some(Identity { account, kind: IdentityKind::Root, .. }) => Some(PrincipalKind::Account(account)),
        Some(one) => Some(PrincipalKind::One(one)),
        None => text.parse().ok().map(|id: AccountId| PrincipalKind::Account(id.to_string())),
    }
}

/// The condition keys that select principals, the most specific first.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principal-properties>.
const SELECTING_KEYS: [&str; 7] = [
    "aws:principalarn",
    "aws:principalaccount",
    "kms:calleraccount",
    "aws:principalservicename",
    "aws:principalorgpaths",
    "aws:principalorgid",
    // A bucket delegates to access points, whose own policies decide:
    // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-policies.html>.
    ACCESS_POINT_ACCOUNT,
];

const ACCESS_POINT_ACCOUNT: &str = "s3:dataaccesspointaccount";

/// What a value for `aws:PrincipalArn` selects.
fn arn_kind(value: &str) -> PrincipalKind {
    identity_kind(value).unwrap_or_else(|| PrincipalKind::Matching(value.to_owned()))
}

/// What a value for one of the selecting keys selects.
fn selected_kind(key: &str, value: &str) -> PrincipalKind {
    match key {
        _ if value.contains("${") => PrincipalKind::Unknown,
        "aws:principalarn" => arn_kind(value),
        ACCESS_POINT_ACCOUNT => PrincipalKind::Unknown,
        "aws:principalservicename" => PrincipalKind::Service(value.to_owned()),
        "aws:principalorgid" | "aws:principalorgpaths" if organization_id(value).is_some() => {
            PrincipalKind::Organization
        }
        _ => identity_kind(value).unwrap_or(PrincipalKind::Unknown),
    }
}

/// The principals that the conditions of a statement for everyone select.
fn selected_kinds(elements: &Elements) -> Vec<(&str, PrincipalKind)> {
    let keys = SELECTING_KEYS.into_iter().map(|key| (key, required_values(elements, key)));
    let Some((key, values)) = keys.into_iter().find(|(_, values)| !values.is_empty()) else {
        return vec![("*", PrincipalKind::Everyone)];
    };
    // The bucket's own account.
    let is_own = |value: &str| value.contains("${aws:ResourceAccount}") || value.contains("${s3:ResourceAccount}");
    // A session's `aws:PrincipalArn` is the ARN of its role.
    let is_no_one = |value: &str| key == "aws:principalarn" && is_session_arn(value);
    values
        .into_iter()
        .filter(|value| !is_own(value) && !is_no_one(value))
        .map(|value| (value, selected_kind(key, value)))
        .collect()
}

/// The values, one of which a request must have for this (lowercase) key to meet the statement's conditions.
fn required_values<'a>(elements: &'a Elements, key: &str) -> Vec<&'a str> {
    const SELECTING: [&str; 5] = ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"];
    let selects = |condition: &&Condition| {
        let operator = condition.operator.strip_prefix("ForAnyValue:").unwrap_or(&condition.operator);
        SELECTING.contains(&operator) && condition.key.eq_ignore_ascii_case(key)
    };
    elements.conditions.iter().filter(selects).flat_map(|it| &it.values).map(String::as_str).collect()
}

/// The organization of an organization ID or path.
fn organization_id(path: &str) -> Option<&str> {
    path.split('/').next().filter(|id| id.parse::<OrganizationId>().is_ok())
}

impl PrincipalSet {
    /// One role, user or session.
    pub(crate) fn one(identity: Identity) -> Self {
        Self { name: identity.arn.clone(), kind: PrincipalKind::One(identity), organization: None }
    }

    /// Whether they are principals of this account.
    pub(crate) fn is_of(&self, account: &AccountId) -> bool {
        match &self.kind {
            PrincipalKind::Account(own) => own == account.as_str(),
            _ => split_arn(&self.name).is_some_and(|arn| arn.account == account.as_str()),
        }
    }

    /// As `LogReaders` names them: a role or user ARN, an account ID or an organization ID.
    pub(crate) fn log_reader(&self) -> Option<String> {
        match &self.kind {
            PrincipalKind::One(Identity { arn, .. }) => arn.parse().ok().map(|arn: PrincipalArn| arn.to_string()),
            PrincipalKind::Account(account) => Some(account.clone()),
            PrincipalKind::Organization => self.name.parse().ok().map(|id: OrganizationId| id.to_string()),
            _ => None,
        }
    }

    /// The members' account, or [`NO_ACCOUNT`] if they can have several.
    pub(crate) fn example_account(&self) -> &str {
        self.account().unwrap_or(NO_ACCOUNT)
    }

    /// Whether it has many members, which may have different permissions.
    pub(crate) fn has_many(&self) -> bool {
        matches!(self.kind, PrincipalKind::Account(_) | PrincipalKind::Organization | PrincipalKind::Matching(_))
    }

    /// Whether the other principals may be members of this set.
    pub(crate) fn may_include(&self, other: &Self) -> bool {
        if let (PrincipalKind::Matching(pattern), PrincipalKind::One(one)) = (&self.kind, &other.kind) {
            return Pattern::with_wildcards(pattern, true).matches_arn(&one.arn) != Truth::No;
        }
        let compatible = |one: Option<&str>, other: Option<&str>| one.is_none() || other.is_none() || one == other;
        compatible(self.account(), other.account()) && compatible(self.organization(), other.organization())
    }

    /// Whether the other principals may be some of these: one principal, or one account or organization of several.
    pub(crate) fn may_single_out(&self, other: &Self) -> bool {
        let is_smaller = match other.kind {
            PrincipalKind::One(_) => true,
            PrincipalKind::Account(_) => self.account().is_none(),
            PrincipalKind::Organization => self.kind == PrincipalKind::Everyone,
            _ => false,
        };
        is_smaller && self.may_include(other)
    }

    /// The same principals, as members of the other set's organization.
    pub(crate) fn within(&self, other: &Self) -> Self {
        let organization = other.organization().or(self.organization()).map(str::to_owned);
        Self { organization, ..self.clone() }
    }

    fn organization(&self) -> Option<&str> {
        match self.kind {
            PrincipalKind::Organization => self.name.split('/').next(),
            _ => self.organization.as_deref(),
        }
    }

    /// Their account, if they all belong to one.
    fn account(&self) -> Option<&str> {
        match &self.kind {
            PrincipalKind::One(Identity { account, .. }) | PrincipalKind::Account(account) => Some(account),
            PrincipalKind::Matching(pattern) => {
                split_arn(pattern).map(|parts| parts.account).filter(|account| account.parse::<AccountId>().is_ok())
            }
            _ => None,
        }
    }

    /// A member, to evaluate a request for.
    pub(crate) fn example(&self, partition: &Partition) -> Caller {
        let account = self.account().unwrap_or(NO_ACCOUNT);
        let matching = match &self.kind {
            PrincipalKind::Service(name) => return Caller::service(name.as_str()),
            PrincipalKind::One(identity) => return Caller::Identity(identity.clone()),
            PrincipalKind::Matching(pattern) => split_arn(pattern).and_then(|parts| {
                let resource = parts.resource.replace(['*', '?'], "x");
                Identity::parse(&format!("arn:{partition}:{}::{account}:{resource}", parts.service))
            }),
            _ => None,
        };
        let any = || Identity::parse(&format!("arn:{partition}:iam::{account}:role/any"));
        matching.or_else(any).map_or(Caller::Anonymous, Caller::Identity)
    }

    /// What the requests of all members contain.
    pub(crate) fn common_context(&self, example: &Caller) -> Context {
        match &self.kind {
            PrincipalKind::Everyone | PrincipalKind::Unknown => Context::new(),
            _ if self.has_many() => self.identity_context(self.account(), None),
            _ => self.context_of(example),
        }
    }

    /// The same context, for the statement whose conditions select the principals: all of them meet these.
    pub(crate) fn selected_context(&self, context: Context) -> Context {
        match &self.kind {
            PrincipalKind::Matching(pattern) => context.with("aws:PrincipalArn", pattern),
            PrincipalKind::Organization if self.name.contains('/') => context.with("aws:PrincipalOrgPaths", &self.name),
            _ => context,
        }
    }

    /// What the requests of one member contain.
    pub(crate) fn context_of(&self, member: &Caller) -> Context {
        match member {
            Caller::Service(name) => service_context(name),
            Caller::Identity(Identity { arn, account, kind }) => {
                // A session has the ARN of its role, whose path the session's ARN does not show.
                let arn = Some(arn.as_str()).filter(|_| !matches!(kind, IdentityKind::Session(_)));
                self.identity_context(Some(account), arn).with("kms:CallerAccount", account)
            }
            Caller::Anonymous => Context::new(),
        }
    }

    fn identity_context(&self, account: Option<&str>, arn: Option<&str>) -> Context {
        let set = |context: Context, key: &str, value: Option<&str>| match value {
            Some(value) => context.with(key, value),
            None => context.with_some(key),
        };
        let context = Context::new()
            .with("aws:PrincipalIsAWSService", "false")
            .without("aws:PrincipalServiceName")
            .without("aws:PrincipalServiceNamesList");
        let context = set(set(context, "aws:PrincipalAccount", account), "aws:PrincipalArn", arn);
        match self.organization().and_then(organization_id) {
            Some(id) => context.with("aws:PrincipalOrgID", id).with_some("aws:PrincipalOrgPaths"),
            // A principal outside every organization stands in for `Everyone`.
            None if self.kind == PrincipalKind::Everyone => {
                context.without("aws:PrincipalOrgID").without("aws:PrincipalOrgPaths")
            }
            None => context,
        }
    }
}

#[cfg(test)]
mod tests;

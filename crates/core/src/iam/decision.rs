//! What a policy decides about a request, and why.

use std::fmt;

/// What one policy decides about a request.
///
/// An explicit Deny overrides every Allow, and without an Allow a request is denied implicitly. A policy of another
/// kind can still deny what this one allows: a caller of another account also needs its own account's IAM policies,
/// and boundaries, session and service control policies take permissions away.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// This statement allows the request, and none denies it.
    Allowed(StatementId),
    /// This statement allows the request to the caller's account, whose IAM policies decide. None denies it.
    Delegated(StatementId),
    /// This statement denies the request.
    ExplicitDeny(StatementId),
    /// No statement allows the request. For each that would but for its conditions or resource: what is unmet.
    ImplicitDeny(Vec<Reason>),
    /// The policy may allow or deny the request, for these reasons.
    Unknown(Vec<Reason>),
}

impl Decision {
    /// The decision without its reasons: `allowed`, `delegated`, `explicit deny`, `implicit deny` or `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Allowed(_) => "allowed",
            Self::Delegated(_) => "delegated",
            Self::ExplicitDeny(_) => "explicit deny",
            Self::ImplicitDeny(_) => "implicit deny",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the policy allows the request, to the caller or to its account.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_) | Self::Delegated(_))
    }

    /// Whether the policy denies the request, explicitly or implicitly.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::ExplicitDeny(_) | Self::ImplicitDeny(_))
    }

    /// Whether the decision is unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// The statement that denies the request, if one does.
    #[must_use]
    pub fn explicit_deny(&self) -> Option<&StatementId> {
        match self {
            Self::ExplicitDeny(statement) => Some(statement),
            _ => None,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |reasons: &[Reason]| reasons.iter().map(Reason::to_string).collect::<Vec<String>>().join("; ");
        match self {
            Self::Allowed(statement) => write!(f, "{statement} allows it"),
            Self::Delegated(statement) => write!(f, "{statement} delegates it to the account's IAM policies"),
            Self::ExplicitDeny(statement) => write!(f, "{statement} denies it"),
            Self::ImplicitDeny(unmet) if unmet.is_empty() => f.write_str("no statement allows it"),
            Self::ImplicitDeny(unmet) => write!(f, "no statement allows it: {}", listed(unmet)),
            Self::Unknown(reasons) => write!(f, "unknown: {}", listed(reasons)),
        }
    }
}

/// A statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementId {
    /// Its position, from 0.
    pub index: usize,
    /// Its `Sid`, if it has one.
    pub sid: Option<String>,
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => write!(f, "statement `{sid}`"),
            None => write!(f, "statement number {}", self.index.saturating_add(1)),
        }
    }
}

/// A reason for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The statement that it is about; none if it is about the whole policy.
    pub statement: Option<StatementId>,
    /// The reason itself.
    pub why: String,
}

impl Reason {
    /// Of the reasons for an implicit deny, those of the statement with the fewest: it comes nearest to allowing.
    pub fn nearest(unmet: &[Self]) -> impl Iterator<Item = &Self> {
        let count = |one: &Self| unmet.iter().filter(|other| other.statement == one.statement).count();
        let nearest = unmet.iter().min_by_key(|one| count(one));
        unmet.iter().filter(move |one| nearest.is_some_and(|nearest| one.statement == nearest.statement))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.statement {
            Some(statement) => write!(f, "{statement}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

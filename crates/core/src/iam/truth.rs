//! Three-valued logic: yes, no, or unknown for stated reasons.

/// More reasons than these help no one, and a policy can contain thousands.
const MAX_REASONS: usize = 20;

/// Whether something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// It may or may not hold, for these reasons.
    Unknown(Vec<String>),
}

impl Truth {
    /// Unknown, for this reason.
    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown(vec![reason.into()])
    }

    /// Whether both hold.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, other) => other,
            (unknown, Self::Yes) => unknown,
            (Self::Unknown(mut reasons), Self::Unknown(more)) => {
                for reason in more {
                    if reasons.len() < MAX_REASONS && !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
                Self::Unknown(reasons)
            }
        }
    }

    /// Whether either holds.
    pub(crate) fn or(self, other: Self) -> Self {
        self.negated().and(other.negated()).negated()
    }

    /// Whether it does not hold.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            unknown @ Self::Unknown(_) => unknown,
        }
    }

    /// The same, with each reason put into its context.
    pub(crate) fn explained(self, explain: impl Fn(String) -> String) -> Self {
        match self {
            Self::Unknown(reasons) => Self::Unknown(reasons.into_iter().map(explain).collect()),
            known => known,
        }
    }

    /// Whether every one holds.
    pub(crate) fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Yes;
        for truth in truths {
            all = all.and(truth);
            if all == Self::No {
                break;
            }
        }
        all
    }

    /// Whether at least one holds.
    pub(crate) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        Self::all(truths.into_iter().map(Self::negated)).negated()
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_counts_only_where_it_makes_a_difference() {
        let unknown = || Truth::unknown("why");
        assert_eq!(unknown().and(Truth::No), Truth::No);
        assert_eq!(unknown().or(Truth::Yes), Truth::Yes);
        assert_eq!(unknown().and(Truth::Yes), unknown());
        assert_eq!(unknown().or(Truth::No), unknown());
        assert_eq!(unknown().negated(), unknown());
        assert_eq!(unknown().and(unknown()), unknown(), "each reason once");
        assert_eq!(Truth::all([]), Truth::Yes);
        assert_eq!(Truth::any([]), Truth::No);
    }

    #[test]
    fn only_so_many_reasons_are_kept() {
        let reasons = |number: usize| match Truth::all((0..number).map(|it| Truth::unknown(it.to_string()))) {
            Truth::Unknown(reasons) => reasons.len(),
            _ => 0,
        };
        assert_eq!([1, 2, MAX_REASONS, MAX_REASONS + 1].map(reasons), [1, 2, MAX_REASONS, MAX_REASONS]);
    }
}

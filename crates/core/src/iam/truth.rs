//! Three-valued logic: a question about a policy has an answer, or reasons why it has none.

/// Whether something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// It may or may not hold; why nobody can tell.
    Maybe(Vec<String>),
}

impl Truth {
    /// Nobody can tell, for that reason.
    pub(crate) fn maybe(reason: impl Into<String>) -> Self {
        Self::Maybe(vec![reason.into()])
    }

    /// Whether both hold.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, other) => other,
            (doubt, Self::Yes) => doubt,
            (Self::Maybe(mut reasons), Self::Maybe(more)) => {
                for reason in more {
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
                Self::Maybe(reasons)
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
            doubt @ Self::Maybe(_) => doubt,
        }
    }

    /// Whether every one holds.
    pub(crate) fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().fold(Self::Yes, Self::and)
    }

    /// Whether at least one holds.
    pub(crate) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().fold(Self::No, Self::or)
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
    fn a_doubt_is_settled_by_what_makes_it_irrelevant() {
        let doubt = || Truth::maybe("why");
        assert_eq!(doubt().and(Truth::No), Truth::No);
        assert_eq!(doubt().or(Truth::Yes), Truth::Yes);
        assert_eq!(doubt().and(Truth::Yes), doubt());
        assert_eq!(doubt().or(Truth::No), doubt());
        assert_eq!(doubt().negated(), doubt());
        assert_eq!(doubt().and(doubt()), doubt(), "nobody wants to read a reason twice");
        assert_eq!(Truth::all([]), Truth::Yes);
        assert_eq!(Truth::any([]), Truth::No);
    }
}

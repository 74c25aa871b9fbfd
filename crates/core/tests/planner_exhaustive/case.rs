//! What a decision about a sealing key depends on, and what each combination means to the owner of the key.

/// Where the planner finds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Supplied,
    SuppliedByAnotherAccount,
    Alias,
    /// In the tag index only: without an alias or grants, and no trail uses it.
    Tag,
    TagAndUse,
    TagAndOtherAlias,
    TagAndGrants,
    /// This run created it. KMS may not return its alias yet.
    Created,
    CreatedWithoutAlias,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Symmetric,
    ImportedMaterial,
    Asymmetric,
    AwsManaged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Enabled,
    Disabled,
    PendingDeletion,
    Unavailable,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    Trailseals,
    Exempt,
    None,
    Unreadable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// What trailseal writes.
    Complete,
    /// What it wrote before the reader was configured.
    WithoutReader,
    /// `Complete`, but the role in trailseal's statement was deleted.
    DeletedRole,
    /// `Complete`, and a statement for another principal.
    AnotherReader,
    /// What AWS documents for CloudTrail.
    Documented,
    /// Denies CloudTrail implicitly.
    AccountOnly,
    /// `Complete`, and a Deny for every principal.
    Deny,
    /// `Complete`, and a Deny that cannot be evaluated.
    UnclearDeny,
    /// Allows CloudTrail, but no principal to change the policy.
    Locked,
    /// Allows neither.
    LockedOut,
    /// `AccountOnly` without room for another statement.
    Full,
    Unreadable,
}

/// The key that the trail has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrailKey {
    None,
    This,
}

pub(crate) const PLACES: [Place; 9] = [
    Place::Supplied,
    Place::SuppliedByAnotherAccount,
    Place::Alias,
    Place::Tag,
    Place::TagAndUse,
    Place::TagAndOtherAlias,
    Place::TagAndGrants,
    Place::Created,
    Place::CreatedWithoutAlias,
];
pub(crate) const KINDS: [Kind; 4] = [Kind::Symmetric, Kind::ImportedMaterial, Kind::Asymmetric, Kind::AwsManaged];
pub(crate) const STATES: [State; 5] =
    [State::Enabled, State::Disabled, State::PendingDeletion, State::Unavailable, State::Unknown];
pub(crate) const TAGS: [Tags; 4] = [Tags::Trailseals, Tags::Exempt, Tags::None, Tags::Unreadable];
pub(crate) const POLICIES: [Policy; 12] = [
    Policy::Complete,
    Policy::WithoutReader,
    Policy::DeletedRole,
    Policy::AnotherReader,
    Policy::Documented,
    Policy::AccountOnly,
    Policy::Deny,
    Policy::UnclearDeny,
    Policy::Locked,
    Policy::LockedOut,
    Policy::Full,
    Policy::Unreadable,
];
pub(crate) const SWITCH: [bool; 2] = [true, false];
pub(crate) const TRAIL_KEYS: [TrailKey; 2] = [TrailKey::None, TrailKey::This];
/// Besides the two modes, whose decisions are compared.
pub(crate) const CASES: usize = 9 * 4 * 5 * 4 * 12 * 2 * 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) tags: Tags,
    pub(crate) policy: Policy,
    pub(crate) rotates: bool,
    pub(crate) trail_key: TrailKey,
}

pub(crate) fn cases(place: Place) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for state in STATES {
            for tags in TAGS {
                for policy in POLICIES {
                    for rotates in SWITCH {
                        let case = |trail_key| Case { place, kind, state, tags, policy, rotates, trail_key };
                        cases.extend(TRAIL_KEYS.map(case));
                    }
                }
            }
        }
    }
    cases
}

/// What a key policy allows, as its author would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Allowed,
    Denied,
    Unclear,
}

impl Policy {
    pub(crate) fn cloudtrail(self) -> Access {
        match self {
            Self::Complete
            | Self::WithoutReader
            | Self::DeletedRole
            | Self::AnotherReader
            | Self::Documented
            | Self::Locked => Access::Allowed,
            Self::AccountOnly | Self::LockedOut | Self::Full | Self::Deny => Access::Denied,
            Self::UnclearDeny | Self::Unreadable => Access::Unclear,
        }
    }

    /// The access after trailseal added what the policy lacks, if it can.
    pub(crate) fn cloudtrail_after_extension(self) -> Access {
        if self == Self::AccountOnly { Access::Allowed } else { self.cloudtrail() }
    }

    /// Whether trailseal adds something to the policy of a key that it maintains.
    pub(crate) fn gains(self) -> bool {
        matches!(self, Self::WithoutReader | Self::DeletedRole | Self::Documented | Self::AccountOnly)
    }

    pub(crate) fn lets_the_key_be_enabled(self) -> bool {
        !matches!(self, Self::Locked | Self::LockedOut)
    }
}

impl Case {
    pub(crate) fn is_supplied(self) -> bool {
        matches!(self.place, Place::Supplied | Place::SuppliedByAnotherAccount)
    }

    /// Whether this run created the key, whatever KMS returns about its tags yet.
    pub(crate) fn is_created(self) -> bool {
        matches!(self.place, Place::Created | Place::CreatedWithoutAlias)
    }

    pub(crate) fn is_only_tagged(self) -> bool {
        !self.is_supplied() && !self.is_created() && self.place != Place::Alias
    }

    /// Whether the key is tagged as one that trailseal changes.
    pub(crate) fn has_trailseals_tag(self) -> bool {
        !self.is_supplied() && self.tags == Tags::Trailseals
    }

    /// Whether trailseal may change the key.
    pub(crate) fn is_maintained(self) -> bool {
        self.is_created() || self.has_trailseals_tag()
    }

    /// Whether CloudTrail can use such a key at all.
    pub(crate) fn is_fit(self) -> bool {
        matches!(self.kind, Kind::Symmetric | Kind::ImportedMaterial)
    }

    /// Whether trailseal may make the key usable.
    pub(crate) fn is_restorable(self) -> bool {
        let is_off = matches!(self.state, State::Disabled | State::PendingDeletion);
        is_off && self.is_maintained() && self.policy.lets_the_key_be_enabled()
    }

    /// Whether an unfinished key is as trailseal creates it, so that it can be finished.
    pub(crate) fn is_adoptable(self) -> bool {
        matches!(self.place, Place::Tag | Place::TagAndUse)
            && self.tags == Tags::Trailseals
            && (self.kind, self.state) == (Kind::Symmetric, State::Enabled)
            && matches!(self.policy, Policy::Complete | Policy::WithoutReader)
    }

    /// Whether this key can encrypt the trail's log files, after the steps that trailseal may perform.
    pub(crate) fn can_seal(self) -> bool {
        let access = match self.is_maintained() {
            true => self.policy.cloudtrail_after_extension(),
            false => self.policy.cloudtrail(),
        };
        let has_room = self.policy != Policy::Full || !self.is_maintained();
        let is_usable = self.state == State::Enabled || self.is_restorable();
        self.is_fit() && is_usable && has_room && access != Access::Denied
    }
}

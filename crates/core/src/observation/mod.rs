//! What was read from AWS: frozen values, judged elsewhere. "Not there" and "not allowed to look"
//! are different facts everywhere.

mod bucket;
mod key;
mod trail;

use serde::Serialize;

pub use bucket::{BucketFacts, ReplicationRule};
pub use key::{
    Candidates, InUse, KeyFacts, KeyManager, KeyMetadata, KeyState, KeyTags, LeftOver, Made, SealingFacts, TaggedKey,
};
pub use trail::{
    KeptSettings, ListedTrails, MendingFacts, OddTrail, TrailFacts, TrailSettings, TrailStatus, UpdatedTrail,
};

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It can: throttling, a conflict, a time-out, KMS not consistent yet.
    Transient,
    /// It cannot: somebody has to change something.
    Terminal,
}

/// What failed, and what to do about it. Every field is always there, null where it has nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// Whether trying again can help.
    pub class: Class,
    /// The call that failed, such as `kms:CreateKey`; null where no call did.
    pub operation: Option<&'static str>,
    /// AWS's error code, such as `AccessDeniedException`.
    pub code: Option<String>,
    /// What was tried, on what, and what came of it.
    pub message: String,
    /// AWS's request id, for AWS Support.
    pub request_id: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Whether the call may have had an effect: AWS gave no answer, or a 5xx.
    #[serde(skip)]
    pub outcome_unknown: bool,
    /// Whether the call was certainly not sent: the deadline came first.
    #[serde(skip)]
    pub not_sent: bool,
}

impl Failure {
    /// A failure that no call reported: something that was read cannot be worked with.
    pub fn terminal(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            class: Class::Terminal,
            operation: None,
            code: None,
            message: message.into(),
            request_id: None,
            remedy: Some(remedy.into()),
            outcome_unknown: false,
            not_sent: false,
        }
    }

    /// The same with another remedy, made of the one that it has.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl FnOnce(String) -> String) -> Self {
        self.remedy = Some(remedy(self.remedy.take().unwrap_or_default()));
        self
    }

    /// The same, with what an administrator can do in trailseal's place.
    #[must_use]
    pub fn or_by_an_administrator(self, command: &str) -> Self {
        self.with_remedy(|remedy| match remedy.as_str() {
            "" => format!("have an administrator do it: {command}"),
            remedy => format!("{remedy}; or have an administrator do it: {command}"),
        })
    }

    /// Whether AWS gave this error code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// A failure that passes, and that no call reported.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { class: Class::Transient, remedy: None, ..Self::terminal(message, "") }
    }
}

/// A policy, parsed where it was read, or why its text is no policy document.
pub type ParsedPolicy = Result<crate::iam::document::Document, crate::iam::document::Unreadable>;

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// It is there.
    Known(T),
    /// It is not there.
    Absent,
    /// We may not look.
    Denied(Failure),
}

//! A call that failed, and whether a retry can help.

use serde::Serialize;

/// Whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A retry can help: throttling, a conflict, a timeout, eventual consistency.
    Transient,
    /// A retry cannot help: a principal must change something first.
    Terminal,
}

/// What failed, and what to do about it. Every serialized field is always present, null where it does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// Whether a retry can help.
    pub class: Class,
    /// The call that failed, such as `kms:CreateKey`; null if no call did.
    pub operation: Option<&'static str>,
    /// The error code from AWS, such as `AccessDeniedException`.
    pub code: Option<String>,
    /// What was attempted, on what, and the cause of the failure.
    pub message: String,
    /// The request ID from AWS, for AWS Support.
    pub request_id: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Whether the call may have taken effect (no response, or a 5xx response).
    #[serde(skip)]
    pub outcome_unknown: bool,
    /// Whether the call was certainly not sent.
    #[serde(skip)]
    pub not_sent: bool,
}

impl Failure {
    /// A failure that no call reported, which needs a change by a principal.
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

    /// A failure that no call reported, and that a retry can resolve.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { class: Class::Transient, remedy: None, ..Self::terminal(message, "") }
    }

    /// Whether AWS returned this error code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether a retry can help.
    pub fn is_transient(&self) -> bool {
        self.class == Class::Transient
    }
}

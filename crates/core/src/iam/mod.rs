//! The IAM policy language: documents, requests, and the evaluation of a request against a policy.
//!
//! Nothing here depends on trails or on trailseal's keys. Which requests trailseal evaluates belongs in
//! [`crate::access`], the policy that it writes in [`crate::key_policy`].

mod condition;
mod decision;
mod document;
pub(crate) mod element;
mod evaluate;
mod json;
pub(crate) mod parts;
pub(crate) mod pattern;
pub(crate) mod principal;
mod request;
pub(crate) mod statement;
pub(crate) mod truth;

pub use decision::{Decision, Reason, StatementId};
pub use document::Document;
pub use evaluate::evaluate;
pub(crate) use evaluate::evaluate_change;
pub use json::MalformedPolicy;
pub use pattern::UNRESOLVED;
pub use request::{Caller, Context, Identity, Request};
pub(crate) use request::{IdentityKind, is_session_arn};
pub use statement::Statement;

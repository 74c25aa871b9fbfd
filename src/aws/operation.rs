//! What a call is: an operation on a resource, its rate, its retry rule and its deadline.

use tokio::time::Instant;
use trailseal_core::ids::Region;

use super::limits::Rate;

/// The deadline of calls, with its name for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(super) at: Instant,
    /// What runs out, as error messages name it.
    pub(super) name: &'static str,
}

impl Deadline {
    /// A share of the invocation's time, so that the rest is left for other trails.
    pub(crate) fn share(at: Instant) -> Self {
        Self { at, name: "its share of the invocation's time" }
    }
}

/// The end of the invocation's time.
impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self { at, name: "the invocation's time" }
    }
}

/// An AWS operation on a resource.
#[derive(Debug)]
pub(super) struct Operation {
    /// Such as `kms:CreateKey`.
    pub(super) name: &'static str,
    /// What it does, for messages: "create a key in `eu-west-1`".
    pub(super) description: String,
    /// The Region of the endpoint.
    pub(super) region: Region,
    pub(super) rate: Rate,
    pub(super) retry: RetryRule,
}

/// Which failures are retried. `call` evaluates it after each failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum RetryRule {
    /// Those that the error table calls retryable.
    Standard,
    /// Also these codes, each a list separated by spaces, which AWS may return until a recent change is visible everywhere.
    WhilePropagating(&'static [&'static str]),
    /// Throttling and these codes only. For operations without an idempotency token: AWS refused the request.
    OnlyIfRefused(&'static str),
}

impl Operation {
    /// An operation with no rate limit and the standard retries.
    pub(super) fn new(name: &'static str, region: &Region, description: String) -> Self {
        Self { name, description, region: region.clone(), rate: Rate::Unlimited, retry: RetryRule::Standard }
    }

    pub(super) fn with_retry(self, retry: RetryRule) -> Self {
        Self { retry, ..self }
    }
}

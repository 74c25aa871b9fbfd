//! The one retry layer: the SDK's, with rules of ours about what is tried again. Only `UpdateTrail` is
//! repeated elsewhere (`apply`), where the trail is read again in between.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::operation::RequestId;
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::interceptors::context::{Error as OperationError, InterceptorContext};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::retry::RetryConfig;

/// Eight attempts take about a quarter of a minute; the invocation's deadline may end them earlier. (What
/// CloudTrail throttles gets further turns, see `Aws::patiently`.)
pub(super) fn config() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(8)
        .with_initial_backoff(Duration::from_millis(500))
        .with_max_backoff(Duration::from_secs(8))
}

/// Attempts and deadline bound the retries. The SDK's own quota, which outlives an invocation in a
/// warm function, would refuse them to the next trail.
pub(super) fn partition() -> RetryPartition {
    RetryPartition::custom("trailseal").token_bucket(TokenBucket::unlimited()).build()
}

/// What is tried again beyond, or less than, what the SDK does by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Again {
    /// The SDK's rules, and conflicts.
    Usual,
    /// These codes, too, since what they refuse was made or changed a moment ago.
    WhileSettling(&'static [&'static str]),
    /// Throttling alone, after which the call was certainly not carried out: for one without an
    /// idempotency token.
    IfThrottled,
    /// Nothing: the caller has to look in between.
    ByTheCaller,
}

/// The last refusal that was tried again, for when time runs out before there is another answer.
#[derive(Debug, Clone, Default)]
pub(super) struct LastRefusal(Arc<Mutex<Option<Refusal>>>);

/// What AWS said.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
}

impl LastRefusal {
    pub(super) fn get(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }
}

/// One type for every operation, so that this code is not in the binary once for each: only what
/// the type of the operation's error is needed for is.
#[derive(Debug)]
pub(super) struct Rules {
    again: Again,
    last: LastRefusal,
    said: fn(&OperationError) -> Option<&ErrorMetadata>,
}

impl Rules {
    /// The rules for an operation with errors of type `E`.
    pub(super) fn of<E>(again: Again, last: LastRefusal) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        Self { again, last, said: |error| error.downcast_ref::<E>().map(E::meta) }
    }
}

impl ClassifyRetry for Rules {
    fn classify_retry(&self, ctx: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = ctx.output_or_error() else { return RetryAction::NoActionIndicated };
        let refusal = error.as_operation_error().and_then(self.said);
        let code = refusal.and_then(ErrorMetadata::code);
        let status = ctx.response().map(|response| format!("HTTP {}", response.status().as_u16()));
        if let Some(told) = code.map(str::to_owned).or(status) {
            let message = refusal.and_then(ErrorMetadata::message).unwrap_or("AWS gives no reason").to_owned();
            let request_id = refusal.and_then(|refusal| refusal.request_id()).map(str::to_owned);
            self.last.set(Refusal { code: told, message, request_id });
        }
        action(self.again, code)
    }

    fn name(&self) -> &'static str {
        "trailseal"
    }
}

/// `throttling_error` only chooses the longer of the SDK's two back-offs.
fn action(again: Again, code: Option<&str>) -> RetryAction {
    match (again, code) {
        (Again::ByTheCaller, _) => RetryAction::RetryForbidden,
        // The SDK takes it for throttling; KMS says so of a quota or a policy that is too long.
        (_, Some("LimitExceededException")) => RetryAction::RetryForbidden,
        (Again::IfThrottled, Some("ThrottlingException" | "Throttling" | "TooManyRequestsException")) => {
            RetryAction::throttling_error()
        }
        (Again::IfThrottled, _) => RetryAction::RetryForbidden,
        (_, Some("ConflictException")) => RetryAction::throttling_error(),
        (Again::WhileSettling(codes), Some(code)) if codes.contains(&code) => RetryAction::throttling_error(),
        _ => RetryAction::NoActionIndicated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_a_token_is_repeated_only_when_throttled() {
        assert!(action(Again::IfThrottled, Some("ThrottlingException")).should_retry());
        for code in [None, Some("KMSInternalException"), Some("DependencyTimeoutException"), Some("ConflictException")]
        {
            assert_eq!(action(Again::IfThrottled, code), RetryAction::RetryForbidden, "{code:?}");
        }
    }

    #[test]
    fn a_quota_is_no_throttling() {
        assert_eq!(action(Again::Usual, Some("LimitExceededException")), RetryAction::RetryForbidden);
    }

    #[test]
    fn what_the_caller_repeats_is_not_repeated_here() {
        for code in [None, Some("ThrottlingException"), Some("ConflictException"), Some("InternalFailure")] {
            assert_eq!(action(Again::ByTheCaller, code), RetryAction::RetryForbidden, "{code:?}");
        }
    }

    #[test]
    fn a_refusal_is_waited_out_only_while_the_key_settles() {
        let settling = Again::WhileSettling(&["NotFoundException"]);
        assert!(action(settling, Some("NotFoundException")).should_retry());
        assert!(!action(Again::Usual, Some("NotFoundException")).should_retry());
        assert!(action(settling, Some("ConflictException")).should_retry());
    }
}

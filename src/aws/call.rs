//! The one path of every AWS call. For each attempt: wait for the rate, acquire a permit, send within the deadline,
//! classify the response by the table in `errors`, release, and back off before the next attempt.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout_at};
use trailseal_core::failure::Failure;

use super::clients::Aws;
use super::errors::{AttemptError, has_code, is_retryable, is_throttled};
use super::limits::{Permit, Rate, Slot};
use super::non_empty;
use super::operation::{Deadline, Operation, RetryRule};

/// Jitter adds up to the delay itself: from 250 to 500 ms before the second attempt, at most 8 s before any.
const DELAYS: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(250)).with_max_delay(MAX_DELAY).with_jitter();
const MAX_DELAY: Duration = Duration::from_secs(4);
/// Seven backoffs sum to 16–32 s.
const RETRIES: usize = 7;
/// More for a write to CloudTrail, where a new key can take longer to become visible.
const CLOUDTRAIL_WRITE_RETRIES: usize = 9;

/// The `tracing` target of the events about errors that are retried.
pub const RETRY_TARGET: &str = "trailseal::retry";

impl RetryRule {
    fn allows(self, failure: &Failure) -> bool {
        match self {
            Self::OnlyIfRefused(codes) => {
                is_throttled(failure) || (!failure.outcome_unknown && has_code(failure, codes))
            }
            Self::WhilePropagating(lists) => {
                lists.iter().any(|codes| has_code(failure, codes)) || is_retryable(failure)
            }
            Self::Standard => is_retryable(failure),
        }
    }
}

/// Makes calls until the deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallRunner<'a> {
    pub(super) aws: &'a Aws,
    pub(super) deadline: Deadline,
}

/// What an attempt holds while it is sent.
type Admission<'a> = (Permit<'a>, Option<Slot>);

impl<'a> CallRunner<'a> {
    /// Makes a call. `send` sends one attempt.
    pub(super) async fn call<T, E: Into<AttemptError>>(
        &self,
        operation: &Operation,
        send: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, Failure> {
        let response = self.call_while(operation, async || Ok(true), send).await?;
        response.ok_or_else(|| operation.not_sent(self.deadline))
    }

    /// Reads a list, page by page. `send` requests the page of a token. `split` returns the items of a page, and the token
    /// of the next page if that is needed; or why the page is unreadable.
    pub(super) async fn list<P, I, E: Into<AttemptError>>(
        &self,
        operation: &Operation,
        send: impl AsyncFn(Option<String>) -> Result<P, E>,
        split: impl Fn(P) -> Result<(Vec<I>, Option<String>), Failure>,
    ) -> Result<Vec<I>, Failure> {
        let (mut list, mut token) = (Vec::new(), None);
        loop {
            let (items, next) = split(self.call(operation, async || send(token.clone()).await).await?)?;
            list.extend(items);
            token = non_empty(next);
            if token.is_none() {
                return Ok(list);
            }
        }
    }

    /// Makes a call as long as `condition` holds, which is awaited before every attempt, at the head of the queue for
    /// the rate. `None`: it does not hold, and nothing was sent.
    pub(super) async fn call_while<T, E: Into<AttemptError>>(
        &self,
        operation: &Operation,
        condition: impl AsyncFn() -> Result<bool, Failure>,
        send: impl AsyncFn() -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        let deadline = self.deadline;
        let mut attempts = Attempts::new(operation, deadline);
        loop {
            let admission = match timeout_at(deadline.at, self.admit(operation, &condition)).await {
                Ok(Ok(Some(admission))) if Instant::now() < deadline.at => admission,
                Ok(Ok(None)) => return attempts.when_condition_is_false(),
                Ok(Err(failure)) => return Err(attempts.when_condition_check_fails(failure)),
                Ok(Ok(Some(_))) | Err(_) => return Err(attempts.at_deadline(operation.not_sent(deadline))),
            };
            // Box the request future here so that queued calls stay small.
            let response = timeout_at(deadline.at, Box::pin(send())).await;
            drop(admission);
            let pause = match response {
                Ok(Ok(output)) => return Ok(Some(output)),
                Ok(Err(error)) => attempts.failed(operation.failure(error.into()))?,
                Err(_) => {
                    return Err(attempts.at_deadline(operation.no_response(&format!("{} ran out", deadline.name))));
                }
            };
            sleep(pause).await;
        }
    }

    /// Waits for the rate, then for a permit. `None`: the condition does not hold.
    async fn admit(
        &self,
        operation: &Operation,
        condition: &impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<Option<Admission<'a>>, Failure> {
        let slot = self.aws.rates.acquire(&operation.region, operation.rate).await;
        if !condition().await? {
            return Ok(None);
        }
        let permit = self.aws.concurrency.acquire(&operation.region).await;
        Ok(Some((permit, slot.and_then(Slot::mark_sent))))
    }
}

/// The failed attempts of one call.
struct Attempts<'a> {
    operation: &'a Operation,
    deadline: Deadline,
    delays: ExponentialBackoff,
    /// The last error with an AWS code, else the last error.
    last: Option<Failure>,
    /// Whether any of them may have had an effect.
    outcome_unknown: bool,
}

impl<'a> Attempts<'a> {
    fn new(operation: &'a Operation, deadline: Deadline) -> Self {
        let retries = if operation.rate == Rate::CloudTrailWrite { CLOUDTRAIL_WRITE_RETRIES } else { RETRIES };
        let delays = DELAYS.with_max_times(retries).build();
        Self { operation, deadline, delays, last: None, outcome_unknown: false }
    }

    /// How long to wait before the next attempt.
    ///
    /// # Errors
    ///
    /// The failure to report: it is not retried, or there is no time for it.
    fn failed(&mut self, failure: Failure) -> Result<Duration, Failure> {
        self.outcome_unknown |= failure.outcome_unknown;
        let outcome_unknown = self.outcome_unknown;
        let delay = if self.operation.retry.allows(&failure) { self.delay(&failure) } else { None };
        let Some(delay) = delay else { return Err(Failure { outcome_unknown, ..failure }) };
        if failure.code.is_some() || self.last.is_none() {
            self.last = Some(failure.clone());
        }
        tracing::info!(target: RETRY_TARGET, "retrying: {}", failure.message);
        let left = self.deadline.at.saturating_duration_since(Instant::now());
        if delay < left { Ok(delay) } else { Err(self.at_deadline(failure)) }
    }

    /// CloudTrail's rate is shared with other invocations: what it throttles is retried until the deadline.
    fn delay(&mut self, failure: &Failure) -> Option<Duration> {
        let until_deadline = self.operation.rate != Rate::Unlimited && is_throttled(failure);
        self.delays.next().or_else(|| until_deadline.then_some(MAX_DELAY))
    }

    /// The failure when the deadline ends the retries: the last refusal, or `first` if there was no attempt before. It keeps
    /// its class: a refusal that only a recent change could explain is terminal if it lasts.
    fn at_deadline(&mut self, first: Failure) -> Failure {
        let outcome_unknown = self.outcome_unknown || first.outcome_unknown;
        match self.last.take() {
            None => first,
            Some(last) => Failure {
                message: format!("{} (retried until {} ran out)", last.message, self.deadline.name),
                outcome_unknown,
                ..last
            },
        }
    }

    /// The condition no longer holds. An earlier attempt may be the cause, whatever error it returned.
    fn when_condition_is_false<T>(self) -> Result<Option<T>, Failure> {
        match self.last {
            None => Ok(None),
            Some(last) => Err(Failure { outcome_unknown: true, ..last }),
        }
    }

    /// The condition could not be checked. An earlier attempt was sent, whatever error it returned.
    fn when_condition_check_fails(self, failure: Failure) -> Failure {
        Failure { not_sent: self.last.is_none(), outcome_unknown: self.outcome_unknown, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_smithy_types::error::ErrorMetadata;
    use tokio::join;

    use super::*;

    async fn aws() -> Aws {
        let region = aws_config::Region::new("eu-west-1");
        let credentials = aws_sdk_kms::config::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        Aws::configured(aws_config::from_env().region(region).credentials_provider(credentials)).await
    }

    fn operation() -> Operation {
        Operation::new("kms:EnableKey", &"eu-west-1".parse().unwrap(), "enable a key".into())
    }

    fn within(aws: &Aws, seconds: u64) -> CallRunner<'_> {
        CallRunner { aws, deadline: Instant::now().checked_add(Duration::from_secs(seconds)).unwrap().into() }
    }

    fn refused(status: u16, code: &str) -> AttemptError {
        AttemptError::Refused(status, ErrorMetadata::builder().code(code).message("because").build())
    }

    /// Every attempt is refused with this code: how many were sent, and the failure.
    async fn attempts(operation: Operation, code: &str, seconds: u64) -> (usize, Failure) {
        let (aws, sent) = (aws().await, AtomicUsize::new(0));
        let send = || async {
            sent.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(refused(400, code))
        };
        let failure = within(&aws, seconds).call(&operation, send).await.unwrap_err();
        (sent.into_inner(), failure)
    }

    #[tokio::test(start_paused = true)]
    async fn conflicts_are_retried_and_quotas_are_not() {
        let (sent, failure) = attempts(operation(), "ConflictException", 900).await;
        assert_eq!((sent, failure.message.as_str()), (8, "cannot enable a key: ConflictException: because"));
        assert_eq!(attempts(operation(), "LimitExceededException", 900).await.0, 1);
        assert_eq!(attempts(operation(), "AccessDeniedException", 900).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_token_is_resent_only_if_throttled() {
        let once = || operation().with_retry(RetryRule::OnlyIfRefused("MalformedPolicyDocumentException"));
        assert_eq!(attempts(once(), "ThrottlingException", 900).await.0, 8);
        assert_eq!(attempts(once(), "MalformedPolicyDocumentException", 900).await.0, 8);
        for code in ["KMSInternalException", "DependencyTimeoutException", "ConflictException"] {
            assert_eq!(attempts(once(), code, 900).await.0, 1, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_waited_for_only_where_it_may_be_new() {
        let propagating = operation().with_retry(RetryRule::WhilePropagating(&["NotFoundException"]));
        assert_eq!(attempts(propagating, "NotFoundException", 900).await.0, 8);
        assert_eq!(attempts(operation(), "NotFoundException", 900).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_refusal_stays_terminal_at_the_deadline() {
        for seconds in [3, 900] {
            let retried = operation().with_retry(RetryRule::OnlyIfRefused("MalformedPolicyDocumentException"));
            let (sent, failure) = attempts(retried, "MalformedPolicyDocumentException", seconds).await;
            assert!(sent > 2 && !failure.is_transient(), "{failure:?}");
        }
        let (_, failure) = attempts(operation(), "ConflictException", 3).await;
        assert!(failure.is_transient(), "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cloudtrail_throttles_is_retried_until_the_deadline() {
        let read = Operation { rate: Rate::CloudTrailRead, ..operation() };
        let (sent, failure) = attempts(read, "ThrottlingException", 300).await;
        assert!(sent > 50, "{sent}");
        assert!(failure.is("ThrottlingException") && !failure.outcome_unknown && !failure.not_sent);
        let end = "because (retried until the invocation's time ran out)";
        assert!(failure.message.ends_with(end), "{}", failure.message);
    }

    #[tokio::test(start_paused = true)]
    async fn every_attempt_counts_toward_the_rate() {
        let (aws, times) = (aws().await, std::sync::Mutex::new(Vec::new()));
        let write = Operation { rate: Rate::CloudTrailWrite, ..operation() };
        let send = || async {
            times.lock().unwrap().push(Instant::now());
            Err::<(), _>(refused(400, "ConflictException"))
        };
        let caller = within(&aws, 900);
        let (first, second) = join!(caller.call(&write, send), caller.call(&write, send));
        assert!(first.is_err() && second.is_err());
        let times = times.into_inner().unwrap();
        assert_eq!(times.len(), 20);
        assert!(times.windows(2).all(|pair| pair[1].duration_since(pair[0]) >= Duration::from_secs(1)), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_permit_is_held_during_backoff_or_in_the_queue() {
        let (aws, read) = (aws().await, operation());
        let write = Operation { rate: Rate::CloudTrailWrite, ..operation() };
        let throttled = || async { Err::<(), _>(refused(400, "ThrottlingException")) };
        let calls = within(&aws, 5);
        let backing_off = (0..10).map(|_| calls.call(&read, throttled));
        let queued = (0..10).map(|_| calls.call(&write, throttled));
        let held = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let region = &read.region;
            let permits = std::iter::repeat_with(|| aws.concurrency.acquire(region)).take(4);
            tokio::time::timeout(Duration::from_millis(1), futures_util::future::join_all(permits)).await.is_ok()
        };
        let backing_off = futures_util::future::join_all(backing_off);
        let (_, _, all_free) = join!(backing_off, futures_util::future::join_all(queued), held);
        assert!(all_free);
    }

    #[tokio::test(start_paused = true)]
    async fn the_condition_is_checked_before_every_attempt() {
        let (aws, checks) = (aws().await, AtomicUsize::new(0));
        let condition = || ready(Ok(checks.fetch_add(1, Ordering::Relaxed) < 2));
        let sent = AtomicUsize::new(0);
        let send = || async {
            sent.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(refused(400, "ConflictException"))
        };
        let failure = within(&aws, 900).call_while(&operation(), condition, send).await.unwrap_err();
        assert_eq!((checks.load(Ordering::Relaxed), sent.load(Ordering::Relaxed)), (3, 2));
        assert!(failure.is("ConflictException") && failure.outcome_unknown, "an attempt may be the cause: {failure:?}");
        assert_eq!(within(&aws, 900).call_while(&operation(), || ready(Ok(false)), send).await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_cannot_be_checked_sends_nothing() {
        let aws = aws().await;
        let condition = || ready(Err(Failure::transient("the trail cannot be read")));
        let send = || ready(Ok::<_, AttemptError>(()));
        let failure = within(&aws, 900).call_while(&operation(), condition, send).await.unwrap_err();
        assert!(failure.not_sent && !failure.outcome_unknown, "{failure:?}");
        let checks = AtomicUsize::new(0);
        let once = || {
            ready(match checks.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(true),
                _ => Err(Failure::terminal("the trail cannot be read", "")),
            })
        };
        let throttled = || ready(Err::<(), _>(refused(400, "ThrottlingException")));
        let failure = within(&aws, 900).call_while(&operation(), once, throttled).await.unwrap_err();
        assert!(!failure.not_sent && !failure.outcome_unknown, "one was sent: {failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_attempt_may_leave_the_outcome_unknown() {
        let (aws, sent) = (aws().await, AtomicUsize::new(0));
        let send = || async {
            match sent.fetch_add(1, Ordering::Relaxed) {
                0 => Err::<(), _>(AttemptError::NoResponse("the connection was closed".into())),
                _ => Err(refused(400, "AccessDeniedException")),
            }
        };
        let failure = within(&aws, 900).call(&operation(), send).await.unwrap_err();
        assert!(failure.is("AccessDeniedException") && failure.outcome_unknown, "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_the_deadline_ends_may_take_effect() {
        let (aws, sent) = (aws().await, AtomicUsize::new(0));
        let send = || async {
            match sent.fetch_add(1, Ordering::Relaxed) {
                0 => Err::<(), _>(refused(400, "ThrottlingException")),
                _ => std::future::pending().await,
            }
        };
        let failure = within(&aws, 5).call(&operation(), send).await.unwrap_err();
        let message = "cannot enable a key: ThrottlingException: because (retried until the invocation's time ran out)";
        assert_eq!((failure.message.as_str(), sent.into_inner()), (message, 2));
        assert!(
            failure.outcome_unknown && !failure.not_sent,
            "the refusal had none, the attempt without a response may"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_the_deadline_ends_has_no_response_or_is_unsent() {
        let aws = aws().await;
        let silent = || std::future::pending::<Result<(), AttemptError>>();
        let failure = within(&aws, 5).call(&operation(), silent).await.unwrap_err();
        assert_eq!(failure.message, "cannot enable a key: the invocation's time ran out");
        assert!(failure.outcome_unknown && !failure.not_sent);
        let failure = within(&aws, 0).call(&operation(), silent).await.unwrap_err();
        assert_eq!(failure.message, "cannot enable a key: the invocation's time ran out before the request was sent");
        assert!(!failure.outcome_unknown && failure.not_sent);
    }
}

//! Recorded calls, and faults to inject.

use std::time::{Duration, Instant};

use serde_json::Value;

/// A request and its response.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Position in the order of arrival, from 0.
    pub number: usize,
    /// `cloudtrail`, `kms`, `s3`, `sns` or `tagging`.
    pub service: String,
    /// The operation's name, such as `GetTrail`.
    pub operation: String,
    /// The Region of the request's signature.
    pub region: String,
    /// The input with AWS's field names, in every protocol.
    pub input: Value,
    /// The SDK's attempt, from 1 (its `amz-sdk-request` header).
    pub attempt: Option<u32>,
    /// The HTTP status. 0 before the response, and if the connection was closed instead.
    pub status: u16,
    /// The error code, if the response is an error.
    pub error: Option<String>,
    /// When the request had been read.
    pub started: Instant,
    /// When the response was written; `started` until then.
    pub ended: Instant,
    /// The connection that carried it, from 0.
    pub connection: u64,
    /// Bytes of the request's body.
    pub bytes_in: usize,
    /// Bytes of the response's body.
    pub bytes_out: usize,
}

impl Call {
    /// `service:Operation`, as in IAM.
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

/// What happens instead of the real response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error in the service's own protocol.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code, such as `ThrottlingException`.
        code: String,
        /// The error's message.
        message: String,
    },
    /// The connection is closed without a response.
    Drop,
    /// No response for this time. Then, before the operation, the connection is closed; after it, the real
    /// response is sent.
    Hang(Duration),
    /// A response with any body, such as a proxy's.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body, verbatim.
        body: String,
    },
}

impl Fault {
    /// An error response.
    pub fn error(status: u16, code: &str, message: &str) -> Fault {
        Fault::Error { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// Throttling, as CloudTrail and KMS report it.
    pub fn throttled() -> Fault {
        Fault::error(400, "ThrottlingException", "Rate exceeded")
    }

    /// Access denied by IAM or an SCP.
    pub fn access_denied() -> Fault {
        Fault::error(400, "AccessDeniedException", "User is not authorized to perform this operation")
    }

    /// A failure in AWS, after which it is unknown whether the operation took effect.
    pub fn internal() -> Fault {
        Fault::error(500, "InternalFailure", "An internal error occurred")
    }
}

/// The number of sequential rounds of the calls.
///
/// In order of their start: a call belongs to the current round if it started before any call of that round
/// had ended. Otherwise it starts the next round.
pub fn rounds(calls: &[Call]) -> usize {
    let mut spans: Vec<(Instant, Instant)> = calls.iter().map(|call| (call.started, call.ended)).collect();
    spans.sort();
    let mut rounds = 0;
    let mut first_end: Option<Instant> = None;
    for (started, ended) in spans {
        first_end = match first_end {
            Some(end) if started < end => Some(end.min(ended)),
            _ => {
                rounds += 1;
                Some(ended)
            }
        };
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(epoch: Instant, from: u64, to: u64) -> Call {
        Call {
            number: 0,
            service: "kms".into(),
            operation: "DescribeKey".into(),
            region: "eu-west-1".into(),
            input: Value::Null,
            attempt: None,
            status: 200,
            error: None,
            started: epoch + Duration::from_millis(from),
            ended: epoch + Duration::from_millis(to),
            connection: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn overlapping_calls_share_a_round() {
        let epoch = Instant::now();
        let calls = [
            span(epoch, 0, 50),
            span(epoch, 1, 60),
            // Starts while the second is in flight, but after the first had ended.
            span(epoch, 51, 100),
            span(epoch, 52, 101),
            span(epoch, 102, 150),
        ];
        assert_eq!(rounds(&calls), 3);
        assert_eq!(rounds(&[]), 0);
    }
}

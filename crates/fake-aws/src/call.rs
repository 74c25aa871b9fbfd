//! What was asked of the fake, and what it may be told to answer instead.

use std::time::{Duration, Instant};

use serde_json::Value;

/// One request as it arrived and how it was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Position in the order of arrival, from 0.
    pub number: usize,
    /// `cloudtrail`, `kms`, `s3`, `sns` or `tagging`.
    pub service: String,
    /// The operation's name, like `GetTrail`.
    pub operation: String,
    /// The Region of the request's signature.
    pub region: String,
    /// The input under AWS's own field names, whatever the protocol.
    pub input: Value,
    /// Which attempt of the SDK's this was, from 1 (its `amz-sdk-request` header).
    pub attempt: Option<u32>,
    /// The HTTP status answered; 0 until then, and if the connection was closed instead.
    pub status: u16,
    /// The error's code, if it was one.
    pub error: Option<String>,
    /// When the request had been read.
    pub started: Instant,
    /// When the answer was handed to the connection; `started` until then.
    pub ended: Instant,
    /// The connection that carried it, from 0.
    pub connection: u64,
    /// Bytes of the request's body.
    pub bytes_in: usize,
    /// Bytes of the answer's body.
    pub bytes_out: usize,
}

impl Call {
    /// `service:Operation`, as IAM would write it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

/// What happens instead of the genuine answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error in the service's own protocol.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error's code, like `ThrottlingException`.
        code: String,
        /// The error's message.
        message: String,
    },
    /// The connection is closed without an answer.
    Drop,
    /// Silence for so long. Before the operation: then the connection is closed. After it: then the genuine answer is sent.
    Hang(Duration),
    /// Any body at all, as a proxy in between might send.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body, verbatim.
        body: String,
    },
}

impl Fault {
    /// An error answer.
    pub fn error(status: u16, code: &str, message: &str) -> Fault {
        Fault::Error { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// CloudTrail's and KMS's throttling.
    pub fn throttled() -> Fault {
        Fault::error(400, "ThrottlingException", "Rate exceeded")
    }

    /// A refusal by IAM or an SCP.
    pub fn access_denied() -> Fault {
        Fault::error(400, "AccessDeniedException", "User is not authorized to perform this operation")
    }

    /// A failure on AWS's side, which leaves open whether the operation took effect.
    pub fn internal() -> Fault {
        Fault::error(500, "InternalFailure", "An internal error occurred")
    }
}

/// How many sequential rounds on the wire the calls took.
///
/// Greedy, in order of their start: a round is a run of calls each of which started before the
/// first of them to end had ended; a call that started later opens the next round.
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
    fn overlapping_calls_share_a_round_and_later_ones_open_another() {
        let epoch = Instant::now();
        let calls = [
            span(epoch, 0, 50),
            span(epoch, 1, 60),
            // Starts while the second is still under way, but after the first had ended.
            span(epoch, 51, 100),
            span(epoch, 52, 101),
            span(epoch, 102, 150),
        ];
        assert_eq!(rounds(&calls), 3);
        assert_eq!(rounds(&[]), 0);
    }
}

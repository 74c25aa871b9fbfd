//! The errors of an attempt, the failures that an operation reports by the one table of AWS's error codes, and the parsing
//! of responses, which can fail in the same ways.

mod table;

use std::error::Error;
use std::str::FromStr;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_smithy_types::error::ErrorMetadata;
use trailseal_core::failure::Class;
use trailseal_core::failure::Failure;
use trailseal_core::ids::Malformed;
use trailseal_core::observation::Reading;

use super::operation::{Deadline, Operation};
use table::{Kind, RETRIED, UNLISTED};

/// Why an attempt failed, without the SDK's types of each operation.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// AWS responded with this HTTP status and error.
    Refused(u16, ErrorMetadata),
    /// The SDK could not build the request.
    NotBuilt(String),
    /// No response, or an unreadable one.
    NoResponse(String),
}

impl<E> From<SdkError<E, HttpResponse>> for AttemptError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(refusal) => {
                Self::Refused(refusal.raw().status().as_u16(), refusal.err().meta().clone())
            }
            SdkError::ConstructionFailure(_) => Self::NotBuilt(causes(&error)),
            SdkError::TimeoutError(_) => Self::NoResponse("no response in time".into()),
            _ => Self::NoResponse(causes(&error)),
        }
    }
}

/// Whether AWS refused the call for its rate, so that it had no effect.
pub(super) fn is_throttled(failure: &Failure) -> bool {
    !failure.outcome_unknown && kind(failure) == Some(Kind::Throttled)
}

/// Whether AWS denied access.
pub(super) fn is_denied(failure: &Failure) -> bool {
    kind(failure) == Some(Kind::Denied)
}

/// Whether the same request can succeed soon.
pub(super) fn is_retryable(failure: &Failure) -> bool {
    failure.class == Class::Transient && kind(failure) != Some(Kind::Later)
}

/// Whether AWS returned one of these codes, which are separated by spaces.
pub(super) fn has_code(failure: &Failure, codes: &str) -> bool {
    failure.code.as_deref().is_some_and(|code| codes.split(' ').any(|known| known == code))
}

fn kind(failure: &Failure) -> Option<Kind> {
    Some(table::row(failure.operation?, failure.code.as_deref()?)?.kind)
}

/// A read in which the code `absent` means that the resource does not exist.
pub(super) fn reading<T>(response: Result<T, Failure>, absent: &str) -> Result<Reading<T>, Failure> {
    match response {
        Ok(value) => Ok(Reading::Known(value)),
        Err(failure) if failure.is(absent) => Ok(Reading::Absent),
        Err(failure) if is_denied(&failure) || failure.is("MethodNotAllowed") => Ok(Reading::Denied(failure)),
        Err(failure) => Err(failure),
    }
}

impl Operation {
    /// The IAM action that allows the operation.
    fn permission(&self) -> &'static str {
        match self.name {
            "s3:HeadBucket" => "s3:ListBucket",
            "s3:GetBucketReplication" => "s3:GetReplicationConfiguration",
            "s3:ListBuckets" => "s3:ListAllMyBuckets",
            name => name,
        }
    }

    /// The failure of one attempt.
    pub(super) fn failure(&self, error: AttemptError) -> Failure {
        match error {
            AttemptError::Refused(status, error) => self.refused(status, &error),
            AttemptError::NotBuilt(cause) => self.malformed_request(&cause),
            AttemptError::NoResponse(cause) => self.no_response(&cause),
        }
    }

    fn refused(&self, status: u16, error: &ErrorMetadata) -> Failure {
        let code = error.code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
        // A 5xx, or a response that is not AWS's own, does not show whether the call had an effect.
        let outcome_unknown = !(400..500).contains(&status);
        let (class, remedy) = match table::row(self.name, &code) {
            Some(row) => (row.kind.class(), row.remedy),
            None if outcome_unknown || status == 429 => (Class::Transient, RETRIED),
            None => (Class::Terminal, UNLISTED),
        };
        let remedy = remedy.replace("{action}", self.permission()).replace("{call}", self.name);
        let remedy = remedy.replace("{region}", self.region.as_str());
        Failure {
            class,
            operation: Some(self.name),
            message: self.message(&format!("{code}: {}", error.message().unwrap_or("AWS returned no message"))),
            code: Some(code),
            request_id: error.request_id().map(str::to_owned),
            remedy: Some(remedy),
            outcome_unknown,
            not_sent: false,
        }
    }

    /// The failure of a request that could not be built.
    pub(super) fn malformed_request(&self, cause: &str) -> Failure {
        Failure { operation: Some(self.name), remedy: None, ..Failure::terminal(self.message(cause), "") }
    }

    /// The failure of an attempt without a readable response.
    pub(super) fn no_response(&self, cause: &str) -> Failure {
        Failure { outcome_unknown: true, ..self.transient(cause) }
    }

    /// The failure of a call that the deadline ended before the first attempt.
    pub(super) fn not_sent(&self, deadline: Deadline) -> Failure {
        Failure { not_sent: true, ..self.transient(&format!("{} ran out before the request was sent", deadline.name)) }
    }

    /// The failure of a call whose response cannot be used. A retry does not help: AWS does not send such responses.
    pub(super) fn malformed_response(&self, cause: &str) -> Failure {
        let remedy = "check that no proxy between trailseal and AWS changes responses; otherwise contact AWS Support";
        Failure { operation: Some(self.name), ..Failure::terminal(self.message(cause), remedy) }
    }

    /// A field that AWS always sends. Without it, the response is unreadable, not a default.
    pub(super) fn require<T>(&self, field: Option<T>, name: &str) -> Result<T, Failure> {
        field.ok_or_else(|| self.malformed_response(&format!("{} returned no `{name}`", self.name)))
    }

    /// A name or ARN that AWS always sends.
    pub(super) fn parse<T: FromStr<Err = Malformed>>(&self, text: Option<String>, name: &str) -> Result<T, Failure> {
        let parsed = self.require(text, name)?.parse();
        parsed.map_err(|malformed| {
            self.malformed_response(&format!("{} returned a malformed `{name}`: {malformed}", self.name))
        })
    }

    fn transient(&self, cause: &str) -> Failure {
        let failure = Failure::transient(self.message(cause));
        Failure { operation: Some(self.name), remedy: Some(RETRIED.to_owned()), ..failure }
    }

    fn message(&self, cause: &str) -> String {
        format!("cannot {}: {cause}", self.description)
    }
}

/// An error and its causes, joined by colons, without repetitions.
pub fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.iter().all(|known| !known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests;

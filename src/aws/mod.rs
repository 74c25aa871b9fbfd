//! Access to AWS: a port to read, `Read`, and a port to write, `Write`. Only this folder names the SDK.
//! It decides nothing about trails and keys.
//!
//! Every call takes the path in `call`, within the limits of `limits`, and its errors are classified by the table in
//! `errors`. Each service has one file, with its part of the ports.

mod call;
mod clients;
mod cloudtrail;
mod errors;
mod kms;
mod limits;
mod operation;
mod s3;
mod sns;
mod tagging;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use trailseal_core::failure::Failure;

use call::CallRunner;
pub use call::RETRY_TARGET;
pub use clients::Aws;
pub(crate) use cloudtrail::{KeyVisibility, TrailReads, TrailWrites};
pub use errors::causes;
pub(crate) use kms::{AliasCreation, KeyReads, KeyWrites};
pub(crate) use operation::Deadline;
pub(crate) use s3::BucketReads;
pub(crate) use sns::Publisher;
pub(crate) use tagging::TagReads;

/// All reads. Observation and planning hold no other port.
pub(crate) trait Read: TrailReads + KeyReads + BucketReads + TagReads {
    /// Waits before something is read again. Fails at once if the deadline comes first.
    async fn wait(&self, time: Duration) -> Result<(), Failure>;

    /// The time of day, to compare with AWS's.
    fn now(&self) -> SystemTime;
}

/// All writes, except alerts. Only `apply` holds this port.
pub(crate) trait Write: TrailWrites + KeyWrites {}

/// Reads AWS until a deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(CallRunner<'a>);

/// Writes to AWS until a deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a>(CallRunner<'a>);

impl Read for Reader<'_> {
    async fn wait(&self, time: Duration) -> Result<(), Failure> {
        if self.0.deadline.at.saturating_duration_since(Instant::now()) <= time {
            return Err(Failure::transient("not enough time is left to repeat a read"));
        }
        sleep(time).await;
        Ok(())
    }

    fn now(&self) -> SystemTime {
        self.0.aws.now()
    }
}

impl Write for Writer<'_> {}

impl Aws {
    /// The port to read.
    pub(crate) fn reader(&self, deadline: impl Into<Deadline>) -> Reader<'_> {
        Reader(CallRunner { aws: self, deadline: deadline.into() })
    }

    /// The port to write.
    pub(crate) fn writer(&self, deadline: impl Into<Deadline>) -> Writer<'_> {
        Writer(CallRunner { aws: self, deadline: deadline.into() })
    }

    /// The port to publish alerts.
    pub(crate) fn publisher(&self, deadline: impl Into<Deadline>) -> Publisher<'_> {
        Publisher(CallRunner { aws: self, deadline: deadline.into() })
    }
}

/// `None` for an empty string, which AWS returns for an unset setting.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

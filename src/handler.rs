//! From the Lambda's input to its answer.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use trailseal_core::config::Config;
use trailseal_core::ids::FunctionArn;
use trailseal_core::report::Answer;
use trailseal_core::trigger::{InvalidInput, Target, Trigger};

use crate::aws::Aws;
use crate::run::{Deadlines, reconcile};

/// The input as it came. Deserializing it never fails, so that nonsense is answered in our words.
#[derive(Debug)]
pub struct Input(Result<Box<RawValue>, String>);

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer).map_err(|error| error.to_string())))
    }
}

/// Why an invocation failed, as Lambda is told.
pub enum Failed {
    /// The input is neither an event nor a request; trying again cannot help.
    InvalidInput(String),
    /// Trying again can help.
    Transient(String),
}

impl Failed {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::InvalidInput(message) => ("InvalidInput", message),
            Self::Transient(message) => ("Transient", message),
        }
    }
}

/// The runtime writes this into the log, for people.
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, message) = self.parts();
        write!(f, "{kind}: {message}")
    }
}

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        let (error_type, error_message) = failed.parts();
        Self { error_type: error_type.into(), error_message: error_message.into() }
    }
}

/// Handles one invocation.
///
/// # Errors
///
/// [`Failed`], so that Lambda tries again or parks the event; what was done until then is logged.
pub async fn handle(aws: &Aws, config: &Config, event: LambdaEvent<Input>) -> Result<Answer, Failed> {
    let invalid = |message: String| Failed::InvalidInput(message);
    let home: FunctionArn = event
        .context
        .invoked_function_arn
        .parse()
        .map_err(|malformed| invalid(format!("cannot tell whose account this is: {malformed}")))?;
    let trigger = event
        .payload
        .0
        .and_then(|raw| serde_json::from_str::<Value>(raw.get()).map_err(|error| error.to_string()))
        .map_err(|cause| InvalidInput::not_json(&cause))
        .and_then(|input| Trigger::parse(&input, &home))
        .map_err(|error| invalid(error.to_string()))?;
    let Trigger { origin, target } = trigger;
    let sweep = target == Target::Sweep;
    let first = number_of(&event.context.request_id);
    let answer = reconcile(aws, config, &home, target, &origin, deadlines(&event.context), first).await;
    log(&answer);
    match answer.unfinished() {
        // The next sweep looks at everything again, if this one looked at anything.
        Some(unfinished) if !sweep || answer.error.is_some() => {
            Err(Failed::Transient(format!("{unfinished}; it is tried again")))
        }
        _ => Ok(answer),
    }
}

/// A number that differs from invocation to invocation, also where those come at the same time of day.
fn number_of(request_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    request_id.hash(&mut hasher);
    hasher.finish()
}

/// Leaves time to tell about it: a tenth of what there is, between half a second and five.
fn deadlines(context: &Context) -> Deadlines {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(context.deadline).saturating_sub(now);
    let to_tell = left.mul_f64(0.1).clamp(Duration::from_millis(500), Duration::from_secs(5));
    let until = |left: Duration| Instant::now().checked_add(left).unwrap_or_else(Instant::now);
    Deadlines { work: until(left.saturating_sub(to_tell)), report: until(left.saturating_sub(to_tell.mul_f64(0.2))) }
}

/// The answer's line in the log. Standard output is where Lambda reads it; that it could not be
/// written is nothing that could be told anywhere else.
fn log(answer: &Answer) {
    if let Ok(line) = answer.log_line() {
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

//! The log: one JSON object per line on standard output, which Lambda's log filters and metric filters can read. Each
//! line of an invocation has its `requestId`, as the platform's own lines have.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>.

use std::fmt;
use std::io::Write as _;

use serde_json::{Value, json};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use trailseal_core::report::Answer;

use crate::aws::RETRY_TARGET;
use crate::observe::READ_TARGET;

/// Logs events at the level configured for the function, except those for a person at a terminal.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let is_enabled = move |metadata: &Metadata<'_>| {
        let is_logged = *metadata.level() <= level && ![READ_TARGET, RETRY_TARGET].contains(&metadata.target());
        is_logged || is_invocation(metadata)
    };
    let filter = filter_fn(is_enabled).with_max_level_hint(level.max(Level::INFO));
    let format = tracing_subscriber::fmt::format().json().flatten_event(true);
    let format = format.with_current_span(false).with_span_list(false).with_target(false).without_time();
    let layer = tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(WithRequestId(format));
    tracing_subscriber::registry().with(layer).with(filter).init();
}

/// Writes the answer. If that fails, there is no other place to report it.
pub fn log_answer(answer: &Answer, request_id: &str) {
    if let Ok(line) = answer.log_line(request_id) {
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

/// Whether it is the span with which `lambda_runtime` surrounds an invocation. Its level is `INFO`, and it is needed at
/// every level, because it has the request ID.
fn is_invocation(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("lambda_runtime")
}

/// A line with the request ID of its invocation. Outside an invocation there is none.
struct WithRequestId(Format<Json, ()>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for WithRequestId {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let spans = context.event_scope().into_iter().flatten();
        let request_id = spans.filter(|span| is_invocation(span.metadata())).find_map(|span| {
            let fields: Value = serde_json::from_str(span.extensions().get::<FormattedFields<JsonFields>>()?).ok()?;
            fields.get("requestId").cloned()
        });
        match (request_id, line.strip_prefix('{')) {
            (Some(id), Some(rest)) => write!(writer, "{{\"requestId\":{},{rest}", json!(id)),
            _ => write!(writer, "{line}"),
        }
    }
}

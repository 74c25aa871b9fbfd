//! The function's process: reads the configuration, creates the clients and serves events.

use std::io::Write as _;
use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use tracing::Level;
use trailseal::aws::Aws;
use trailseal::handler::{Input, handle};
use trailseal_core::config::Config;

fn main() -> ExitCode {
    // Lambda sets it in every environment: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.
    // Without it, `lambda_runtime` panics.
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        // If standard error is closed, there is no other place to report this.
        let _ = writeln!(
            std::io::stderr(),
            "error: `trailseal-lambda` runs only in AWS Lambda (`AWS_LAMBDA_RUNTIME_API` is not set); \
             the command line is `trailseal`"
        );
        return ExitCode::FAILURE;
    }
    serve()
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> ExitCode {
    log_as_json();
    let config = match Config::parse(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())) {
        Ok(config) => config,
        Err(problems) => {
            tracing::error!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    let aws = Aws::load().await;
    let service = service_fn(|event: LambdaEvent<Input>| handle(&aws, &config, event));
    match lambda_runtime::run(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("cannot serve events: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes one JSON object per line, which Lambda's log filters can read, at the level configured for the function.
fn log_as_json() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .without_time()
        .with_max_level(level)
        .init();
}

//! The Lambda function: reads the configuration, makes the clients, serves events. Decides nothing.
//! Where there is no Lambda, it is a command line instead.

mod command;

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use tracing::Level;
use trailseal::aws::Aws;
use trailseal::handler::{Input, handle};
use trailseal_core::config::Config;

fn main() -> ExitCode {
    // Lambda sets it, and some of what stands in for Lambda passes arguments, too:
    // <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() { serve() } else { command::run() }
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
    let serve = service_fn(|event: LambdaEvent<Input>| handle(&aws, &config, event));
    match lambda_runtime::run(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("cannot serve events: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One JSON object a line, as Lambda's log filters read it, at the level that is set for the function.
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

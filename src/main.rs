//! The Lambda function: reads the configuration, makes the clients, serves events. Decides nothing.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn, tracing};
use trailseal::aws::Aws;
use trailseal::handler::{Input, handle};
use trailseal_core::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing::init_default_subscriber();
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

//! The function's process: reads the configuration, creates the clients and serves events.

use std::io::Write as _;
use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use trailseal::aws::Aws;
use trailseal::handler::{Input, handle};
use trailseal::logging;
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
    logging::init();
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

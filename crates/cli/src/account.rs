//! The account that the caller's credentials belong to.

use std::error::Error;

use aws_config::SdkConfig;
use aws_sdk_sts::error::ProvideErrorMetadata;
use trailseal::aws::Aws;
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::ids::{FunctionArn, FunctionName, Partition, Region};

use crate::failure::Failed;

/// Reads the caller's profile as the AWS CLI does.
///
/// # Errors
///
/// No Region is configured.
pub(crate) async fn connect(profile: Option<&str>, region: Option<&Region>) -> Result<(Aws, Region), Failed> {
    let mut loader = aws_config::from_env();
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(aws_config::Region::new(region.to_string()));
    }
    let aws = Aws::configured(loader).await;
    let Some(configured) = aws.sdk().region() else {
        return Err(Failed::new("no AWS Region is configured", "specify --region, or set AWS_REGION"));
    };
    match configured.as_ref().parse() {
        Ok(region) => Ok((aws, region)),
        Err(malformed) => Err(Failed::new(
            format!("the configured Region is malformed: {malformed}"),
            "specify --region, or correct AWS_REGION or the profile",
        )),
    }
}

/// The context of decisions for the caller's account.
///
/// # Errors
///
/// STS does not accept the caller's credentials.
pub(crate) async fn context(
    sdk: &SdkConfig,
    config: Config,
    region: &Region,
    profile: Option<&str>,
) -> Result<Context, Failed> {
    let identity = aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await.map_err(|error| {
        let profile = profile.map(|profile| format!(" --profile {profile}")).unwrap_or_default();
        Failed::new(
            format!("cannot determine the AWS account with sts:GetCallerIdentity: {}", cause(&error)),
            format!("check the credentials with `aws sts get-caller-identity{profile}`; renew an expired session with `aws sso login{profile}`"),
        )
    })?;
    let incomplete = |what: &str| Failed::new(format!("sts:GetCallerIdentity returned no {what}"), "try again");
    let account = identity.account().unwrap_or_default().parse().map_err(|_| incomplete("account ID"))?;
    let partition: Partition = identity
        .arn()
        .and_then(|arn| arn.split(':').nth(1))
        .and_then(|partition| partition.parse().ok())
        .ok_or_else(|| incomplete("ARN"))?;
    let name: FunctionName = "trailseal".parse().map_err(|_| incomplete("name"))?;
    Ok(Context { config, function_arn: FunctionArn::new(&partition, region, &account, name) })
}

/// The error code and the message of AWS. Without a response, the causes, the outermost first, without repetitions.
fn cause(error: &(impl ProvideErrorMetadata + Error)) -> String {
    if let Some(code) = error.code() {
        return format!("{code}: {}", error.message().unwrap_or("AWS returned no message"));
    }
    let mut texts: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if texts.iter().all(|known| !known.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}

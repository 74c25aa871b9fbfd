//! The account that the caller's credentials belong to.

use std::error::Error;
use std::iter::successors;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{ConfigLoader, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::ProvideErrorMetadata;
use trailseal::aws::{Aws, causes};
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::ids::{FunctionArn, FunctionName, Partition, Region, shorten};

use crate::failure::Failed;

/// Reads the caller's profile as the AWS CLI does.
///
/// # Errors
///
/// No Region is configured, or the URL of an endpoint is malformed.
pub(crate) async fn connect(profile: Option<&str>, region: Option<&Region>) -> Result<(Aws, Region), Failed> {
    require_endpoint_urls()?;
    let mut aws = Aws::configured(loader(profile, region)).await;
    if let Some(profile) = profile {
        // The SDK prefers credentials in the environment. With `--profile`, the AWS CLI does not.
        let credentials = profile_credentials(aws.sdk(), profile);
        aws = Aws::configured(loader(Some(profile), region).credentials_provider(credentials)).await;
    }
    let Some(configured) = aws.sdk().region() else {
        let of = profile.map(|profile| format!(" for profile `{}`", shorten(profile, 80))).unwrap_or_default();
        let message = format!("no AWS Region is configured{of}");
        let list = "; `aws configure list-profiles` lists the profiles";
        let list = if profile.is_some() { list } else { "" };
        return Err(Failed::new(message, format!("specify --region, or set AWS_REGION{list}")));
    };
    match configured.as_ref().parse() {
        Ok(region) => Ok((aws, region)),
        Err(malformed) => Err(Failed::new(
            format!("the configured Region is malformed: {malformed}"),
            "specify --region, or correct AWS_REGION or the profile",
        )),
    }
}

fn loader(profile: Option<&str>, region: Option<&Region>) -> ConfigLoader {
    let mut loader = aws_config::from_env();
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(aws_config::Region::new(region.to_string()));
    }
    loader
}

fn profile_credentials(sdk: &SdkConfig, profile: &str) -> ProfileFileCredentialsProvider {
    let mut config = ProviderConfig::without_region().with_region(sdk.region().cloned());
    if let Some(client) = sdk.http_client() {
        config = config.with_http_client(client);
    }
    ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile).build()
}

/// The SDK panics if one of these variables is empty.
fn require_endpoint_urls() -> Result<(), Failed> {
    for (name, url) in std::env::vars_os() {
        let (name, url) = (name.to_string_lossy(), url.to_string_lossy());
        let host = url.strip_prefix("https://").or(url.strip_prefix("http://"));
        let is_url = host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace));
        if name.starts_with("AWS_ENDPOINT_URL") && !is_url {
            let message = format!("{name} is not an HTTP or HTTPS URL: `{}`", shorten(&url, 80));
            return Err(Failed::new(message, "correct or unset the variable"));
        }
    }
    Ok(())
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
    let identity = aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await;
    let identity = identity.map_err(|error| unknown_account(&error, region, profile))?;
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

fn unknown_account(
    error: &(impl ProvideErrorMetadata + Error + 'static),
    region: &Region,
    profile: Option<&str>,
) -> Failed {
    let option = profile.map(|profile| format!(" --profile {profile}")).unwrap_or_default();
    let check = format!(
        "check the credentials with `aws sts get-caller-identity{option}`; renew an expired session with `aws sso login{option}` or `aws login{option}`"
    );
    let cannot = "cannot determine the AWS account with sts:GetCallerIdentity";
    if let Some(code) = error.code() {
        let message = error.message().unwrap_or("AWS returned no message");
        return Failed::new(format!("{cannot}: {code}: {message}"), check);
    }
    let text = |error: &dyn Error| shorten(&causes(error), 1000);
    let chain = successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
    // The innermost one says why.
    match chain.filter_map(|cause| cause.downcast_ref::<CredentialsError>()).last() {
        Some(CredentialsError::CredentialsNotLoaded(_)) if profile.is_none() => Failed::new(
            "no AWS credentials were found",
            format!("set AWS_PROFILE, specify --profile, or sign in with the AWS CLI; {check}"),
        ),
        Some(credentials) => {
            let why = credentials.source().map_or_else(|| text(credentials), text);
            Failed::new(format!("cannot load AWS credentials: {why}"), check)
        }
        None => Failed::new(
            format!("{cannot}: {}", text(error)),
            format!(
                "check the network and the Region `{region}`; AWS_ENDPOINT_URL and HTTPS_PROXY apply if they are set"
            ),
        ),
    }
}

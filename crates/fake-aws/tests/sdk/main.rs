//! The real SDK against the fake: it parses every response and encounters AWS's rules.

mod authorization;
mod cloudtrail;
mod cloudtrail_key;
mod delivery;
mod kms;
mod kms_policy;
mod protocol;
mod s3;
mod server;
mod sns;
mod tagging;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_kms::config::Credentials;
use aws_sdk_kms::error::ProvideErrorMetadata;
use fake_aws::{FakeAws, World};

const ACCOUNT: &str = "123456789012";
const OTHER_ACCOUNT: &str = "210987654321";
const IRELAND: &str = "eu-west-1";
const FRANKFURT: &str = "eu-central-1";

fn world() -> World {
    World::new(ACCOUNT)
}

/// The SDK's configuration for the fake, without retries.
async fn sdk(aws: &FakeAws, region: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(aws.url())
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

async fn cloudtrail(aws: &FakeAws, region: &str) -> aws_sdk_cloudtrail::Client {
    aws_sdk_cloudtrail::Client::new(&sdk(aws, region).await)
}

async fn kms(aws: &FakeAws, region: &str) -> aws_sdk_kms::Client {
    aws_sdk_kms::Client::new(&sdk(aws, region).await)
}

/// The code of an expected error.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    let error = result.expect_err("an error");
    error.code().expect("an error with a code").to_owned()
}

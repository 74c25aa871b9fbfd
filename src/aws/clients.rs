//! The SDK's clients: one for each service and Region, created when first needed, all on one connector.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{ConfigLoader, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::timeout::TimeoutConfig;
use trailseal_core::ids::Region;

use super::limits::{ConcurrencyLimiter, RateLimiter};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// AWS, with credentials, trust roots and connections that outlive an invocation.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    pub(super) rates: RateLimiter,
    pub(super) concurrency: ConcurrencyLimiter,
    cloudtrail: PerRegion<aws_sdk_cloudtrail::Client>,
    kms: PerRegion<aws_sdk_kms::Client>,
    s3: PerRegion<aws_sdk_s3::Client>,
    tagging: PerRegion<aws_sdk_resourcegroupstagging::Client>,
    sns: PerRegion<aws_sdk_sns::Client>,
}

#[derive(Debug)]
struct PerRegion<C>(Mutex<BTreeMap<Region, C>>);

impl<C: Clone> PerRegion<C> {
    fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn get(&self, region: &Region, create: impl FnOnce(aws_config::Region) -> C) -> C {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(region.clone()).or_insert_with(|| create(aws_config::Region::new(region.to_string()))).clone()
    }
}

impl Aws {
    /// Reads the SDK's own variables and creates the clients of the function's Region, so that trust roots and clients
    /// are ready for the first invocation.
    pub async fn load() -> Self {
        Self::configured(aws_config::from_env()).await
    }

    /// The same, with part of the SDK's configuration given.
    pub(super) async fn configured(loader: ConfigLoader) -> Self {
        let sdk = loader
            .http_client(http_client())
            // Retries are in `call`, where each one counts toward the limits.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            )
            .load()
            .await;
        let aws = Self {
            sdk,
            rates: RateLimiter::default(),
            concurrency: ConcurrencyLimiter::default(),
            cloudtrail: PerRegion::new(),
            kms: PerRegion::new(),
            s3: PerRegion::new(),
            tagging: PerRegion::new(),
            sns: PerRegion::new(),
        };
        if let Some(Ok(region)) = aws.sdk.region().map(|region| region.as_ref().parse()) {
            drop((aws.cloudtrail(&region), aws.kms(&region), aws.s3(&region), aws.sns(&region)));
        }
        aws
    }

    pub(super) fn cloudtrail(&self, region: &Region) -> aws_sdk_cloudtrail::Client {
        use aws_sdk_cloudtrail::{Client, config::Builder};
        self.cloudtrail.get(region, |region| Client::from_conf(Builder::from(&self.sdk).region(region).build()))
    }

    pub(super) fn kms(&self, region: &Region) -> aws_sdk_kms::Client {
        use aws_sdk_kms::{Client, config::Builder};
        self.kms.get(region, |region| Client::from_conf(Builder::from(&self.sdk).region(region).build()))
    }

    /// Not created at start: few invocations read the tag index.
    pub(super) fn tagging(&self, region: &Region) -> aws_sdk_resourcegroupstagging::Client {
        use aws_sdk_resourcegroupstagging::{Client, config::Builder};
        self.tagging.get(region, |region| Client::from_conf(Builder::from(&self.sdk).region(region).build()))
    }

    /// Path-style, so that a bucket's name never becomes part of a host name: all buckets of a Region have one host,
    /// names may contain dots, and an emulator needs no host names of its own.
    pub(super) fn s3(&self, region: &Region) -> aws_sdk_s3::Client {
        use aws_sdk_s3::{Client, config::Builder};
        self.s3.get(region, |region| {
            Client::from_conf(Builder::from(&self.sdk).region(region).force_path_style(true).build())
        })
    }

    pub(super) fn sns(&self, region: &Region) -> aws_sdk_sns::Client {
        use aws_sdk_sns::{Client, config::Builder};
        self.sns.get(region, |region| Client::from_conf(Builder::from(&self.sdk).region(region).build()))
    }
}

/// One connector for every client: trust roots are parsed once (the SDK would do it for each client),
/// and connections are shared.
fn http_client() -> SharedHttpClient {
    let settings =
        HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(ATTEMPT_TIMEOUT).build();
    let connector = Connector::builder()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .proxy_config(ProxyConfig::from_env())
        .connector_settings(settings)
        .build();
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}

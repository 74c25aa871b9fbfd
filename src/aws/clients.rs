//! The SDK's clients: one for each service and Region, created when first needed, all on one connector.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

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
use super::lock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// AWS, with credentials, trust roots and connections that outlive an invocation.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    pub(super) rates: RateLimiter,
    pub(super) concurrency: ConcurrencyLimiter,
    clients: Clients,
}

#[derive(Debug, Default)]
struct Clients {
    cloudtrail: PerRegion<aws_sdk_cloudtrail::Client>,
    kms: PerRegion<aws_sdk_kms::Client>,
    s3: PerRegion<aws_sdk_s3::Client>,
    tagging: PerRegion<aws_sdk_resourcegroupstagging::Client>,
    sns: PerRegion<aws_sdk_sns::Client>,
}

type PerRegion<C> = Mutex<BTreeMap<Region, C>>;

impl Aws {
    /// Reads the SDK's own variables and creates the clients of the function's Region, so that trust roots and clients
    /// are ready for the first invocation.
    pub async fn load() -> Self {
        Self::configured(aws_config::from_env()).await
    }

    /// The same, with part of the SDK's configuration given.
    pub async fn configured(loader: ConfigLoader) -> Self {
        Self::new(&loader.http_client(http_client()).load().await)
    }

    /// The same with a complete configuration, except for retries and time-outs.
    pub fn new(sdk: &SdkConfig) -> Self {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
        // Retries are in `call`, where each one counts toward the limits.
        let sdk = sdk.to_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts.build()).build();
        let (rates, concurrency) = (RateLimiter::default(), ConcurrencyLimiter::default());
        let aws = Self { sdk, rates, concurrency, clients: Clients::default() };
        if let Some(Ok(region)) = aws.sdk.region().map(|region| region.as_ref().parse()) {
            drop((aws.cloudtrail(&region), aws.kms(&region), aws.s3(&region), aws.sns(&region)));
        }
        aws
    }

    /// The SDK's configuration, for a caller's own clients.
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The time of day by the SDK's clock.
    pub(super) fn now(&self) -> SystemTime {
        self.sdk.time_source().map_or_else(SystemTime::now, |clock| clock.now())
    }

    fn client<C: Clone>(&self, clients: &PerRegion<C>, region: &Region, create: impl FnOnce(&SdkConfig) -> C) -> C {
        let region_config = || self.sdk.to_builder().region(aws_config::Region::new(region.to_string())).build();
        lock(clients).entry(region.clone()).or_insert_with(|| create(&region_config())).clone()
    }

    pub(super) fn cloudtrail(&self, region: &Region) -> aws_sdk_cloudtrail::Client {
        self.client(&self.clients.cloudtrail, region, aws_sdk_cloudtrail::Client::new)
    }

    pub(super) fn kms(&self, region: &Region) -> aws_sdk_kms::Client {
        self.client(&self.clients.kms, region, aws_sdk_kms::Client::new)
    }

    /// Not created at start: few invocations read the tag index.
    pub(super) fn tagging(&self, region: &Region) -> aws_sdk_resourcegroupstagging::Client {
        self.client(&self.clients.tagging, region, aws_sdk_resourcegroupstagging::Client::new)
    }

    /// Path-style, so that a bucket's name never becomes part of a host name: all buckets of a Region have one host,
    /// names may contain dots, and an emulator needs no host names of its own.
    pub(super) fn s3(&self, region: &Region) -> aws_sdk_s3::Client {
        use aws_sdk_s3::{Client, config::Builder};
        self.client(&self.clients.s3, region, |config| {
            Client::from_conf(Builder::from(config).force_path_style(true).build())
        })
    }

    pub(super) fn sns(&self, region: &Region) -> aws_sdk_sns::Client {
        self.client(&self.clients.sns, region, aws_sdk_sns::Client::new)
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

//! The SDK's clients: one for each service and Region, made when first needed, all on one connector.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::{ConfigLoader, SdkConfig};
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::time::{Instant, sleep_until, timeout_at};
use trailseal_core::ids::Region;
use trailseal_core::observation::Failure;

use super::Until;
use super::error::{Attempt, is_throttled};
use super::pace::{Kind, Pace};
use super::publish::Publisher;
use super::read::Reader;
use super::retry;
use super::under_way::{Place, Places};
use super::write::Writer;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// AWS, with credentials, trust roots and connections that outlive an invocation.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    pace: Pace,
    places: Places,
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

    fn get(&self, region: &Region, make: impl FnOnce(aws_config::Region) -> C) -> C {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(region.clone()).or_insert_with(|| make(aws_config::Region::new(region.to_string()))).clone()
    }
}

/// Makes a client of one service from the shared configuration.
macro_rules! client {
    ($sdk:ident, $shared:expr, $region:expr) => {
        $sdk::config::Builder::from($shared).region($region).retry_partition(retry::partition())
    };
}

impl Aws {
    /// Reads the SDK's own variables and makes the clients of the Region where this runs, so that the
    /// first invocation finds trust roots and clients ready.
    pub async fn load() -> Self {
        Self::configured(aws_config::from_env()).await
    }

    /// The same with a part of the SDK's configuration given.
    pub(super) async fn configured(loader: ConfigLoader) -> Self {
        let sdk = loader
            .http_client(http_client())
            .retry_config(retry::config())
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
            pace: Pace::default(),
            places: Places::default(),
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

    /// The port to read, until `deadline`.
    pub fn reader(&self, deadline: impl Into<Until>) -> Reader<'_> {
        Reader { aws: self, until: deadline.into() }
    }

    /// The port to write, until `deadline`.
    pub fn writer(&self, deadline: impl Into<Until>) -> Writer<'_> {
        Writer { aws: self, until: deadline.into() }
    }

    /// The port to alert, until `deadline`.
    pub fn publisher(&self, deadline: impl Into<Until>) -> Publisher<'_> {
        Publisher { aws: self, until: deadline.into() }
    }

    /// Waits for a call's turn. Whoever waits has no place among the calls under way.
    async fn turn(&self, region: &Region, kind: Kind) -> Place<'_> {
        loop {
            let place = self.places.take(region).await;
            let Some(until) = self.pace.taken_until(region, kind) else { return place };
            drop(place);
            sleep_until(until).await;
        }
    }

    /// Makes a call in its turn, and awaits it no longer than until the deadline. It is only prepared then:
    /// what waits is small.
    pub(super) async fn sent<F: Future>(
        &self,
        until: Until,
        (region, kind): (&Region, Kind),
        attempt: &Attempt,
        call: impl FnOnce() -> F,
    ) -> Result<F::Output, Failure> {
        let place = timeout_at(until.at, self.turn(region, kind)).await.ok().filter(|_| Instant::now() < until.at);
        let Some(_place) = place else { return Err(attempt.not_sent(until)) };
        timeout_at(until.at, Box::pin(call())).await.map_err(|_| attempt.out_of_time(until))
    }

    /// The same, for a call whose refusal says all there is to say.
    pub(super) async fn answer<T, E, F>(
        &self,
        until: Until,
        turn: (&Region, Kind),
        attempt: &Attempt,
        call: impl FnOnce() -> F,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        self.sent(until, turn, attempt, call).await?.map_err(|error| attempt.failure(&error))
    }

    /// The same for a call whose rate is shared with other invocations, which may be many at once: while it is
    /// throttled, it waits for another turn as long as there is time. Turns keep it from asking without pause.
    pub(super) async fn patiently<T, E, F>(
        &self,
        until: Until,
        turn: (&Region, Kind),
        attempt: &Attempt,
        call: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut throttled = None;
        loop {
            match self.answer(until, turn, attempt, &call).await {
                Err(failure) if is_throttled(&failure) => throttled = Some(failure),
                // Why there was another says more than that its turn did not come.
                Err(failure) if failure.not_sent => return Err(throttled.unwrap_or(failure)),
                answer => return answer,
            }
        }
    }

    pub(super) fn cloudtrail(&self, region: &Region) -> aws_sdk_cloudtrail::Client {
        self.cloudtrail.get(region, |region| {
            aws_sdk_cloudtrail::Client::from_conf(client!(aws_sdk_cloudtrail, &self.sdk, region).build())
        })
    }

    pub(super) fn kms(&self, region: &Region) -> aws_sdk_kms::Client {
        self.kms.get(region, |region| aws_sdk_kms::Client::from_conf(client!(aws_sdk_kms, &self.sdk, region).build()))
    }

    /// Not made at start: few invocations ask the tag index.
    pub(super) fn tagging(&self, region: &Region) -> aws_sdk_resourcegroupstagging::Client {
        self.tagging.get(region, |region| {
            let config = client!(aws_sdk_resourcegroupstagging, &self.sdk, region).build();
            aws_sdk_resourcegroupstagging::Client::from_conf(config)
        })
    }

    /// Path-style, so that a bucket's name never becomes part of a host name: one host for all buckets
    /// of a Region, dots in names are fine, and an emulator needs no names of its own.
    pub(super) fn s3(&self, region: &Region) -> aws_sdk_s3::Client {
        self.s3.get(region, |region| {
            aws_sdk_s3::Client::from_conf(client!(aws_sdk_s3, &self.sdk, region).force_path_style(true).build())
        })
    }

    pub(super) fn sns(&self, region: &Region) -> aws_sdk_sns::Client {
        self.sns.get(region, |region| aws_sdk_sns::Client::from_conf(client!(aws_sdk_sns, &self.sdk, region).build()))
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

//! Hooks, faults, latency and TLS.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use fake_aws::{FakeAws, Fault, Key, Trail, rounds};

use crate::{IRELAND, cloudtrail, kms, sdk, world};

#[tokio::test]
async fn a_fault_before_the_operation_changes_nothing() {
    let aws = FakeAws::start(world());
    let before = aws.snapshot();
    aws.before(|call, _| (call.operation == "CreateKey").then(Fault::internal));
    let client = kms(&aws, IRELAND).await;
    client.create_key().send().await.unwrap_err();
    assert_eq!(aws.snapshot(), before);
    let call = &aws.calls()[0];
    assert_eq!((call.status, call.error.as_deref()), (500, Some("InternalFailure")));
}

#[tokio::test]
async fn a_fault_after_the_operation_loses_the_response_only() {
    let aws = FakeAws::start(world());
    aws.after(|_, _| Some(Fault::Drop));
    let client = kms(&aws, IRELAND).await;
    client.create_key().send().await.unwrap_err();
    assert_eq!(aws.world().customer_keys(IRELAND).len(), 1);
    assert_eq!(aws.calls()[0].status, 0);
}

#[tokio::test]
async fn hooks_can_change_the_world_and_be_cleared() {
    let mut world = world();
    let arn = world.key(Key::new(IRELAND));
    let aws = FakeAws::start(world);
    aws.after(|_, world| {
        world.now += 1;
        None
    });
    let client = kms(&aws, IRELAND).await;
    client.describe_key().key_id(&arn).send().await.unwrap();
    aws.clear_hooks();
    client.describe_key().key_id(&arn).send().await.unwrap();
    assert_eq!(aws.world().now, 1_790_000_001);
    aws.clear_calls();
    assert!(aws.names().is_empty());
}

#[tokio::test]
async fn the_sdk_retries_and_each_attempt_is_recorded() {
    let mut world = world();
    let arn = world.key(Key::new(IRELAND));
    let aws = FakeAws::start(world);
    aws.before(|call, _| (call.attempt == Some(1)).then(Fault::throttled));
    let retrying = sdk(&aws, IRELAND)
        .await
        .into_builder()
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)));
    let client = aws_sdk_kms::Client::new(&retrying.build());
    client.describe_key().key_id(&arn).send().await.unwrap();
    let calls = aws.calls();
    assert_eq!(calls.iter().map(|call| call.attempt).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(rounds(&calls), 2);
}

#[tokio::test]
async fn a_hang_ends_in_the_callers_timeout() {
    let aws = FakeAws::start(world());
    aws.before(|_, _| Some(Fault::Hang(Duration::from_secs(60))));
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_millis(100)).build();
    let config = sdk(&aws, IRELAND).await.into_builder().timeout_config(timeouts).build();
    let error = aws_sdk_kms::Client::new(&config).list_keys().send().await.unwrap_err();
    assert!(matches!(error, aws_sdk_kms::error::SdkError::TimeoutError(_)));
}

#[tokio::test]
async fn a_raw_response_is_sent_verbatim() {
    let aws = FakeAws::start(world());
    aws.before(|_, _| Some(Fault::Raw { status: 502, body: "<html>Bad gateway".into() }));
    let error = kms(&aws, IRELAND).await.list_keys().send().await.unwrap_err();
    let raw = error.raw_response().unwrap();
    assert_eq!((raw.status().as_u16(), raw.body().bytes()), (502, Some(&b"<html>Bad gateway"[..])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_share_a_round() {
    let mut world = world().trail(Trail::new("audit", IRELAND, "logs"));
    let arn = world.key(Key::new(IRELAND));
    let aws = FakeAws::start(world);
    let (kms, cloudtrail) = (kms(&aws, IRELAND).await, cloudtrail(&aws, IRELAND).await);
    aws.set_latency(Duration::from_millis(400));
    let (key, trail) =
        tokio::join!(kms.describe_key().key_id(&arn).send(), cloudtrail.get_trail().name("audit").send());
    assert!(key.is_ok() && trail.is_ok());
    kms.describe_key().key_id(&arn).send().await.unwrap();
    let calls = aws.calls();
    assert_eq!(rounds(&calls), 2);
    assert_ne!(calls[0].connection, calls[1].connection);
    assert!([calls[0].connection, calls[1].connection].contains(&calls[2].connection));
}

#[tokio::test]
async fn tls_uses_the_fakes_certificate_authority() {
    let mut world = world();
    let arn = world.key(Key::new(IRELAND));
    let aws = FakeAws::start_tls(world.bucket("logs", IRELAND));
    assert!(aws.url().starts_with("https://127.0.0.1:"));
    let trust = TrustStore::empty().with_pem_certificate(aws.ca_pem().unwrap());
    let context = TlsContext::builder().with_trust_store(trust).build().unwrap();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https();
    let config = sdk(&aws, IRELAND).await.into_builder().http_client(http).build();
    aws_sdk_kms::Client::new(&config).describe_key().key_id(&arn).send().await.unwrap();
    aws_sdk_s3::Client::new(&config).head_bucket().bucket("logs").send().await.unwrap();
    let untrusting = sdk(&aws, IRELAND).await;
    aws_sdk_kms::Client::new(&untrusting).list_keys().send().await.unwrap_err();
    assert_eq!(aws.names(), ["kms:DescribeKey", "s3:HeadBucket"]);
}

#[test]
fn dropping_the_handle_stops_the_server() {
    let aws = FakeAws::start(world());
    let address = aws.url().replace("http://", "");
    assert!(std::net::TcpStream::connect(&address).is_ok());
    drop(aws);
    assert!(std::net::TcpStream::connect(&address).is_err());
}

//! The function against moto, an independent implementation of AWS. moto validates less than AWS, but shows that
//! requests and parsing do not only match this project's own fake.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use fake_aws::lambda::Function;
use serde_json::{Value, json};

use crate::support::{ALIAS, ROLE, binary, sealing_policy, steps};

struct Moto {
    process: Child,
    url: String,
}

impl Moto {
    fn start() -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/moto/bin/moto_server");
        let server = std::env::var_os("MOTO_SERVER").map_or(tools, PathBuf::from);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(&server)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_ACCOUNT_ID", "123456789012")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start moto at {}: {error}; `make test` installs it", server.display())
            });
        let moto = Self { process, url: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    fn sdk(&self, region: &str) -> SdkConfig {
        let credentials = aws_sdk_kms::config::Credentials::for_tests();
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(aws_sdk_kms::config::SharedCredentialsProvider::new(credentials))
            .region(Region::new(region.to_owned()))
            .endpoint_url(&self.url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    fn function(&self, mode: &str) -> Function {
        Function::launch(&binary())
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("TRAILSEAL_MODE", mode)
            .env("TRAILSEAL_ROLE_ARN", ROLE)
            .start()
            .unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

async fn create_trail(moto: &Moto, name: &str, bucket: &str, region: &str, bucket_region: &str) {
    let s3 = aws_sdk_s3::config::Builder::from(&moto.sdk(bucket_region)).force_path_style(true).build();
    let location =
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(bucket_region));
    let s3 = aws_sdk_s3::Client::from_conf(s3);
    let create = s3.create_bucket().bucket(bucket);
    create.create_bucket_configuration(location.build()).send().await.unwrap();
    let policy = fake_aws::World::new("123456789012").bucket_policy(bucket, &[]);
    s3.put_bucket_policy().bucket(bucket).policy(policy).send().await.unwrap();
    let create = aws_sdk_cloudtrail::Client::new(&moto.sdk(region)).create_trail().name(name);
    create.s3_bucket_name(bucket).is_multi_region_trail(true).send().await.unwrap();
}

fn invoke(function: &mut Function, name: &str) -> Value {
    function.invoke(json!({ "trail": name, "region": "eu-west-1" }).to_string().as_bytes()).outcome.unwrap()
}

#[test]
fn a_trail_is_planned_then_sealed_then_compliant() {
    let moto = Moto::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        create_trail(&moto, "audit", "audit-logs", "eu-west-1", "eu-central-1").await;
        create_trail(&moto, "second", "second-logs", "eu-west-1", "eu-central-1").await;
    });
    let cloudtrail = aws_sdk_cloudtrail::Client::new(&moto.sdk("eu-west-1"));
    let kms = aws_sdk_kms::Client::new(&moto.sdk("eu-central-1"));
    let key_of = |name: &'static str| {
        let trail = runtime.block_on(cloudtrail.get_trail().name(name).send()).unwrap();
        trail.trail.and_then(|trail| trail.kms_key_id)
    };
    let keys = || runtime.block_on(kms.list_keys().send()).unwrap().keys.unwrap_or_default().len();
    let keys_before = keys();

    let planned = invoke(&mut moto.function("dry-run"), "audit");
    assert_eq!(planned["summary"], json!({ "planned": 1 }), "{planned:#}");
    assert_eq!((key_of("audit"), keys()), (None, keys_before));

    let mut function = moto.function("enforce");
    let sealed = invoke(&mut function, "audit");
    assert_eq!(sealed["summary"], json!({ "remediated": 1 }), "{sealed:#}");
    assert_eq!(steps(&sealed), ["create-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    let key = sealed["trails"][0]["key_arn"].as_str().unwrap().to_owned();
    assert!(key.starts_with("arn:aws:kms:eu-central-1:123456789012:key/"), "{key}");
    assert_eq!(key_of("audit"), Some(key.clone()));

    let metadata = runtime.block_on(kms.describe_key().key_id(ALIAS).send()).unwrap().key_metadata.unwrap();
    assert_eq!(metadata.arn.as_deref(), Some(key.as_str()));
    let policy =
        runtime.block_on(kms.get_key_policy().key_id(&key).policy_name("default").send()).unwrap().policy.unwrap();
    let as_json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(as_json(&policy), as_json(&sealing_policy()));
    let rotation = runtime.block_on(kms.get_key_rotation_status().key_id(&key).send()).unwrap();
    assert!(rotation.key_rotation_enabled);

    let second = invoke(&mut function, "second");
    assert_eq!((&second["trails"][0]["key_arn"], steps(&second)), (&json!(key), vec!["update-trail done".to_owned()]));
    for name in ["audit", "second"] {
        assert_eq!(invoke(&mut function, name)["summary"], json!({ "compliant": 1 }));
    }
    assert_eq!(keys(), keys_before + 1);

    let gone = invoke(&mut function, "no-such-trail");
    assert_eq!(gone["summary"], json!({ "gone": 1 }), "{gone:#}");
}

#[test]
fn a_sweep_seals_all_regions_and_the_next_does_nothing() {
    const REGIONS: [&str; 6] =
        ["ap-southeast-2", "ca-central-1", "eu-central-1", "eu-west-1", "us-east-2", "us-west-2"];
    let moto = Moto::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for region in REGIONS {
            create_trail(&moto, &format!("audit-{region}"), &format!("logs-{region}"), region, region).await;
        }
        create_trail(&moto, "second", "second-logs", "us-west-2", "eu-central-1").await;
    });
    let mut function = moto.function("enforce");
    let mut sweep = || function.invoke(br#"{"sweep": {}}"#).outcome.unwrap();
    let first = sweep();
    assert_eq!(first["summary"], json!({ "remediated": 7 }), "{first:#}");
    let keys: std::collections::BTreeSet<&str> =
        first["trails"].as_array().unwrap().iter().map(|trail| trail["key_arn"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), REGIONS.len(), "one key for each bucket Region");
    assert_eq!(sweep()["summary"], json!({ "compliant": 7 }));
}

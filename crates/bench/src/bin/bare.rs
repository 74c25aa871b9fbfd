//! The baseline: `lambda_runtime` with the function's SDK clients and nothing else.
//!
//! It answers `{}`. With `BARE_CALLS=existing-key` or `BARE_CALLS=new-key` it makes the AWS calls of a remediation one after
//! another, with the SDK's default settings.

use std::env;

use aws_sdk_cloudtrail::{Client as CloudTrail, types::Trail};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// The clients of a remediation.
struct Clients {
    cloudtrail: CloudTrail,
    kms: aws_sdk_kms::Client,
    s3: aws_sdk_s3::Client,
    sns: aws_sdk_sns::Client,
}

/// The calls to make for an event.
#[derive(Clone, Copy)]
enum Calls {
    None,
    ExistingKey,
    NewKey,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let calls = match env::var("BARE_CALLS").as_deref() {
        Ok("existing-key") => Calls::ExistingKey,
        Ok("new-key") => Calls::NewKey,
        Ok(other) => return Err(format!("`BARE_CALLS`: `{other}` is neither `existing-key` nor `new-key`").into()),
        Err(_) => Calls::None,
    };
    let config = aws_config::load_from_env().await;
    let clients = Clients {
        cloudtrail: CloudTrail::new(&config),
        kms: aws_sdk_kms::Client::new(&config),
        s3: aws_sdk_s3::Client::new(&config),
        sns: aws_sdk_sns::Client::new(&config),
    };
    let clients = &clients;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        match calls {
            Calls::None => Ok::<_, Error>(json!({})),
            calls => remediate(clients, calls, &event.payload).await,
        }
    }))
    .await
}

async fn remediate(clients: &Clients, calls: Calls, event: &Value) -> Result<Value, Error> {
    let name = event.pointer("/detail/requestParameters/name");
    let name = name.and_then(Value::as_str).ok_or("the event does not name a trail")?;
    let trail = read_trail(clients, name).await?;
    let key_arn = match calls {
        Calls::NewKey => create_key(clients, &env::var("BARE_KEY_POLICY")?).await?,
        Calls::ExistingKey | Calls::None => find_key(clients).await?,
    };
    let updated = clients.cloudtrail.update_trail().name(trail).kms_key_id(key_arn).send().await?;
    if let Ok(topic) = env::var("TRAILSEAL_ALERT_TOPIC_ARN") {
        clients.sns.publish().topic_arn(topic).message("a trail was encrypted").send().await?;
    }
    Ok(json!({ "kms_key_id": updated.kms_key_id }))
}

/// Makes the reads about a trail, and returns its ARN.
async fn read_trail(clients: &Clients, name: &str) -> Result<String, Error> {
    let Clients { cloudtrail, s3, .. } = clients;
    let trail = cloudtrail.get_trail().name(name).send().await?.trail;
    let Some(Trail { trail_arn: Some(arn), s3_bucket_name: Some(bucket), .. }) = trail else {
        return Err("the trail has no ARN or no bucket".into());
    };
    cloudtrail.get_trail_status().name(&arn).send().await?;
    s3.head_bucket().bucket(&bucket).send().await?;
    cloudtrail.list_tags().resource_id_list(&arn).send().await?;
    s3.get_bucket_policy().bucket(&bucket).send().await?;
    // The bucket has no replication configuration, which is an error in S3.
    let _ = s3.get_bucket_replication().bucket(&bucket).send().await;
    Ok(arn)
}

async fn find_key(clients: &Clients) -> Result<String, Error> {
    let Clients { kms, .. } = clients;
    let key = kms.describe_key().key_id("alias/trailseal").send().await?.key_metadata;
    let key = key.and_then(|key| key.arn).ok_or("the key has no ARN")?;
    kms.get_key_policy().key_id(&key).send().await?;
    kms.list_resource_tags().key_id(&key).send().await?;
    Ok(key)
}

async fn create_key(clients: &Clients, policy: &str) -> Result<String, Error> {
    let Clients { kms, .. } = clients;
    // The alias does not exist yet.
    let _ = kms.describe_key().key_id("alias/trailseal").send().await;
    let key = kms.create_key().policy(policy).send().await?.key_metadata;
    let key = key.and_then(|key| key.arn).ok_or("the key has no ARN")?;
    kms.enable_key_rotation().key_id(&key).send().await?;
    kms.create_alias().alias_name("alias/trailseal").target_key_id(&key).send().await?;
    Ok(key)
}

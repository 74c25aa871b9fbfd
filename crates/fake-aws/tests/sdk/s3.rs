use aws_sdk_s3::Client;
use fake_aws::{Bucket, FakeAws};

use crate::{FRANKFURT, IRELAND, OTHER_ACCOUNT, code, sdk, world};

async fn s3(aws: &FakeAws, region: &str) -> Client {
    Client::new(&sdk(aws, region).await)
}

/// The status and Region header of HeadBucket, even if it fails.
async fn head(client: &Client, bucket: &str) -> (u16, Option<String>) {
    match client.head_bucket().bucket(bucket).send().await {
        Ok(found) => (200, found.bucket_region),
        Err(error) => {
            let raw = error.raw_response().expect("a response");
            let region = raw.headers().get("x-amz-bucket-region").map(str::to_owned);
            (raw.status().as_u16(), region)
        }
    }
}

#[tokio::test]
async fn head_bucket_returns_the_region_even_with_an_error() {
    let mut world = world().bucket("logs", FRANKFURT);
    world.add_bucket(Bucket::new("foreign", FRANKFURT).of_account(OTHER_ACCOUNT));
    let aws = FakeAws::start(world);
    let frankfurt = Some(FRANKFURT.to_owned());
    let home = s3(&aws, FRANKFURT).await;
    let away = s3(&aws, IRELAND).await;
    assert_eq!(head(&home, "logs").await, (200, frankfurt.clone()));
    assert_eq!(head(&home, "foreign").await, (403, frankfurt.clone()));
    assert_eq!(head(&away, "logs").await, (301, frankfurt.clone()));
    assert_eq!(head(&home, "nowhere").await, (404, None));
    aws.world().buckets.get_mut("logs").unwrap().wrong_region_status = 400;
    assert_eq!(head(&away, "logs").await, (400, frankfurt));
    aws.world().buckets.get_mut("logs").unwrap().head_status = Some(404);
    assert_eq!(head(&home, "logs").await, (404, None));
    assert_eq!(aws.names()[0], "s3:HeadBucket");
    assert_eq!(aws.calls()[0].input["Bucket"], "logs");
}

#[tokio::test]
async fn a_bucket_policy_is_read_if_it_exists() {
    let mut world = world();
    world.add_bucket(Bucket::new("plain", IRELAND).without_policy());
    world.add_bucket(Bucket::new("logs", IRELAND).policy("{\"Statement\":[]}"));
    let aws = FakeAws::start(world);
    let client = s3(&aws, IRELAND).await;
    let read = client.get_bucket_policy().bucket("logs").send().await.unwrap();
    assert_eq!(read.policy(), Some("{\"Statement\":[]}"));
    assert_eq!(code(client.get_bucket_policy().bucket("plain").send().await), "NoSuchBucketPolicy");
    assert_eq!(code(client.get_bucket_policy().bucket("none").send().await), "NoSuchBucket");
    let away = s3(&aws, FRANKFURT).await;
    assert_eq!(code(away.get_bucket_policy().bucket("logs").send().await), "PermanentRedirect");
}

#[tokio::test]
async fn another_accounts_bucket_returns_403_or_405() {
    let mut world = world();
    world.add_bucket(Bucket::new("logs", IRELAND).of_account(OTHER_ACCOUNT));
    let aws = FakeAws::start(world);
    let client = s3(&aws, IRELAND).await;
    assert_eq!(code(client.get_bucket_policy().bucket("logs").send().await), "AccessDenied");
    assert_eq!(code(client.get_bucket_replication().bucket("logs").send().await), "AccessDenied");
    aws.world().buckets.get_mut("logs").unwrap().method_not_allowed = true;
    let error = client.get_bucket_policy().bucket("logs").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 405);
    assert_eq!(code::<(), _>(Err(error)), "MethodNotAllowed");
    assert_eq!(code(client.get_bucket_replication().bucket("logs").send().await), "MethodNotAllowed");
}

#[tokio::test]
async fn a_replication_configuration_is_read_if_it_exists() {
    let xml = "<ReplicationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Role>arn:aws:iam::123456789012:role/r</Role>\
        <Rule><Status>Enabled</Status><SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects>\
        </SourceSelectionCriteria><Destination><Bucket>arn:aws:s3:::copy</Bucket></Destination></Rule></ReplicationConfiguration>";
    let mut world = world().bucket("plain", IRELAND);
    world.add_bucket(Bucket::new("logs", IRELAND).replication(xml));
    let aws = FakeAws::start(world);
    let client = s3(&aws, IRELAND).await;
    let read = client.get_bucket_replication().bucket("logs").send().await.unwrap();
    let rules = read.replication_configuration.unwrap().rules;
    let criteria = rules[0].source_selection_criteria().unwrap();
    assert!(criteria.sse_kms_encrypted_objects().is_some());
    let none = client.get_bucket_replication().bucket("plain").send().await;
    assert_eq!(code(none), "ReplicationConfigurationNotFoundError");
    aws.world().buckets.get_mut("logs").unwrap().denied.insert("s3:GetBucketReplication".into());
    assert_eq!(code(client.get_bucket_replication().bucket("logs").send().await), "AccessDenied");
}

#[tokio::test]
async fn the_accounts_buckets_are_listed_in_pages() {
    let mut world = world();
    for (name, region) in [("logs", FRANKFURT), ("logs-b", IRELAND), ("logs-a", IRELAND), ("data", IRELAND)] {
        world.add_bucket(Bucket::new(name, region));
    }
    world.add_bucket(Bucket::new("logs-foreign", IRELAND).of_account(OTHER_ACCOUNT));
    let aws = FakeAws::start(world);
    let client = s3(&aws, IRELAND).await;
    let names = |buckets: &[aws_sdk_s3::types::Bucket]| {
        buckets.iter().map(|bucket| bucket.name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = client.list_buckets().send().await.unwrap();
    assert_eq!(names(all.buckets()), ["data", "logs", "logs-a", "logs-b"]);
    assert_eq!((all.buckets()[0].bucket_region(), all.continuation_token()), (None, None));
    let page = client.list_buckets().prefix("logs").max_buckets(2).send().await.unwrap();
    assert_eq!(names(page.buckets()), ["logs", "logs-a"]);
    assert_eq!((page.buckets()[0].bucket_region(), page.prefix()), (Some(FRANKFURT), Some("logs")));
    let token = page.continuation_token().unwrap();
    let page = client.list_buckets().prefix("logs").max_buckets(2).continuation_token(token).send().await.unwrap();
    assert_eq!((names(page.buckets()), page.continuation_token()), (vec!["logs-b".to_owned()], None));
    let none = client.list_buckets().prefix("nothing").send().await.unwrap();
    assert_eq!(none.buckets.map(|buckets| buckets.len()), Some(0));
    assert_eq!(aws.names()[0], "s3:ListBuckets");
}

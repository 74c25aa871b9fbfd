use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use fake_aws::FakeAws;

use crate::{FRANKFURT, IRELAND, code, sdk, world};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alerts";

async fn sns(aws: &FakeAws, region: &str) -> Client {
    Client::new(&sdk(aws, region).await)
}

#[tokio::test]
async fn a_message_has_its_subject_and_attributes() {
    let aws = FakeAws::start(world().topic("alerts", IRELAND));
    let client = sns(&aws, IRELAND).await;
    let mode = MessageAttributeValue::builder().data_type("String").string_value("enforce").build().unwrap();
    let output = client
        .publish()
        .topic_arn(TOPIC)
        .subject("trail sealed")
        .message("a + b = c & d\nü")
        .message_attributes("mode", mode)
        .send()
        .await
        .unwrap();
    assert!(output.message_id().is_some());
    let published = aws.world().published.clone();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].topic_arn, TOPIC);
    assert_eq!(published[0].subject.as_deref(), Some("trail sealed"));
    assert_eq!(published[0].message, "a + b = c & d\nü");
    assert_eq!(published[0].attributes["mode"], "enforce");
    assert_eq!(published[0].region, IRELAND);
    assert_eq!(aws.names(), ["sns:Publish"]);
}

#[tokio::test]
async fn a_topic_must_exist_in_the_region_and_allow_publishing() {
    let aws = FakeAws::start(world().topic("alerts", IRELAND));
    let client = sns(&aws, IRELAND).await;
    let missing = client.publish().topic_arn(format!("{TOPIC}-2")).message("m").send().await;
    assert!(missing.unwrap_err().into_service_error().is_not_found_exception());
    let away = sns(&aws, FRANKFURT).await;
    assert_eq!(code(away.publish().topic_arn(TOPIC).message("m").send().await), "InvalidParameter");
    aws.world().topics.get_mut(TOPIC).unwrap().denies_publish = true;
    assert_eq!(code(client.publish().topic_arn(TOPIC).message("m").send().await), "AuthorizationError");
}

#[tokio::test]
async fn subjects_and_messages_have_limits() {
    let aws = FakeAws::start(world().topic("alerts", IRELAND));
    let client = sns(&aws, IRELAND).await;
    for subject in ["x".repeat(101), "two\nlines".into(), "für".into()] {
        let error = client.publish().topic_arn(TOPIC).subject(subject).message("m").send().await;
        assert_eq!(code(error), "InvalidParameter");
    }
    let long = client.publish().topic_arn(TOPIC).message("x".repeat(262_145)).send().await;
    assert_eq!(code(long), "InvalidParameter");
    assert!(aws.world().published.is_empty());
}

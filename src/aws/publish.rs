//! The port to alert.

use aws_sdk_sns::types::MessageAttributeValue;
use trailseal_core::alert::Alert;
use trailseal_core::ids::TopicArn;
use trailseal_core::observation::Failure;

use super::Until;
use super::clients::Aws;
use super::error::Attempt;
use super::pace::Kind;
use super::read::answer;
use super::retry::{Again, Rules};

/// Publishes until the deadline.
#[derive(Debug, Clone, Copy)]
pub struct Publisher<'a> {
    pub(super) aws: &'a Aws,
    pub(super) until: Until,
}

impl Publisher<'_> {
    /// Publishes one alert.
    ///
    /// # Errors
    ///
    /// Whatever keeps SNS from taking it.
    pub async fn publish(&self, topic: &TopicArn, alert: &Alert) -> Result<(), Failure> {
        let attempt = Attempt::new("sns:Publish", format!("publish an alert to `{topic}`"));
        let mut call = self
            .aws
            .sns(topic.region())
            .publish()
            .topic_arn(topic.as_str())
            .subject(&alert.subject)
            .message(&alert.message);
        for (name, value) in &alert.attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            call = call.message_attributes(*name, value.map_err(|odd| attempt.unusable_answer(&odd.to_string()))?);
        }
        let turn = (topic.region(), Kind::Other);
        answer!(self, turn, call, aws_sdk_sns, Again::Usual, attempt).await.map(drop)
    }
}

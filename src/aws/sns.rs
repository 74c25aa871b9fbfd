//! SNS: alerts.

use aws_sdk_sns::types::MessageAttributeValue;
use trailseal_core::failure::Failure;
use trailseal_core::ids::TopicArn;
use trailseal_core::report::Alert;

use super::call::CallRunner;
use super::operation::Operation;

/// Publishes alerts until a deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publisher<'a>(pub(super) CallRunner<'a>);

impl Publisher<'_> {
    /// Publishes one alert.
    ///
    /// # Errors
    ///
    /// SNS refuses it or does not respond.
    pub(crate) async fn publish(&self, topic: &TopicArn, alert: &Alert) -> Result<(), Failure> {
        let operation = Operation::new("sns:Publish", topic.region(), format!("publish an alert to `{topic}`"));
        let sns = self.0.aws.sns(topic.region());
        let mut call = sns.publish().topic_arn(topic.as_str()).subject(&alert.subject).message(&alert.message);
        for (name, value) in &alert.attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            let value = value.map_err(|error| operation.malformed_request(&error.to_string()))?;
            call = call.message_attributes(*name, value);
        }
        let published = self.0.call(&operation, || call.clone().send()).await?;
        operation.require(published.message_id, "MessageId").map(drop)
    }
}

//! SNS: Publish.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names::Arn;
use crate::response::{ApiError, Protocol, Response};
use crate::server::{denied, unknown_operation};
use crate::{Published, World};

/// The maximum size of a message with its attributes.
const MESSAGE_BYTES: usize = 262_144;

pub(crate) fn perform(world: &mut World, region: &str, operation: &str, input: &Value) -> Response {
    let outcome = match operation {
        "Publish" => publish(world, region, input),
        _ => Err(unknown_operation(operation)),
    };
    match outcome {
        Ok(message_id) => Response::ok(
            "text/xml",
            format!(
                "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>{message_id}</MessageId></PublishResult><ResponseMetadata><RequestId>fake</RequestId></ResponseMetadata></PublishResponse>"
            ),
        ),
        Err(error) => Response::error(&error, Protocol::Query),
    }
}

fn publish(world: &mut World, region: &str, input: &Value) -> Result<String, ApiError> {
    let invalid = |what: &str| ApiError::new("InvalidParameter", format!("Invalid parameter: {what}"));
    let text = |name: &str| input[name].as_str();
    let topic_arn =
        text("TopicArn").ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
    let arn = Arn::parse(topic_arn).filter(|arn| arn.service == "sns");
    // A topic exists in its own Region only.
    if arn.is_none_or(|arn| arn.region != region) {
        return Err(invalid("TopicArn"));
    }
    let topic =
        world.topics.get(topic_arn).ok_or_else(|| ApiError::with_status(404, "NotFound", "Topic does not exist"))?;
    if topic.denies_publish {
        return Err(denied(Protocol::Query, &world.caller_role_arn, "SNS:Publish"));
    }
    let subject = text("Subject");
    if subject.is_some_and(|subject| !is_subject(subject)) {
        return Err(invalid("Subject"));
    }
    let message = text("Message").filter(|message| !message.is_empty()).ok_or_else(|| invalid("Empty message"))?;
    let mut attributes = BTreeMap::new();
    for (name, value) in input["MessageAttributes"].as_object().into_iter().flatten() {
        let value = value.as_str().filter(|value| !value.is_empty()).ok_or_else(|| {
            let reason = format!("The message attribute '{name}' must contain non-empty message attribute value.");
            ApiError::new("ParameterValueInvalid", reason)
        })?;
        attributes.insert(name.clone(), value.to_owned());
    }
    let attribute_bytes = attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if message.len() + attribute_bytes > MESSAGE_BYTES {
        return Err(invalid("Message too long"));
    }
    world.published.push(Published {
        topic_arn: topic_arn.to_owned(),
        subject: subject.map(str::to_owned),
        message: message.to_owned(),
        attributes,
        region: region.to_owned(),
    });
    Ok(format!("00000000-0000-4000-b000-{:012x}", world.published.len()))
}

/// 1 to 100 printable ASCII characters, the first not a space.
fn is_subject(subject: &str) -> bool {
    (1..=100).contains(&subject.len())
        && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !subject.starts_with(' ')
}

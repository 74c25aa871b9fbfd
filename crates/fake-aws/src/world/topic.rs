//! SNS topics and what was published to them.

use std::collections::BTreeMap;

use serde::Serialize;

/// A topic, under its ARN in [`World::topics`](crate::World::topics).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Whether publishing is refused.
    pub denies_publish: bool,
    /// The customer's key that it is encrypted with.
    pub key_arn: Option<String>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Where to.
    pub topic_arn: String,
    /// Its subject.
    pub subject: Option<String>,
    /// Its text.
    pub message: String,
    /// Its attributes, all strings.
    pub attributes: BTreeMap<String, String>,
    /// Where from.
    pub region: String,
}

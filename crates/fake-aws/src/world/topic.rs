//! SNS topics and published messages.

use std::collections::BTreeMap;

use serde::Serialize;

/// A topic, under its ARN in [`World::topics`](crate::World::topics).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Whether publishing is denied.
    pub denies_publish: bool,
    /// The customer managed key that encrypts it.
    pub key_arn: Option<String>,
}

/// A published message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The topic's ARN.
    pub topic_arn: String,
    /// Its subject.
    pub subject: Option<String>,
    /// Its text.
    pub message: String,
    /// Its attributes, all strings.
    pub attributes: BTreeMap<String, String>,
    /// The Region of the request.
    pub region: String,
}

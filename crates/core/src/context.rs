//! What every decision may know besides the observation: the configuration and where the function runs.

use crate::config::Config;
use crate::ids::{FunctionArn, KeyArn, TrailArn};

/// The configuration and the identity of the function.
#[derive(Debug, Clone)]
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// The function's own ARN: its account, Region and partition.
    pub function_arn: FunctionArn,
}

impl Context {
    /// Whether this account may change the trail. A trail's ARN contains its owner: for an organization trail the
    /// management account, in every account that the trail is visible in.
    /// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-trail-organization.html>.
    pub fn owns_trail(&self, trail: &TrailArn) -> bool {
        let owner = trail.account();
        owner == self.function_arn.account() || self.config.org_trail_owner.as_ref() == Some(owner)
    }

    /// Whether the account owner supplied this key in `KeyArns` (`TRAILSEAL_KEY_ARNS`).
    pub fn is_supplied_key(&self, key: &KeyArn) -> bool {
        self.config.supplied_keys.values().any(|supplied| supplied == key)
    }
}

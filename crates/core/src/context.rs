//! What is the same for every decision of an invocation.

use crate::config::Config;
use crate::ids::{FunctionArn, KeyArn, TrailArn};

/// The configuration and the function's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The validated configuration.
    pub config: Config,
    /// The function's own ARN. Its account and partition are trailseal's.
    pub function_arn: FunctionArn,
}

impl Context {
    /// Whether trailseal may change the trail. Its ARN names its owner: for an organization trail, that
    /// is the management account, in every account that sees the trail.
    /// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-trail-organization.html>.
    pub fn owns_trail(&self, trail: &TrailArn) -> bool {
        trail.account() == self.function_arn.account() || Some(trail.account()) == self.config.org_trail_owner.as_ref()
    }

    /// Whether the key is one that `TRAILSEAL_KEY_ARNS` supplies.
    pub fn is_supplied_key(&self, key: &KeyArn) -> bool {
        self.config.supplied_keys.get(key.region()) == Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, home};

    #[test]
    fn trails_of_the_account_and_of_the_organization_are_owned() {
        let trail = |account| format!("arn:aws:cloudtrail:eu-west-1:{account}:trail/audit").parse().unwrap();
        let mut context = Context { config: config(&[]), function_arn: home() };
        assert!(context.owns_trail(&trail("123456789012")));
        assert!(!context.owns_trail(&trail("999999999999")));
        context.config.org_trail_owner = Some("999999999999".parse().unwrap());
        assert!(context.owns_trail(&trail("999999999999")));
        assert!(!context.owns_trail(&trail("210987654321")));
    }

    #[test]
    fn only_the_configured_key_is_a_supplied_key() {
        let key = "arn:aws:kms:eu-west-1:999999999999:key/1";
        let context = Context { config: config(&[("TRAILSEAL_KEY_ARNS", key)]), function_arn: home() };
        assert!(context.is_supplied_key(&key.parse().unwrap()));
        assert!(!context.is_supplied_key(&"arn:aws:kms:eu-west-1:999999999999:key/2".parse().unwrap()));
    }
}

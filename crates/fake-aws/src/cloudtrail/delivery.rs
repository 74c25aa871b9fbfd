//! Whether CloudTrail can deliver a trail's logs.

use super::check;
use crate::World;

impl World {
    /// Delivers once more. On success, the status no longer reports the last error. On AWS, that happens
    /// with the next delivery, minutes later; here, with the change that fixes the cause.
    pub(crate) fn deliver(&mut self, trail_arn: &str) {
        let (now, works) = (self.now, self.check_delivery(trail_arn).is_ok());
        let Some(trail) = self.trails.get_mut(trail_arn).filter(|trail| works && trail.has_delivery_error()) else {
            return;
        };
        trail.latest_delivery_error = None;
        trail.latest_digest_delivery_error = None;
        trail.latest_delivery_at = Some(now);
    }

    /// Delivers once more for every trail that uses the key.
    pub(crate) fn deliver_for_key(&mut self, key_arn: &str) {
        let users = self.trails.iter().filter(|(_, trail)| trail.kms_key_id.as_deref() == Some(key_arn));
        let users: Vec<String> = users.map(|(arn, _)| arn.clone()).collect();
        users.iter().for_each(|arn| self.deliver(arn));
    }

    /// Whether CloudTrail could write this trail's logs now, or why not. The bucket must exist and must
    /// allow the write, with the key's headers if there is a key. The key must exist in the bucket's Region,
    /// be usable and allow CloudTrail. Whether the trail logs is not checked, and consistency delays do not
    /// count.
    pub fn check_delivery(&self, trail_arn: &str) -> Result<(), String> {
        let trail = self.trails.get(trail_arn).ok_or("no such trail")?;
        let bucket = self.buckets.get(&trail.bucket).ok_or("the bucket does not exist")?;
        if let Some(gap) = check::bucket_policy_gap(self, trail_arn, trail, bucket) {
            return Err(format!("the bucket's policy: {gap}"));
        }
        check::bucket(self, trail_arn, trail).map_err(|error| error.message)?;
        if let Some(key_arn) = &trail.kms_key_id {
            let key = self.keys.get(key_arn).ok_or("the key does not exist")?;
            check::check_key(key, key_arn, bucket).map_err(|error| error.message)?;
            if let Some(gap) = check::policy_gap(self, key_arn, trail_arn, bucket) {
                return Err(format!("the key's policy: {gap}"));
            }
        }
        Ok(())
    }
}

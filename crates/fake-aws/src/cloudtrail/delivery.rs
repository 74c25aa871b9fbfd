//! The question behind it all: could CloudTrail deliver this trail's logs now?

use super::check;
use crate::World;
use crate::policy::{self, Verdict};

impl World {
    /// CloudTrail delivers to this trail once more: if that works, it stops telling of the last error.
    /// (AWS does so minutes later, with its next delivery; here the change that mends it does it.)
    pub(crate) fn deliver(&mut self, trail_arn: &str) {
        let (now, works) = (self.now, self.delivers(trail_arn).is_ok());
        let Some(trail) = self.trails.get_mut(trail_arn).filter(|trail| works && trail.fails()) else { return };
        trail.latest_delivery_error = None;
        trail.latest_digest_delivery_error = None;
        trail.latest_delivery_at = Some(now);
    }

    /// The same for every trail that uses a key.
    pub(crate) fn deliver_with(&mut self, key_arn: &str) {
        let users = self.trails.iter().filter(|(_, trail)| trail.kms_key_id.as_deref() == Some(key_arn));
        let users: Vec<String> = users.map(|(arn, _)| arn.clone()).collect();
        users.iter().for_each(|arn| self.deliver(arn));
    }

    /// Whether CloudTrail could write this trail's logs now, or why not: the bucket exists and does not
    /// refuse the write (with the key's headers, if there is a key), the key exists in the bucket's
    /// Region, can be used, and lets CloudTrail in. Whether logging is on is another question, and
    /// what has not settled yet counts as settled.
    pub fn delivers(&self, trail_arn: &str) -> Result<(), String> {
        let trail = self.trails.get(trail_arn).ok_or("no such trail")?;
        check::bucket(self, trail).map_err(|refusal| refusal.message)?;
        let bucket = &self.buckets[&trail.bucket];
        if let Some(key_arn) = &trail.kms_key_id {
            let key = self.keys.get(key_arn).ok_or("the key does not exist")?;
            check::judge_key(key, key_arn, bucket).map_err(|refusal| refusal.message)?;
            if let Some(gap) = check::gap(self, key_arn, trail_arn, bucket) {
                return Err(format!("the key's policy: {gap}"));
            }
        }
        let prefix = trail.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let object = format!(
            "arn:{}:s3:::{}/{prefix}AWSLogs/{}/CloudTrail/log.json.gz",
            self.partition, bucket.name, trail.owner
        );
        let encryption = trail.kms_key_id.as_ref().map_or("AES256", |_| "aws:kms");
        let key_header = "s3:x-amz-server-side-encryption-aws-kms-key-id";
        let write = check::question(self, "s3:PutObject", &object, trail_arn)
            .with("s3:x-amz-acl", "bucket-owner-full-control")
            .with("s3:x-amz-server-side-encryption", encryption);
        let write = match &trail.kms_key_id {
            Some(key_arn) => write.with(key_header, key_arn),
            None => write.without(&[key_header]),
        };
        match policy::ask(bucket.policy.as_deref().unwrap_or_default(), &write) {
            Verdict::Denied(by) => Err(format!("the bucket's policy: the write is denied by {by}")),
            // Tests' bucket policies hold what the test is about, not always CloudTrail's own Allow.
            Verdict::Allowed | Verdict::Delegated | Verdict::Silent => Ok(()),
        }
    }
}

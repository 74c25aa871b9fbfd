//! Buckets, read from S3.

use std::error::Error;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ReplicationRule as SdkRule, ReplicationRuleStatus, SseKmsEncryptedObjectsStatus};
use trailseal_core::ids::Region;
use trailseal_core::observation::{Failure, Reading, ReplicationRule};

use super::{Reader, answer, send, set};
use crate::aws::error::{Attempt, is_denied};
use crate::aws::pace::Kind;
use crate::aws::retry::{Again, Rules};

/// S3 names the Region in a header of whatever it answers, also where it refuses or redirects:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>.
pub(super) async fn region(reader: &Reader<'_>, bucket: &str, home: &Region) -> Result<Region, Failure> {
    let attempt = Attempt::new("s3:HeadBucket", format!("find the Region of bucket `{bucket}`"));
    let call = reader.aws.s3(home).head_bucket().bucket(bucket);
    let send = || send!(call, aws_sdk_s3, Again::Usual, attempt);
    let told = match reader.aws.sent(reader.until, (home, Kind::Other), &attempt, send).await? {
        Ok(output) => output.bucket_region,
        Err(error) => {
            let response = error.raw_response().filter(|response| response.status().as_u16() != 404);
            match response.and_then(|response| response.headers().get("x-amz-bucket-region")) {
                Some(region) => Some(region.to_owned()),
                None => return Err(failure(&attempt, &error)),
            }
        }
    };
    let told = told.ok_or_else(|| attempt.unusable_answer("S3 did not say in which Region it is"))?;
    told.parse()
        .map_err(|malformed| attempt.unusable_answer(&format!("S3 said that it is in a Region where {malformed}")))
}

/// An answer to HEAD has no body, hence no error code.
fn failure<E>(attempt: &Attempt, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.raw_response().map(|response| response.status().as_u16()) {
        Some(404) => attempt.answered(404, "NoSuchBucket".into(), "there is no such bucket", None),
        Some(403) => attempt.answered(403, "AccessDenied".into(), "S3 does not tell us in which Region it is", None),
        _ => attempt.failure(error),
    }
}

pub(super) async fn policy(reader: &Reader<'_>, bucket: &str, region: &Region) -> Result<Reading<String>, Failure> {
    let attempt = Attempt::new("s3:GetBucketPolicy", format!("read the policy of bucket `{bucket}` in `{region}`"));
    let call = reader.aws.s3(region).get_bucket_policy().bucket(bucket);
    match answer!(reader, (region, Kind::Other), call, aws_sdk_s3, Again::Usual, attempt).await {
        Ok(output) => match output.policy {
            Some(policy) => Ok(Reading::Known(policy)),
            None => Err(attempt.unusable_answer("S3 answered without a policy")),
        },
        Err(failure) => unread(failure, "NoSuchBucketPolicy"),
    }
}

pub(super) async fn replication(
    reader: &Reader<'_>,
    bucket: &str,
    region: &Region,
) -> Result<Reading<Vec<ReplicationRule>>, Failure> {
    let attempt =
        Attempt::new("s3:GetBucketReplication", format!("read the replication of bucket `{bucket}` in `{region}`"));
    let call = reader.aws.s3(region).get_bucket_replication().bucket(bucket);
    match answer!(reader, (region, Kind::Other), call, aws_sdk_s3, Again::Usual, attempt).await {
        Ok(output) => match output.replication_configuration {
            Some(replication) => Ok(Reading::Known(replication.rules.into_iter().map(rule).collect())),
            None => Err(attempt.unusable_answer("S3 answered without a configuration")),
        },
        Err(failure) => unread(failure, "ReplicationConfigurationNotFoundError"),
    }
}

/// To an account that does not own the bucket S3 says 405 where the bucket's policy would let it look.
fn unread<T>(failure: Failure, absent: &str) -> Result<Reading<T>, Failure> {
    match failure {
        failure if failure.is(absent) => Ok(Reading::Absent),
        failure if is_denied(&failure) || failure.is("MethodNotAllowed") => Ok(Reading::Denied(failure)),
        failure => Err(failure),
    }
}

/// A rule without a filter is of the first version of such configurations, and has its prefix itself:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html>.
#[expect(deprecated, reason = "buckets still have rules with a prefix of their own")]
fn rule(rule: SdkRule) -> ReplicationRule {
    let filter = rule.filter.unwrap_or_else(|| aws_sdk_s3::types::ReplicationRuleFilter::builder().build());
    let (and_prefix, and_tags) = filter.and.map_or((None, None), |and| (and.prefix, and.tags));
    let kms = rule.source_selection_criteria.and_then(|criteria| criteria.sse_kms_encrypted_objects);
    ReplicationRule {
        id: set(rule.id),
        // A status that is not known here is not certainly out of force.
        enabled: rule.status != ReplicationRuleStatus::Disabled,
        prefix: and_prefix.or(filter.prefix).or(rule.prefix).unwrap_or_default(),
        wants_tags: filter.tag.is_some() || and_tags.is_some_and(|tags| !tags.is_empty()),
        destination: rule.destination.map(|destination| destination.bucket).unwrap_or_default(),
        takes_kms: kms.is_some_and(|kms| kms.status == SseKmsEncryptedObjectsStatus::Enabled),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::builders::{ReplicationRuleBuilder, ReplicationRuleFilterBuilder};
    use aws_sdk_s3::types::{
        Destination, ReplicationRuleAndOperator, ReplicationRuleFilter, SourceSelectionCriteria,
        SseKmsEncryptedObjects, Tag,
    };

    use super::*;

    fn read(rule: ReplicationRuleBuilder) -> ReplicationRule {
        let status = rule.get_status().clone().unwrap_or(ReplicationRuleStatus::Enabled);
        let destination = Destination::builder().bucket("arn:aws:s3:::copy").build().unwrap();
        super::rule(rule.status(status).destination(destination).build().unwrap())
    }

    fn filtered(filter: ReplicationRuleFilterBuilder) -> ReplicationRule {
        read(SdkRule::builder().filter(filter.build()))
    }

    fn tag() -> Tag {
        Tag::builder().key("a").value("b").build().unwrap()
    }

    #[test]
    fn a_rule_is_about_a_prefix_wherever_that_stands() {
        #[expect(deprecated, reason = "buckets still have rules with a prefix of their own")]
        let of_its_own = read(SdkRule::builder().prefix("logs/"));
        let plain = filtered(ReplicationRuleFilter::builder().prefix("logs/"));
        let and = ReplicationRuleAndOperator::builder().prefix("logs/").build();
        let with_more = filtered(ReplicationRuleFilter::builder().and(and));
        for rule in [of_its_own, plain, with_more] {
            assert_eq!((rule.prefix.as_str(), rule.wants_tags), ("logs/", false));
        }
        assert_eq!(read(SdkRule::builder()).prefix, "");
    }

    #[test]
    fn a_rule_may_want_tags() {
        assert!(filtered(ReplicationRuleFilter::builder().tag(tag())).wants_tags);
        let and = ReplicationRuleAndOperator::builder().tags(tag()).build();
        assert!(filtered(ReplicationRuleFilter::builder().and(and)).wants_tags);
    }

    #[test]
    fn a_rule_takes_kms_only_if_it_says_so() {
        let takes = |status: SseKmsEncryptedObjectsStatus| {
            let kms = SseKmsEncryptedObjects::builder().status(status).build().unwrap();
            let criteria = SourceSelectionCriteria::builder().sse_kms_encrypted_objects(kms).build();
            read(SdkRule::builder().source_selection_criteria(criteria)).takes_kms
        };
        assert!(takes(SseKmsEncryptedObjectsStatus::Enabled));
        assert!(!takes(SseKmsEncryptedObjectsStatus::Disabled));
        assert!(!read(SdkRule::builder()).takes_kms);
        let of_replicas = SourceSelectionCriteria::builder().build();
        assert!(!read(SdkRule::builder().source_selection_criteria(of_replicas)).takes_kms);
    }

    #[test]
    fn a_rule_is_out_of_force_only_if_it_says_so() {
        let enabled = |status: &str| read(SdkRule::builder().status(status.into())).enabled;
        assert!(enabled("Enabled") && enabled("Something new"));
        assert!(!enabled("Disabled"));
    }

    #[test]
    fn a_rule_has_a_destination_and_perhaps_a_name() {
        let rule = read(SdkRule::builder().id("all"));
        assert_eq!((rule.id.as_deref(), rule.destination.as_str()), (Some("all"), "arn:aws:s3:::copy"));
        assert_eq!(read(SdkRule::builder().id("")).id, None);
    }
}

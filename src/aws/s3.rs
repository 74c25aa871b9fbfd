//! S3: where a trail's bucket is, its owner, its policy and its replication.

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::SdkError;
use aws_sdk_s3::operation::head_bucket::{HeadBucketError, HeadBucketOutput};
use aws_sdk_s3::operation::list_buckets::ListBucketsOutput;
use aws_sdk_s3::types::{ReplicationRule as SdkRule, ReplicationRuleStatus, SseKmsEncryptedObjectsStatus};
use aws_smithy_types::error::ErrorMetadata;
use trailseal_core::failure::Failure;
use trailseal_core::iam::Document;
use trailseal_core::ids::Region;
use trailseal_core::observation::{BucketOwner, ParsedPolicy, Reading, ReplicationRule};

use super::errors::{AttemptError, reading};
use super::operation::Operation;
use super::{Reader, non_empty};

const BUCKETS_PER_PAGE: i32 = 1_000;

/// Reads of buckets.
pub(crate) trait BucketReads {
    /// The Region of a bucket, by `HeadBucket` sent to `region`.
    async fn bucket_region(&self, bucket: &str, region: &Region) -> Result<Region, Failure>;
    /// `GetBucketPolicy`, in the bucket's own Region.
    async fn bucket_policy(&self, bucket: &str, region: &Region) -> Result<Reading<ParsedPolicy>, Failure>;
    /// The rules of `GetBucketReplication`, in the bucket's own Region.
    async fn bucket_replication(&self, bucket: &str, region: &Region)
    -> Result<Reading<Vec<ReplicationRule>>, Failure>;
    /// The owner of a bucket that exists, by `ListBuckets`.
    async fn bucket_owner(&self, bucket: &str, region: &Region) -> BucketOwner;
}

impl BucketReads for Reader<'_> {
    async fn bucket_region(&self, bucket: &str, region: &Region) -> Result<Region, Failure> {
        let operation = Operation::new("s3:HeadBucket", region, format!("find the Region of bucket `{bucket}`"));
        let s3 = self.0.aws.s3(region);
        let send = async || region_header(s3.head_bucket().bucket(bucket).send().await);
        operation.parse(self.0.call(&operation, send).await?, "x-amz-bucket-region")
    }

    async fn bucket_policy(&self, bucket: &str, region: &Region) -> Result<Reading<ParsedPolicy>, Failure> {
        let description = format!("read the policy of bucket `{bucket}` in `{region}`");
        let operation = Operation::new("s3:GetBucketPolicy", region, description);
        let send = || self.0.aws.s3(region).get_bucket_policy().bucket(bucket).send();
        let output = self.0.call(&operation, send).await;
        let policy = output.and_then(|output| operation.require(output.policy, "Policy"));
        reading(policy.map(|policy| Document::parse(&policy)), "NoSuchBucketPolicy")
    }

    async fn bucket_replication(
        &self,
        bucket: &str,
        region: &Region,
    ) -> Result<Reading<Vec<ReplicationRule>>, Failure> {
        let description = format!("read the replication of bucket `{bucket}` in `{region}`");
        let operation = Operation::new("s3:GetBucketReplication", region, description);
        let send = || self.0.aws.s3(region).get_bucket_replication().bucket(bucket).send();
        let output = self.0.call(&operation, send).await;
        let replication =
            output.and_then(|output| operation.require(output.replication_configuration, "ReplicationConfiguration"));
        // The SDK returns no rules for a configuration that contains none. S3 stores no such configuration.
        let rules = replication.and_then(|replication| {
            let role = non_empty(Some(replication.role));
            let rules = operation.require(Some(replication.rules).filter(|rules| !rules.is_empty()), "Rule")?;
            rules.into_iter().map(|it| rule(it, role.as_deref(), &operation)).collect()
        });
        reading(rules, "ReplicationConfigurationNotFoundError")
    }

    /// S3 lists the buckets of the caller's account, and no others. Every Region's endpoint lists those of all Regions.
    /// Some accounts may only request pages.
    /// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>.
    async fn bucket_owner(&self, bucket: &str, region: &Region) -> BucketOwner {
        let description = format!("find out whether this account owns bucket `{bucket}`");
        let operation = Operation::new("s3:ListBuckets", region, description);
        let send = async |token| {
            let list = self.0.aws.s3(region).list_buckets().prefix(bucket).max_buckets(BUCKETS_PER_PAGE);
            list.set_continuation_token(token).send().await
        };
        let split = |page: ListBucketsOutput| {
            let listed = operation.require(page.buckets, "Buckets")?.into_iter();
            let names = listed.map(|it| operation.require(it.name, "Name")).collect::<Result<Vec<_>, _>>()?;
            Ok((names, page.continuation_token))
        };
        match self.0.list(&operation, send, split).await {
            Ok(names) if names.iter().any(|name| name == bucket) => BucketOwner::Own,
            Ok(_) => BucketOwner::Another,
            Err(failure) => BucketOwner::Unknown(failure),
        }
    }
}

/// S3 returns the Region in a header of every response, also if it refuses or redirects:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>. A response to HEAD has no body, hence no
/// error code.
fn region_header(
    result: Result<HeadBucketOutput, SdkError<HeadBucketError, HttpResponse>>,
) -> Result<Option<String>, AttemptError> {
    let error = match result {
        Ok(output) => return Ok(output.bucket_region),
        Err(error) => error,
    };
    let Some(response) = error.raw_response() else { return Err(error.into()) };
    let status = response.status().as_u16();
    let (code, message) = match (status, response.headers().get("x-amz-bucket-region")) {
        (404, _) => ("NoSuchBucket", "the bucket does not exist"),
        (_, Some(region)) => return Ok(Some(region.to_owned())),
        (400, None) => ("BadRequest", "S3 returned no message"),
        (403, None) => ("AccessDenied", "S3 does not disclose the bucket's Region"),
        (_, None) => return Err(error.into()),
    };
    Err(AttemptError::Refused(status, ErrorMetadata::builder().code(code).message(message).build()))
}

/// A rule without a filter is of the first version of replication configurations, which has the prefix in the rule:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html>.
#[expect(deprecated, reason = "existing rules may have a prefix of their own")]
fn rule(rule: SdkRule, role: Option<&str>, operation: &Operation) -> Result<ReplicationRule, Failure> {
    let filter = rule.filter.unwrap_or_else(|| aws_sdk_s3::types::ReplicationRuleFilter::builder().build());
    let (and_prefix, and_tags) = filter.and.map_or((None, None), |and| (and.prefix, and.tags));
    let kms = rule.source_selection_criteria.and_then(|criteria| criteria.sse_kms_encrypted_objects);
    let destination = non_empty(rule.destination.map(|destination| destination.bucket));
    Ok(ReplicationRule {
        id: non_empty(rule.id),
        // An unknown status may be in force.
        enabled: rule.status != ReplicationRuleStatus::Disabled,
        prefix: and_prefix.or(filter.prefix).or(rule.prefix).unwrap_or_default(),
        filters_by_tag: filter.tag.is_some() || and_tags.is_some_and(|tags| !tags.is_empty()),
        destination: operation.require(destination, "Destination")?,
        replicates_sse_kms: kms.is_some_and(|kms| kms.status == SseKmsEncryptedObjectsStatus::Enabled),
        role: operation.require(role, "Role")?.to_owned(),
    })
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
        let operation = Operation::new("s3:GetBucketReplication", &"eu-west-1".parse().unwrap(), String::new());
        super::rule(
            rule.status(status).destination(destination).build().unwrap(),
            Some("arn:aws:iam::123456789012:role/r"),
            &operation,
        )
        .unwrap()
    }

    fn filtered(filter: ReplicationRuleFilterBuilder) -> ReplicationRule {
        read(SdkRule::builder().filter(filter.build()))
    }

    fn tag() -> Tag {
        Tag::builder().key("a").value("b").build().unwrap()
    }

    #[test]
    fn a_rules_prefix_is_read_wherever_it_is() {
        #[expect(deprecated, reason = "existing rules may have a prefix of their own")]
        let of_its_own = read(SdkRule::builder().prefix("logs/"));
        let plain = filtered(ReplicationRuleFilter::builder().prefix("logs/"));
        let and = ReplicationRuleAndOperator::builder().prefix("logs/").build();
        let with_more = filtered(ReplicationRuleFilter::builder().and(and));
        for rule in [of_its_own, plain, with_more] {
            assert_eq!((rule.prefix.as_str(), rule.filters_by_tag), ("logs/", false));
        }
        assert_eq!(read(SdkRule::builder()).prefix, "");
    }

    #[test]
    fn a_rule_may_select_by_tags() {
        assert!(filtered(ReplicationRuleFilter::builder().tag(tag())).filters_by_tag);
        let and = ReplicationRuleAndOperator::builder().tags(tag()).build();
        assert!(filtered(ReplicationRuleFilter::builder().and(and)).filters_by_tag);
    }

    #[test]
    fn a_rule_selects_sse_kms_only_if_enabled() {
        let takes = |status: SseKmsEncryptedObjectsStatus| {
            let kms = SseKmsEncryptedObjects::builder().status(status).build().unwrap();
            let criteria = SourceSelectionCriteria::builder().sse_kms_encrypted_objects(kms).build();
            read(SdkRule::builder().source_selection_criteria(criteria)).replicates_sse_kms
        };
        assert!(takes(SseKmsEncryptedObjectsStatus::Enabled));
        assert!(!takes(SseKmsEncryptedObjectsStatus::Disabled));
        assert!(!read(SdkRule::builder()).replicates_sse_kms);
        let of_replicas = SourceSelectionCriteria::builder().build();
        assert!(!read(SdkRule::builder().source_selection_criteria(of_replicas)).replicates_sse_kms);
    }

    #[test]
    fn only_a_disabled_rule_is_not_in_force() {
        let enabled = |status: &str| read(SdkRule::builder().status(status.into())).enabled;
        assert!(enabled("Enabled") && enabled("Something new"));
        assert!(!enabled("Disabled"));
    }

    #[test]
    fn a_rule_has_a_destination_and_an_optional_id() {
        let rule = read(SdkRule::builder().id("all"));
        assert_eq!((rule.id.as_deref(), rule.destination.as_str()), (Some("all"), "arn:aws:s3:::copy"));
        assert_eq!(read(SdkRule::builder().id("")).id, None);
    }
}

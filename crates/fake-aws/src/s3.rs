//! S3: where a bucket lies, and its policy and replication.

use serde_json::Value;

use crate::answer::{Protocol, Refusal, Reply, escaped};
use crate::server::unknown_operation;
use crate::{Bucket, World};

pub(crate) fn perform(world: &World, region: &str, operation: &str, input: &Value, protocol: Protocol) -> Reply {
    let name = input["Bucket"].as_str().unwrap_or_default();
    let Some(bucket) = world.buckets.get(name) else {
        let missing = Refusal::with_status(404, "NoSuchBucket", "The specified bucket does not exist");
        return Reply::refusal(&missing, protocol);
    };
    let mut reply = if bucket.region == region {
        in_its_region(world, bucket, operation).unwrap_or_else(|refusal| Reply::refusal(&refusal, protocol))
    } else {
        elsewhere(bucket, protocol)
    };
    // A bucket that is not there, or is said not to be, lies nowhere.
    if !(operation == "HeadBucket" && reply.status == 404) {
        reply.headers.push(("x-amz-bucket-region", bucket.region.clone()));
    }
    reply
}

/// Where the bucket lies, which S3 tells even those whom it refuses.
pub(crate) fn region_header(world: &World, service: &str, input: &Value) -> Option<(&'static str, String)> {
    let bucket = input["Bucket"].as_str().filter(|_| service == "s3")?;
    Some(("x-amz-bucket-region", world.buckets.get(bucket)?.region.clone()))
}

/// A call from another Region learns from the header where the bucket lies.
fn elsewhere(bucket: &Bucket, protocol: Protocol) -> Reply {
    let refusal = match bucket.wrong_region_status {
        400 => Refusal::new(
            "AuthorizationHeaderMalformed",
            format!("The authorization header is malformed; expecting '{}'", bucket.region),
        ),
        status => Refusal::with_status(
            status,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint.",
        ),
    };
    Reply::refusal(&refusal, protocol)
}

fn in_its_region(world: &World, bucket: &Bucket, operation: &str) -> Result<Reply, Refusal> {
    let access_denied = || Refusal::with_status(403, "AccessDenied", "Access Denied");
    if bucket.denied.contains(&format!("s3:{operation}")) {
        return Err(access_denied());
    }
    let foreign = bucket.owner != world.account;
    match operation {
        "HeadBucket" => match bucket.head_status {
            None => Ok(Reply::ok("application/xml", String::new())),
            Some(403) => Err(access_denied()),
            Some(status) => Err(Refusal::with_status(status, "HeadBucketOverridden", "")),
        },
        "GetBucketPolicy" | "GetBucketReplication" if foreign && bucket.method_not_allowed => Err(
            Refusal::with_status(405, "MethodNotAllowed", "The specified method is not allowed against this resource."),
        ),
        "GetBucketPolicy" | "GetBucketReplication" | "GetBucketLocation" if foreign => Err(access_denied()),
        "GetBucketPolicy" => match &bucket.policy {
            Some(policy) => Ok(Reply::ok("application/json", policy.clone())),
            None => Err(Refusal::with_status(404, "NoSuchBucketPolicy", "The bucket policy does not exist")),
        },
        "GetBucketReplication" => match &bucket.replication {
            Some(xml) => Ok(Reply::ok("application/xml", xml.clone())),
            None => Err(Refusal::with_status(
                404,
                "ReplicationConfigurationNotFoundError",
                "The replication configuration was not found",
            )),
        },
        "GetBucketLocation" => Ok(Reply::ok(
            "application/xml",
            format!(
                "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</LocationConstraint>",
                escaped(&bucket.region)
            ),
        )),
        _ => Err(unknown_operation(operation)),
    }
}

//! S3: the account's buckets, and a bucket's Region, policy and replication.

use serde_json::Value;

use crate::response::{ApiError, Protocol, Response, escaped};
use crate::server::unknown_operation;
use crate::{Bucket, World};

pub(crate) fn perform(world: &World, region: &str, operation: &str, input: &Value, protocol: Protocol) -> Response {
    if operation == "ListBuckets" {
        return list_buckets(world, input);
    }
    let name = input["Bucket"].as_str().unwrap_or_default();
    let Some(bucket) = world.buckets.get(name) else {
        let missing = ApiError::with_status(404, "NoSuchBucket", "The specified bucket does not exist");
        return Response::error(&missing, protocol);
    };
    let mut reply = if bucket.region == region {
        in_bucket_region(world, bucket, operation).unwrap_or_else(|error| Response::error(&error, protocol))
    } else {
        in_another_region(bucket, protocol)
    };
    // A missing bucket has no Region.
    if !(operation == "HeadBucket" && reply.status == 404) {
        reply.headers.push(("x-amz-bucket-region", bucket.region.clone()));
    }
    reply
}

/// The buckets of the account in every Region, by name. Only requests with a parameter get the buckets' Regions. A token is
/// the name of the last bucket, for which S3 returns an opaque text.
fn list_buckets(world: &World, input: &Value) -> Response {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let of_account = world.buckets.values().filter(|bucket| bucket.owner == world.account);
    let mut listed = of_account
        .filter(|bucket| bucket.name.starts_with(text("Prefix")))
        .filter(|bucket| bucket.name.as_str() > text("ContinuationToken"));
    let page_size = text("MaxBuckets").parse().unwrap_or(10_000);
    let page: Vec<&Bucket> = listed.by_ref().take(page_size).collect();
    let is_paginated = ["Prefix", "MaxBuckets", "ContinuationToken"].iter().any(|name| !input[name].is_null());
    let element = |name: &str, value: &str| format!("<{name}>{}</{name}>", escaped(value));
    let buckets = page.iter().map(|bucket| {
        let region = if is_paginated { element("BucketRegion", &bucket.region) } else { String::new() };
        let name = element("Name", &bucket.name);
        format!("<Bucket>{name}<CreationDate>2026-01-01T00:00:00.000Z</CreationDate>{region}</Bucket>")
    });
    let buckets: String = buckets.collect();
    let token = match (listed.next(), page.last()) {
        (Some(_), Some(last)) => element("ContinuationToken", &last.name),
        _ => String::new(),
    };
    let prefix = if input["Prefix"].is_null() { String::new() } else { element("Prefix", text("Prefix")) };
    let body = format!(
        "<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>{}</ID></Owner><Buckets>{buckets}</Buckets>{token}{prefix}</ListAllMyBucketsResult>",
        "0".repeat(64)
    );
    Response::ok("application/xml", body)
}

/// The header with the bucket's Region, which S3 also sends with an error.
pub(crate) fn region_header(world: &World, service: &str, input: &Value) -> Option<(&'static str, String)> {
    let bucket = input["Bucket"].as_str().filter(|_| service == "s3")?;
    Some(("x-amz-bucket-region", world.buckets.get(bucket)?.region.clone()))
}

/// A request to another Region. The header names the bucket's Region.
fn in_another_region(bucket: &Bucket, protocol: Protocol) -> Response {
    let error = match bucket.wrong_region_status {
        400 => ApiError::new(
            "AuthorizationHeaderMalformed",
            format!("The authorization header is malformed; expecting '{}'", bucket.region),
        ),
        status => ApiError::with_status(
            status,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint.",
        ),
    };
    Response::error(&error, protocol)
}

fn in_bucket_region(world: &World, bucket: &Bucket, operation: &str) -> Result<Response, ApiError> {
    let access_denied = || ApiError::with_status(403, "AccessDenied", "Access Denied");
    if bucket.denied.contains(&format!("s3:{operation}")) {
        return Err(access_denied());
    }
    let foreign = bucket.owner != world.account;
    match operation {
        "HeadBucket" => match bucket.head_status {
            None => Ok(Response::ok("application/xml", String::new())),
            Some(403) => Err(access_denied()),
            Some(status) => Err(ApiError::with_status(status, "HeadBucketOverridden", "")),
        },
        "GetBucketPolicy" | "GetBucketReplication" if foreign && bucket.method_not_allowed => {
            Err(ApiError::with_status(
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ))
        }
        "GetBucketPolicy" | "GetBucketReplication" | "GetBucketLocation" if foreign => Err(access_denied()),
        "GetBucketPolicy" => match &bucket.policy {
            Some(policy) => Ok(Response::ok("application/json", policy.clone())),
            None => Err(ApiError::with_status(404, "NoSuchBucketPolicy", "The bucket policy does not exist")),
        },
        "GetBucketReplication" => match &bucket.replication {
            Some(xml) => Ok(Response::ok("application/xml", xml.clone())),
            None => Err(ApiError::with_status(
                404,
                "ReplicationConfigurationNotFoundError",
                "The replication configuration was not found",
            )),
        },
        "GetBucketLocation" => Ok(Response::ok(
            "application/xml",
            format!(
                "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</LocationConstraint>",
                escaped(&bucket.region)
            ),
        )),
        _ => Err(unknown_operation(operation)),
    }
}

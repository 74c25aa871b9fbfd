//! Parses an HTTP request into service, operation, Region and input.

use hyper::http::request::Parts;
use serde_json::{Map, Value, json};

use crate::response::Protocol;

/// A parsed request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) protocol: Protocol,
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) region: String,
    pub(crate) input: Value,
    pub(crate) attempt: Option<u32>,
}

impl Request {
    pub(crate) fn read(parts: &Parts, body: &[u8]) -> Request {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let (region, signed_for) = header("authorization")
            .and_then(credential_scope)
            .unwrap_or_else(|| ("us-east-1".to_owned(), String::new()));
        let attempt = header("amz-sdk-request").and_then(attempt_number);
        let (protocol, service, operation, input) = if let Some(target) = header("x-amz-target") {
            let (service, operation) = json_target(target, &signed_for);
            let input = serde_json::from_slice(body).unwrap_or(Value::Null);
            (Protocol::Json, service, operation, input)
        } else if header("content-type").is_some_and(|t| t.starts_with("application/x-www-form-urlencoded")) {
            let form = pairs(&String::from_utf8_lossy(body));
            let (operation, input) = query_input(form);
            let service = if signed_for.is_empty() { "sns".to_owned() } else { signed_for };
            (Protocol::Query, service, operation, input)
        } else {
            let (operation, input) = rest_input(parts, header("host").unwrap_or_default());
            let head = parts.method == hyper::Method::HEAD;
            (Protocol::Rest { head }, "s3".to_owned(), operation, input)
        };
        Request { protocol, service, operation, region, input, attempt }
    }
}

/// `… Credential=AKID/20261120/eu-west-1/kms/aws4_request, …` → Region and service.
fn credential_scope(authorization: &str) -> Option<(String, String)> {
    let (_, rest) = authorization.split_once("Credential=")?;
    let mut scope = rest.split(',').next()?.rsplit('/').skip(1);
    let service = scope.next()?.to_owned();
    Some((scope.next()?.to_owned(), service))
}

/// `attempt=2; max=3` → 2.
fn attempt_number(header: &str) -> Option<u32> {
    let (_, rest) = header.split_once("attempt=")?;
    rest.split(';').next()?.trim().parse().ok()
}

/// `TrentService.DescribeKey` → `kms`, `DescribeKey`.
fn json_target(target: &str, signed_for: &str) -> (String, String) {
    let (shape, operation) = target.rsplit_once('.').unwrap_or(("", target));
    let service = if shape.ends_with("CloudTrail_20131101") {
        "cloudtrail"
    } else if shape == "TrentService" {
        "kms"
    } else if shape == "ResourceGroupsTaggingAPI_20170126" {
        "tagging"
    } else {
        signed_for
    };
    (service.to_owned(), operation.to_owned())
}

/// The query protocol's form, with message attributes as an object.
fn query_input(form: Vec<(String, String)>) -> (String, Value) {
    let mut operation = String::new();
    let mut input = Map::new();
    let mut names: Vec<(String, String)> = Vec::new();
    let mut values: Vec<(String, String)> = Vec::new();
    for (key, value) in form {
        if let Some(rest) = key.strip_prefix("MessageAttributes.entry.") {
            match rest.split_once('.') {
                Some((n, "Name")) => names.push((n.to_owned(), value)),
                Some((n, "Value.StringValue")) => values.push((n.to_owned(), value)),
                _ => {}
            }
        } else if key == "Action" {
            operation = value;
        } else if key != "Version" {
            input.insert(key, Value::String(value));
        }
    }
    if !names.is_empty() {
        let attributes: Map<String, Value> = names
            .into_iter()
            .map(|(n, name)| {
                let value = values.iter().find(|(m, _)| *m == n);
                (name, json!(value.map(|(_, value)| value)))
            })
            .collect();
        input.insert("MessageAttributes".to_owned(), Value::Object(attributes));
    }
    (operation, Value::Object(input))
}

/// The S3 operation, from method, path or virtual host, and subresource.
fn rest_input(parts: &Parts, host: &str) -> (String, Value) {
    let host = host.split(':').next().unwrap_or_default();
    let path = decoded(parts.uri.path().trim_start_matches('/'));
    let (bucket, key) = match host.strip_suffix(".localhost") {
        Some(bucket) => (bucket.to_owned(), path),
        None => match path.split_once('/') {
            Some((bucket, key)) => (bucket.to_owned(), key.to_owned()),
            None => (path, String::new()),
        },
    };
    let query = pairs(parts.uri.query().unwrap_or_default());
    let has = |name: &str| query.iter().any(|(key, _)| key == name);
    let operation = match parts.method.as_str() {
        "HEAD" if key.is_empty() => "HeadBucket",
        "GET" if bucket.is_empty() => "ListBuckets",
        "GET" if has("policy") => "GetBucketPolicy",
        "GET" if has("replication") => "GetBucketReplication",
        "GET" if has("location") => "GetBucketLocation",
        "GET" if !key.is_empty() => "GetObject",
        "GET" => "ListObjects",
        "PUT" => "PutObject",
        _ => "Unknown",
    };
    let mut input = json!({"Bucket": bucket});
    if operation == "ListBuckets" {
        let parameters =
            [("prefix", "Prefix"), ("max-buckets", "MaxBuckets"), ("continuation-token", "ContinuationToken")];
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        input = parameters
            .iter()
            .filter_map(|(name, field)| Some(((*field).to_owned(), Value::String(value(name)?))))
            .collect();
    }
    if !key.is_empty() {
        input["Key"] = Value::String(key);
    }
    (operation.to_owned(), input)
}

/// `a=b&c=d`, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// Percent-decoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_service_come_from_the_credential_scope() {
        let header =
            "AWS4-HMAC-SHA256 Credential=AKID/20261120/eu-west-1/kms/aws4_request, SignedHeaders=host, Signature=x";
        assert_eq!(credential_scope(header), Some(("eu-west-1".into(), "kms".into())));
    }

    #[test]
    fn the_attempt_comes_from_the_sdk_header() {
        assert_eq!(attempt_number("ttl=20261120T102300Z; attempt=2; max=3"), Some(2));
        assert_eq!(attempt_number("nothing"), None);
    }

    #[test]
    fn forms_are_decoded() {
        assert_eq!(pairs("a=b+c%2Fd&e"), [("a".into(), "b c/d".into()), ("e".into(), String::new())]);
    }

    #[test]
    fn message_attributes_become_an_object() {
        let form = "Action=Publish&Message=m&MessageAttributes.entry.1.Name=mode&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=enforce";
        let (operation, input) = query_input(pairs(form));
        assert_eq!(operation, "Publish");
        assert_eq!(input, json!({"Message": "m", "MessageAttributes": {"mode": "enforce"}}));
    }
}

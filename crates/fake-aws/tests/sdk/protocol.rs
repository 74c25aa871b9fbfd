//! Requests that the SDK does not send, over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use fake_aws::{FakeAws, Key, Trail};
use serde_json::{Value, json};

use crate::{IRELAND, world};

/// The status and body of a call in the JSON protocol.
fn post(aws: &FakeAws, service: &str, target: &str, input: &Value) -> (u16, Value) {
    let address = aws.url().replace("http://", "");
    let body = input.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-amz-target: {target}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=AKID/20261120/{IRELAND}/{service}/aws4_request, Signature=x\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("x-amzn-requestid: "));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn both_forms_of_cloudtrails_target_are_accepted() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs")));
    for target in ["CloudTrail_20131101", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101"] {
        let (status, response) = post(&aws, "cloudtrail", &format!("{target}.GetTrail"), &json!({"Name": "audit"}));
        assert_eq!((status, &response["Trail"]["Name"]), (200, &json!("audit")));
        assert!(response["Trail"].get("KmsKeyId").is_none());
    }
}

#[test]
fn an_unknown_service_is_an_error_and_recorded() {
    let aws = FakeAws::start(world());
    let (status, response) = post(&aws, "events", "AWSEvents.PutRule", &json!({}));
    assert_eq!((status, &response["__type"]), (400, &json!("UnknownOperationException")));
    assert_eq!(aws.names(), ["events:PutRule"]);
}

#[test]
fn a_world_serializes_to_json() {
    let mut world = world().bucket("logs", IRELAND).trail(Trail::new("audit", IRELAND, "logs")).topic("t", IRELAND);
    let key = world.key(Key::new(IRELAND));
    world.alias(IRELAND, "alias/a", &key);
    let json = serde_json::to_value(&world).unwrap();
    assert_eq!(json["keys"][&key]["state"], "Enabled");
}

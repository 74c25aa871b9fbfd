//! What the SDK crates at hand cannot ask, over a bare socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use fake_aws::{FakeAws, Key, Trail};
use serde_json::{Value, json};

use crate::{IRELAND, world};

/// Status and body of a call in the JSON protocol.
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
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("x-amzn-requestid: "));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn both_spellings_of_cloudtrails_target_are_understood() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs")));
    for target in ["CloudTrail_20131101", "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101"] {
        let (status, answer) = post(&aws, "cloudtrail", &format!("{target}.GetTrail"), &json!({"Name": "audit"}));
        assert_eq!((status, &answer["Trail"]["Name"]), (200, &json!("audit")));
        assert!(answer["Trail"].get("KmsKeyId").is_none());
    }
}

#[test]
fn an_unknown_service_is_refused_and_recorded() {
    let aws = FakeAws::start(world());
    let (status, answer) = post(&aws, "events", "AWSEvents.PutRule", &json!({}));
    assert_eq!((status, &answer["__type"]), (400, &json!("UnknownOperationException")));
    assert_eq!(aws.names(), ["events:PutRule"]);
}

#[test]
fn a_world_can_be_written_down() {
    let mut world = world().bucket("logs", IRELAND).trail(Trail::new("audit", IRELAND, "logs")).topic("t", IRELAND);
    let key = world.key(Key::new(IRELAND));
    world.alias(IRELAND, "alias/a", &key);
    let written = serde_json::to_value(&world).unwrap();
    assert_eq!(written["keys"][&key]["state"], "Enabled");
}

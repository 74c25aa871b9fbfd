//! The same calls to the fake and to moto. `calls.json` contains what AWS returns, with the source. The fake returns that;
//! moto returns it too, or the file has the difference and the reason.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fake_aws::{Bucket, FakeAws, World};
use serde::Deserialize;
use serde_json::Value;

const ACCOUNT: &str = "123456789012";

/// A call, and what AWS returns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// `service:Operation`, or `s3 METHOD /path`.
    call: String,
    region: String,
    #[serde(default)]
    input: Value,
    /// What AWS returns.
    aws: Expected,
    /// Where AWS documents that, or who observed it.
    source: String,
    /// Names for parts of the output, which later inputs contain as `$NAME`.
    #[serde(default)]
    save: BTreeMap<String, String>,
    /// What moto returns instead, and why that is no evidence against the fake.
    moto: Option<Difference>,
}

/// The code of an error, or parts of the output by JSON pointer. `null`: absent.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Expected {
    Error(String),
    Output(BTreeMap<String, Value>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    returns: Expected,
    because: String,
}

/// An AWS on loopback, and the names that were saved from its outputs.
struct Endpoint {
    address: String,
    saved: BTreeMap<String, String>,
}

impl Endpoint {
    fn new(address: &str) -> Self {
        Self { address: address.to_owned(), saved: BTreeMap::new() }
    }

    /// Makes a row's call and returns what corresponds to `expected`.
    fn call(&mut self, row: &Row, expected: &Expected) -> Expected {
        let mut input = row.input.to_string();
        for (name, value) in &self.saved {
            input = input.replace(&format!("${name}"), value);
        }
        let (status, output) = match row.call.split(' ').collect::<Vec<_>>().as_slice() {
            ["s3", method, path] => self.send(method, path, "s3", &row.region, None, ""),
            _ => {
                let (service, operation) = row.call.split_once(':').expect("`service:Operation`");
                let (prefix, scope) = match service {
                    "cloudtrail" => ("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101", "cloudtrail"),
                    "kms" => ("TrentService", "kms"),
                    _ => ("ResourceGroupsTaggingAPI_20170126", "tagging"),
                };
                self.send("POST", "/", scope, &row.region, Some(&format!("{prefix}.{operation}")), &input)
            }
        };
        if status >= 300 {
            let code = output["__type"].as_str().or_else(|| output["code"].as_str()).map(str::to_owned);
            let code = code.unwrap_or_else(|| status.to_string());
            return Expected::Error(code.rsplit('#').next().unwrap_or_default().to_owned());
        }
        for (name, pointer) in &row.save {
            let value = output.pointer(pointer).and_then(Value::as_str);
            let value = value.unwrap_or_else(|| panic!("{}: no text at {pointer} in {output}", row.call));
            self.saved.insert(name.clone(), value.to_owned());
        }
        let pointers = match expected {
            Expected::Output(parts) => parts.keys().cloned().collect(),
            Expected::Error(_) => Vec::new(),
        };
        let part = |pointer: String| {
            let mut value = output.pointer(&pointer).cloned().unwrap_or_default();
            // An ARN contains names that each endpoint assigned.
            if let (Value::String(text), true) = (&value, pointer.ends_with("KmsKeyId")) {
                let name = self.saved.iter().find(|(_, saved)| *saved == text);
                value = name.map_or(value.clone(), |(name, _)| format!("${name}").into());
            }
            (pointer, value)
        };
        Expected::Output(pointers.into_iter().map(part).collect())
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        scope: &str,
        region: &str,
        target: Option<&str>,
        body: &str,
    ) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("the endpoint listens");
        let target = target.map(|target| format!("X-Amz-Target: {target}\r\n")).unwrap_or_default();
        let kind = if scope == "s3" { "application/xml" } else { "application/x-amz-json-1.1" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{target}\
             Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/{region}/{scope}/aws4_request, SignedHeaders=host, \
             Signature=0\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("the endpoint reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the endpoint answers with text");
        let (head, body) = response.split_once("\r\n\r\n").expect("a header and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let output = serde_json::from_str(body).unwrap_or_else(|_| {
            let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
            code.map_or(Value::Null, |(code, _)| serde_json::json!({ "code": code }))
        });
        (status, output)
    }
}

/// moto's server, for the time of a test.
struct Moto(Child);

impl Moto {
    fn start() -> (Self, String) {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/moto/bin/moto_server");
        let server = std::env::var_os("MOTO_SERVER").map_or(tools, PathBuf::from);
        let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").to_string();
        let port = address.rsplit(':').next().unwrap_or_default();
        let process = Command::new(&server)
            .args(["-H", "127.0.0.1", "-p", port])
            .env("MOTO_ACCOUNT_ID", ACCOUNT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start moto at {}: {error}; `make test` installs it", server.display())
            });
        let moto = Self(process);
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "moto does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        (moto, address)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_fake_and_moto_return_what_aws_returns() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("calls.json")).expect("well-formed rows");
    let mut world = World::new(ACCOUNT);
    world.caller_iam_allows_put_key_policy = true;
    world.add_bucket(Bucket::new("audit-logs", "eu-central-1"));
    let server = FakeAws::start(world);
    let mut fake = Endpoint::new(server.url().trim_start_matches("http://"));
    let (_moto, address) = Moto::start();
    let mut moto = Endpoint::new(&address);
    let location =
        "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(moto.send("PUT", "/audit-logs", "s3", "eu-central-1", None, location).0, 200);
    let mut problems = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let at = format!("row {number}, {}", row.call);
        let returned = fake.call(row, &row.aws);
        if returned != row.aws {
            problems.push(format!("{at}: the fake returns {returned:?}, AWS {:?} ({})", row.aws, row.source));
        }
        let expected = row.moto.as_ref().map_or(&row.aws, |difference| &difference.returns);
        let returned = moto.call(row, expected);
        if returned != *expected {
            let because = row.moto.as_ref().map_or("", |difference| &difference.because);
            problems.push(format!("{at}: moto returns {returned:?}, expected {expected:?} {because}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

//! A function for the tests of the Runtime API: it does what its event requests, or returns the event.
//! It implements HTTP itself, so that it shares nothing with the server but the protocol.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process, thread,
    time::Duration,
};

use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let host = env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut api = BufReader::new(TcpStream::connect(&host)?);
    writeln!(std::io::stderr(), "starting")?;
    match env::var("ECHO_START").as_deref() {
        Ok("exit") => process::exit(3),
        Ok("hang") => thread::sleep(Duration::from_secs(600)),
        Ok("report") => {
            let error = json!({ "errorType": "Config", "errorMessage": "`ECHO_START`: no" });
            call(&mut api, "POST", "init/error", error.to_string().as_bytes())?;
            process::exit(1);
        }
        _ => {}
    }
    loop {
        let Response { headers, body } = call(&mut api, "GET", "invocation/next", b"")?;
        let header = |name: &str| headers.get(name).ok_or_else(|| format!("no header {name}"));
        let id = header("lambda-runtime-aws-request-id")?;
        writeln!(std::io::stdout(), "event {id}")?;
        let response = match serde_json::from_slice::<Value>(&body) {
            Err(_) => json!({ "not json": body }).to_string(),
            Ok(event) => match event.get("do").and_then(Value::as_str) {
                Some("exit") => process::exit(4),
                Some("hang") => {
                    thread::sleep(Duration::from_secs(600));
                    continue;
                }
                Some("ignore") => continue,
                Some("fail") => {
                    let error = json!({ "errorType": "Sorry", "errorMessage": "cannot" });
                    call(&mut api, "POST", &format!("invocation/{id}/error"), error.to_string().as_bytes())?;
                    continue;
                }
                Some("nonsense") => "{".into(),
                Some("work") => {
                    let sum = (0..50_000_000_u64).fold(0_u64, |sum, n| std::hint::black_box(sum.wrapping_add(n)));
                    json!(sum).to_string()
                }
                Some("context") => json!({
                    "deadline": header("lambda-runtime-deadline-ms")?.parse::<u64>()?,
                    "arn": header("lambda-runtime-invoked-function-arn")?,
                    "trace": header("lambda-runtime-trace-id")?,
                    "env": env::vars().collect::<Vec<_>>(),
                })
                .to_string(),
                _ => event.to_string(),
            },
        };
        call(&mut api, "POST", &format!("invocation/{id}/response"), response.as_bytes())?;
        writeln!(std::io::stdout(), "responded {id}")?;
    }
}

/// A response of the Runtime API.
struct Response {
    /// By lowercase name.
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Sends one request on the connection.
fn call(api: &mut BufReader<TcpStream>, method: &str, path: &str, body: &[u8]) -> Result<Response, Error> {
    let length = body.len();
    let head = format!("{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: api\r\nContent-Length: {length}\r\n\r\n");
    api.get_mut().write_all(&[head.as_bytes(), body].concat())?;
    let mut line = String::new();
    api.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 20") {
        return Err(format!("{method} {path}: {line}").into());
    }
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        api.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(Ok(0), |length| length.parse())?];
    api.read_exact(&mut body)?;
    Ok(Response { headers, body })
}

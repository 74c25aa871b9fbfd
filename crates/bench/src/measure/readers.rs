//! The time to judge the readers of a bucket whose policy is as long as S3 allows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trailseal_core::access::{LogFiles, locked_out_readers};
use trailseal_core::iam::Document;

use super::{Binaries, Measured};
use crate::figure::Row;

const BUDGET: Duration = Duration::from_millis(50);

fn account(number: usize) -> String {
    format!("{:012}", 200_000_000_000_usize + number)
}

fn role(number: usize) -> String {
    format!("arn:aws:iam::{}:role/siem", account(number))
}

fn folder(number: usize) -> String {
    format!("arn:aws:s3:::logs/AWSLogs/*/{}/*", account(number))
}

/// Many roles and folders; many accounts and folders; many stars; patterns that are made to be slow.
fn policies() -> [Value; 4] {
    let list = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<Value>();
    let allow = |principals: Value, resources: Value| json!({ "Effect": "Allow", "Principal": { "AWS": principals }, "Action": "s3:GetObject", "Resource": resources });
    let stars = |number: usize| format!("arn:aws:s3:::{}x{number}", "*?".repeat(40));
    let slow = |number: usize| format!("*{}x{number}*", "?".repeat(80));
    let deny =
        |resources: Value| json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": resources });
    let policy = |statements: &[Value]| json!({ "Version": "2012-10-17", "Statement": statements });
    [
        policy(&[allow(list(200, role), list(100, folder))]),
        policy(&[allow(list(600, account), list(220, folder))]),
        policy(&[allow(list(100, account), list(100, folder)), deny(list(100, stars))]),
        policy(&[allow(list(100, account), list(100, folder)), deny(list(140, slow))]),
    ]
}

/// Measures the slowest of the policies, for an organization trail whose new key allows no reader to decrypt.
pub fn measure(binaries: &Binaries) -> Measured {
    let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().map_err(|_| "not an ARN")?;
    let files = LogFiles { organization: true, ..LogFiles::new("logs", None, &trail) };
    let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().map_err(|_| "not an ARN")?;
    let key_policy = Document::new([]);
    let mut slowest = Duration::ZERO;
    for policy in policies() {
        let policy = Document::parse(&policy.to_string()).map_err(|error| error.to_string())?;
        let mut times = Vec::new();
        for _ in 0..binaries.runs.max(1) {
            let begun = Instant::now();
            let readers = locked_out_readers(&policy, &files, Some(&key_policy), &key, trail.account());
            times.push(begun.elapsed());
            if readers.len() < 100 {
                return Err(format!("only {} readers are named", readers.len()));
            }
        }
        times.sort_unstable();
        slowest = slowest.max(times[times.len() / 2]);
    }
    let measured = format!("{:.0} ms", slowest.as_secs_f64() * 1e3);
    Ok(vec![Row::READERS.compared(measured, slowest <= BUDGET)])
}

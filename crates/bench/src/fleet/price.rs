//! What a month of the fleet costs, by the list prices of docs/operations.md. Free tiers are left out: an
//! organization shares one of each.

use std::time::Duration;

use super::{day::What, tally::Tally};

/// Days of a month.
pub const DAYS: f64 = 30.0;
/// Lambda, a GB-second on x86 \*.
const GB_SECOND: f64 = 0.000_016_666_7;
/// Lambda, a request \*.
const INVOCATION: f64 = 0.20 / 1e6;
/// CloudWatch Logs, a GB taken in \*.
const LOG_IN: f64 = 0.50;
/// CloudWatch Logs, a GB kept for a month \*.
const LOG_KEPT: f64 = 0.03;
/// Months for which the template keeps the log.
const MONTHS_KEPT: f64 = 12.0;
/// KMS, a request: <https://aws.amazon.com/kms/pricing/>.
const KMS_REQUEST: f64 = 0.03 / 1e4;
/// S3, a read \*.
const S3_READ: f64 = 0.0004 / 1e3;
/// SNS, a message to a topic \*.
const MESSAGE: f64 = 0.50 / 1e6;
/// SNS, an e-mail \*.
const MAIL: f64 = 2.0 / 1e5;
/// EventBridge, an event put on a bus \*.
const OUTCOME: f64 = 1.0 / 1e6;
/// EventBridge Scheduler, an invocation \*.
const SCHEDULED: f64 = 1.0 / 1e6;
/// CloudWatch, an hour in which a custom metric has data \*.
const METRIC_HOUR: f64 = 0.30 / 730.0;

/// Memory of the function in GB, as the template has it.
const MEMORY: f64 = 0.125;
/// The share of a CPU that Lambda gives 128 MB: 1,769 MB have one,
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
pub const CPU_SHARE: f64 = 0.07;

/// Lambda's own lines about a cold invocation in JSON: initStart, start, report. Estimated.
const LAMBDA_LINES: f64 = 3.0;
/// Their bytes.
const LAMBDA_BYTES: f64 = 900.0;
/// What CloudWatch Logs counts for each line beside its text:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>.
const LINE_OVERHEAD: f64 = 26.0;

/// One line of a bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What is paid for.
    pub what: &'static str,
    /// How much of it, as text.
    pub amount: String,
    /// What it costs, in dollars.
    pub dollars: f64,
}

/// Lambda's GB-seconds: CPU time at the function's share of a CPU, and the time that it waits.
pub fn gb_seconds(cpu: Duration, waited: Duration) -> f64 {
    MEMORY * (cpu.as_secs_f64() / CPU_SHARE + waited.as_secs_f64())
}

/// The bytes that CloudWatch Logs takes in, Lambda's own lines included.
pub fn log_bytes(day: &Tally) -> f64 {
    let invocations = day.invoked() as f64;
    let lines = day.log_lines as f64 + invocations * LAMBDA_LINES;
    day.log_bytes as f64 + invocations * LAMBDA_BYTES + lines * LINE_OVERHEAD
}

/// A month of days like this one. `gb_seconds` are those of the day.
pub fn bill(day: &Tally, gb_seconds: f64) -> Vec<Line> {
    let month = |count: usize| count as f64 * DAYS;
    let line = |what, amount, dollars| Line { what, amount, dollars };
    let invocations = month(day.invoked());
    let sweeps = month(day.invocations.get(&What::Sweep).copied().unwrap_or(0));
    let logged = log_bytes(day) * DAYS / 1e9;
    let (kms, s3) = (month(day.calls_of("kms")), month(day.calls_of("s3")));
    let alerts = month(day.alerts);
    let metric_hours = sweeps + month(day.remediations);
    let gb_seconds = gb_seconds * DAYS;
    vec![
        line("Lambda, time \\*", format!("{} GB-seconds", number(gb_seconds)), gb_seconds * GB_SECOND),
        line("Lambda, requests \\*", number(invocations), invocations * INVOCATION),
        line("log, taken in \\*", format!("{logged:.2} GB"), logged * LOG_IN),
        line(
            "log, kept for a year \\*",
            format!("{:.1} GB from the twelfth month on", logged * MONTHS_KEPT),
            logged * MONTHS_KEPT * LOG_KEPT,
        ),
        line(
            "metrics, by the hour \\*",
            format!("{} hours with data", number(metric_hours)),
            metric_hours * METRIC_HOUR,
        ),
        line("KMS requests", number(kms), kms * KMS_REQUEST),
        line("S3 requests \\*", number(s3), s3 * S3_READ),
        line("alerts to a topic, one e-mail each \\*", number(alerts), alerts * (MESSAGE + MAIL)),
        // Onto the stack's bus, and from there onto the one that was named.
        line("outcomes, on two buses each \\*", number(2.0 * invocations), 2.0 * invocations * OUTCOME),
        line("EventBridge Scheduler \\*", number(sweeps), sweeps * SCHEDULED),
    ]
}

/// What a bill comes to, in dollars.
pub fn total(bill: &[Line]) -> f64 {
    bill.iter().map(|line| line.dollars).sum()
}

/// `1,234,567`.
pub fn number(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_paid_for_by_the_share_of_a_cpu_and_by_waiting() {
        // 7 ms of CPU are 100 ms on the clock; with 300 ms of waiting, an eighth of 0.4 s.
        let cost = gb_seconds(Duration::from_millis(7), Duration::from_millis(300));
        assert!((cost - 0.05).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn a_bill_is_counted_by_the_month() {
        let day = Tally {
            accounts: 1000,
            invocations: [(What::Sweep, 1000), (What::OtherKey, 9000)].into(),
            calls: [("kms".to_owned(), 10_000), ("s3".to_owned(), 1000)].into(),
            alerts: 100,
            remediations: 460,
            log_lines: 10_000,
            log_bytes: 10_000_000,
            ..Tally::default()
        };
        // 10,000 × (1,000 + 900 + 4 × 26).
        assert!((log_bytes(&day) - 20_040_000.0).abs() < 1e-3);
        let bill = bill(&day, 200.0);
        let expected = [0.1, 0.06, 0.3006, 0.216_432, 18.0, 0.9, 0.012, 0.0615, 0.6, 0.03];
        assert_eq!(bill.len(), expected.len());
        for (line, expected) in bill.iter().zip(expected) {
            assert!((line.dollars - expected).abs() < 1e-5, "{line:?}: {expected}");
        }
        assert_eq!(bill[0].amount, "6,000 GB-seconds");
        assert!((total(&bill) - 20.280_532).abs() < 1e-4);
    }

    #[test]
    fn numbers_are_read_in_threes() {
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.4].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}

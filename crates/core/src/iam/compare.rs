//! One value of a condition against one value of a request.

use std::net::IpAddr;

use serde_json::Value;

use crate::iam::pattern::Pattern;
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// What a condition operator compares, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    StringIgnoringCase,
    StringLike,
    /// `ArnEquals` and `ArnLike` behave identically.
    Arn,
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    IpAddress,
}

/// How two numbers or dates compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, actual: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => actual == wanted,
            Self::Less => actual < wanted,
            Self::LessOrEqual => actual <= wanted,
            Self::Greater => actual > wanted,
            Self::GreaterOrEqual => actual >= wanted,
        }
    }
}

impl Kind {
    /// Reads an operator's name without prefix and suffix: what it compares, and whether it is negated.
    pub(crate) fn parse(name: &str) -> Option<(Self, bool)> {
        Some(match name {
            "StringEquals" => (Self::String, false),
            "StringNotEquals" => (Self::String, true),
            "StringEqualsIgnoreCase" => (Self::StringIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Self::StringIgnoringCase, true),
            "StringLike" => (Self::StringLike, false),
            "StringNotLike" => (Self::StringLike, true),
            "ArnEquals" | "ArnLike" => (Self::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Self::Arn, true),
            "NumericEquals" => (Self::Numeric(Order::Equal), false),
            "NumericNotEquals" => (Self::Numeric(Order::Equal), true),
            "NumericLessThan" => (Self::Numeric(Order::Less), false),
            "NumericLessThanEquals" => (Self::Numeric(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Self::Numeric(Order::Greater), false),
            "NumericGreaterThanEquals" => (Self::Numeric(Order::GreaterOrEqual), false),
            "DateEquals" => (Self::Date(Order::Equal), false),
            "DateNotEquals" => (Self::Date(Order::Equal), true),
            "DateLessThan" => (Self::Date(Order::Less), false),
            "DateLessThanEquals" => (Self::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Self::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Self::Date(Order::GreaterOrEqual), false),
            "Bool" => (Self::Bool, false),
            "BinaryEquals" => (Self::Binary, false),
            "IpAddress" => (Self::IpAddress, false),
            "NotIpAddress" => (Self::IpAddress, true),
            _ => return None,
        })
    }
}

/// Whether a value of a request is the one that a policy wants, before any negation. `variables`:
/// whether `${…}` is a variable in string and ARN operators.
pub(crate) fn compare(kind: Kind, wanted: &Value, actual: &str, variables: bool) -> Truth {
    let wanted = match wanted {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if !number.is_f64() || matches!(kind, Kind::Numeric(_)) => number.to_string(),
        other => return Truth::unknown(format!("it is not known here how `{other}` is compared")),
    };
    let known = match kind {
        Kind::String => return Pattern::exact(&wanted, variables).is(actual),
        Kind::StringLike => return Pattern::with_wildcards(&wanted, variables).is(actual),
        Kind::Arn => return Pattern::with_wildcards(&wanted, variables).is_arn(actual),
        Kind::StringIgnoringCase => return ignoring_case(&wanted, actual, variables),
        Kind::Numeric(order) => both(decimal, &wanted, actual).map(|(wanted, actual)| order.holds(&actual, &wanted)),
        Kind::Date(order) => date_holds(order, &wanted, actual),
        Kind::Bool => both(boolean, &wanted, actual).map(|(wanted, actual)| actual == wanted),
        // Two texts can stand for the same bytes.
        Kind::Binary => (wanted == actual).then_some(true),
        Kind::IpAddress => within(&wanted, actual),
    };
    known.map_or_else(
        || {
            let (actual, wanted) = (shorten(actual, 80), shorten(&wanted, 80));
            Truth::unknown(format!("it is not known here how `{actual}` compares with `{wanted}`"))
        },
        Truth::from,
    )
}

fn both<T>(read: fn(&str) -> Option<T>, wanted: &str, actual: &str) -> Option<(T, T)> {
    Some((read(wanted)?, read(actual)?))
}

/// AWS does not say what case means outside ASCII.
fn ignoring_case(wanted: &str, actual: &str, variables: bool) -> Truth {
    let truth = Pattern::exact(&wanted.to_ascii_lowercase(), variables).is(&actual.to_ascii_lowercase());
    if truth == Truth::No && !(wanted.is_ascii() && actual.is_ascii()) {
        return Truth::unknown("it is compared without regard to case, outside ASCII");
    }
    truth
}

fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// A plain decimal number of so few digits that no two of them are one `f64`.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit());
    if plain && digits.len() <= 15 { text.parse().ok() } else { None }
}

/// Seconds since 1970 on both sides, or the one form of date that needs no calendar on both sides.
fn date_holds(order: Order, wanted: &str, actual: &str) -> Option<bool> {
    if let Some((wanted, actual)) = both(decimal, wanted, actual) {
        return Some(order.holds(&actual, &wanted));
    }
    both(utc, wanted, actual).map(|(wanted, actual)| order.holds(&actual, &wanted))
}

/// `2026-11-20T11:07:53Z`, as numbers.
fn utc(text: &str) -> Option<Vec<u16>> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape != "0000-00-00T00:00:00Z" {
        return None;
    }
    let numbers: Vec<u16> =
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    let limits = [9999, 12, 31, 23, 59, 59];
    (numbers.len() == limits.len() && numbers.iter().zip(limits).all(|(number, limit)| *number <= limit))
        .then_some(numbers)
}

/// Whether an address is in a range such as `203.0.113.0/24`; without a prefix, in a range of one.
fn within(range: &str, address: &str) -> Option<bool> {
    let (start, prefix) = match range.split_once('/') {
        Some((start, prefix)) => (start, Some(prefix.parse::<u32>().ok()?)),
        None => (range, None),
    };
    let differs = match (start.parse().ok()?, address.parse().ok()?) {
        (IpAddr::V4(start), IpAddr::V4(address)) => {
            let rest = 32_u32.checked_sub(prefix.unwrap_or(32))?;
            (start.to_bits() ^ address.to_bits()).checked_shr(rest).unwrap_or(0) != 0
        }
        (IpAddr::V6(start), IpAddr::V6(address)) => {
            let rest = 128_u32.checked_sub(prefix.unwrap_or(128))?;
            (start.to_bits() ^ address.to_bits()).checked_shr(rest).unwrap_or(0) != 0
        }
        (IpAddr::V4(_), IpAddr::V6(mapped)) | (IpAddr::V6(mapped), IpAddr::V4(_)) => {
            if mapped.to_ipv4_mapped().is_some() {
                return None;
            }
            true
        }
    };
    Some(!differs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is(operator: &str, wanted: Value, actual: &str) -> &'static str {
        let (kind, negated) = Kind::parse(operator).unwrap();
        let truth = compare(kind, &wanted, actual, true);
        match if negated { truth.negated() } else { truth } {
            Truth::Yes => "yes",
            Truth::No => "no",
            Truth::Unknown(_) => "maybe",
        }
    }

    #[test]
    fn strings_are_equal_exactly_or_without_case_or_by_wildcards() {
        assert_eq!(is("StringEquals", json!("a*"), "ab"), "no");
        assert_eq!(is("StringEquals", json!("a${*}"), "a*"), "yes");
        assert_eq!(is("StringNotEquals", json!("A"), "a"), "yes");
        assert_eq!(is("StringEqualsIgnoreCase", json!("AbC"), "aBc"), "yes");
        assert_eq!(is("StringNotEqualsIgnoreCase", json!("AbC"), "aBc"), "no");
        assert_eq!(is("StringNotEqualsIgnoreCase", json!("AbC"), "aBd"), "yes");
        assert_eq!(is("StringEqualsIgnoreCase", json!("Ä"), "ä"), "maybe");
        assert_eq!(is("StringEqualsIgnoreCase", json!("Äb"), "ÄB"), "yes");
        assert_eq!(is("StringNotLike", json!("a?"), "ab"), "no");
        assert_eq!(is("StringEquals", json!(123_456_789_012_u64), "123456789012"), "yes");
        assert_eq!(is("StringEquals", json!(true), "true"), "yes");
        assert_eq!(is("StringEquals", json!(1.5), "1.5"), "maybe");
    }

    #[test]
    fn arn_equals_takes_wildcards_as_arn_like_does() {
        let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
        for operator in ["ArnEquals", "ArnLike"] {
            assert_eq!(is(operator, json!("arn:aws:cloudtrail:*:123456789012:trail/*"), trail), "yes");
            assert_eq!(is(operator, json!("arn:aws:cloudtrail:*:999999999999:trail/*"), trail), "no");
        }
        assert_eq!(is("ArnNotEquals", json!("arn:aws:cloudtrail:*:*:trail/*"), trail), "no");
    }

    #[test]
    fn numbers_are_compared_by_value_if_they_are_plain() {
        assert_eq!(is("NumericEquals", json!("10.0"), "10"), "yes");
        assert_eq!(is("NumericLessThan", json!(10), "9"), "yes");
        assert_eq!(is("NumericLessThanEquals", json!("10"), "10"), "yes");
        assert_eq!(is("NumericGreaterThan", json!("-1.5"), "-2"), "no");
        assert_eq!(is("NumericGreaterThanEquals", json!("3"), "3"), "yes");
        assert_eq!(is("NumericNotEquals", json!(3), "4"), "yes");
        for odd in ["1e3", "inf", "", ".5", "0x1", "1234567890123456", "1.2.3"] {
            assert_eq!(is("NumericEquals", json!(odd), "1"), "maybe", "{odd}");
            assert_eq!(is("NumericNotEquals", json!("1"), odd), "maybe", "{odd}");
        }
    }

    #[test]
    fn dates_are_compared_where_no_calendar_is_needed() {
        assert_eq!(is("DateLessThan", json!("2026-11-20T11:07:53Z"), "2026-11-20T11:07:52Z"), "yes");
        assert_eq!(is("DateGreaterThanEquals", json!("2026-11-20T00:00:00Z"), "2026-11-20T00:00:00Z"), "yes");
        assert_eq!(is("DateEquals", json!("2026-11-20T00:00:00Z"), "2026-11-20T00:00:00Z"), "yes");
        assert_eq!(is("DateLessThanEquals", json!("2026-11-20T00:00:00Z"), "2026-11-20T00:00:00Z"), "yes");
        assert_eq!(is("DateGreaterThan", json!("2026-11-20T00:00:00Z"), "2026-11-20T00:00:00Z"), "no");
        assert_eq!(is("DateNotEquals", json!(1_700_000_000), "1700000000"), "no");
        for odd in ["2026-11-20", "2026-11-20T11:07:53+01:00", "2026-13-20T11:07:53Z", "1700000000"] {
            assert_eq!(is("DateGreaterThan", json!(odd), "2026-11-20T11:07:52Z"), "maybe", "{odd}");
        }
    }

    #[test]
    fn booleans_bytes_and_addresses() {
        assert_eq!(is("Bool", json!("true"), "true"), "yes");
        assert_eq!(is("Bool", json!(false), "true"), "no");
        assert_eq!(is("Bool", json!("yes"), "true"), "maybe");
        assert_eq!(is("BinaryEquals", json!("QQ=="), "QQ=="), "yes");
        assert_eq!(is("BinaryEquals", json!("QQ=="), "QR=="), "maybe");
        assert_eq!(is("IpAddress", json!("203.0.113.0/24"), "203.0.113.77"), "yes");
        assert_eq!(is("NotIpAddress", json!("203.0.113.0/24"), "203.0.114.77"), "yes");
        assert_eq!(is("IpAddress", json!("203.0.113.7"), "203.0.113.7"), "yes");
        assert_eq!(is("IpAddress", json!("0.0.0.0/0"), "203.0.113.7"), "yes");
        assert_eq!(is("IpAddress", json!("2001:DB8:1234:5678::/64"), "2001:db8:1234:5678::1"), "yes");
        assert_eq!(is("IpAddress", json!("2001:db8::/32"), "203.0.113.7"), "no");
        for odd in ["203.0.113.0/33", "203.0.113/24", "x", "::ffff:203.0.113.7"] {
            assert_eq!(is("IpAddress", json!(odd), "203.0.113.7"), "maybe", "{odd}");
        }
    }
}

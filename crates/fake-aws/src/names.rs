//! ARNs and IDs.

/// An ARN's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) partition: &'a str,
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// The parts of `text`, if it has the six that every ARN has.
    pub(crate) fn parse(text: &'a str) -> Option<Arn<'a>> {
        let mut parts = text.splitn(6, ':');
        if parts.next() != Some("arn") {
            return None;
        }
        let arn = Arn {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        let valid = arn.partition.starts_with("aws") && !arn.service.is_empty();
        (valid && !arn.resource.is_empty()).then_some(arn)
    }

    /// The parts of a trail's ARN.
    pub(crate) fn trail(text: &'a str) -> Option<Arn<'a>> {
        let arn = Arn::parse(text)?;
        let name = arn.resource.strip_prefix("trail/")?;
        (arn.service == "cloudtrail" && !arn.region.is_empty() && is_account_id(arn.account) && is_trail_name(name))
            .then_some(arn)
    }

    /// The parts of a key's or alias's ARN.
    pub(crate) fn kms(text: &'a str) -> Option<Arn<'a>> {
        let arn = Arn::parse(text)?;
        (arn.service == "kms" && !arn.region.is_empty() && is_account_id(arn.account)).then_some(arn)
    }
}

/// The Region of a well-formed ARN.
pub(crate) fn region_of(arn: &str) -> &str {
    Arn::parse(arn).map_or("", |arn| arn.region)
}

/// The account of a well-formed ARN.
pub(crate) fn account_of(arn: &str) -> &str {
    Arn::parse(arn).map_or("", |arn| arn.account)
}

/// The bucket in the ARN of a bucket or object.
pub(crate) fn bucket_of(arn: &str) -> Option<&str> {
    let arn = Arn::parse(arn).filter(|arn| arn.service == "s3")?;
    arn.resource.split('/').next()
}

/// Twelve digits.
pub(crate) fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// CloudTrail's rule for names, except for adjacent punctuation.
pub(crate) fn is_trail_name(text: &str) -> bool {
    (3..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A bare key ID: a UUID, or the ID of a multi-Region key.
pub(crate) fn is_key_id(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.strip_prefix("mrk-") {
        Some(rest) => rest.len() == 32 && hex(rest),
        None => {
            let groups: Vec<&str> = text.split('-').collect();
            groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(|g| hex(g))
        }
    }
}

/// The rule for what follows `alias/`.
pub(crate) fn is_alias_name(text: &str) -> bool {
    text.strip_prefix("alias/").is_some_and(|name| {
        (1..=250).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_trail_arns_are_rejected() {
        assert!(Arn::trail("arn:aws-cn:cloudtrail:cn-north-1:123456789012:trail/audit").is_some());
        assert!(Arn::trail("arn:aws:cloudtrail:eu-west-1:123456789012:trail/").is_none());
        assert!(Arn::trail("arn:aws:cloudtrail:eu-west-1:12345:trail/audit").is_none());
        assert!(Arn::trail("arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/x").is_none());
    }

    #[test]
    fn key_ids_are_uuids_or_multi_region_ids() {
        assert!(is_key_id("00000000-0000-4000-8000-000000000001"));
        assert!(is_key_id("mrk-00000000000040008000000000000001"));
        assert!(!is_key_id("audit"));
    }
}

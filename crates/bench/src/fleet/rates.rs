//! How many calls of a kind came within one second, in one account and Region, beside what AWS allows.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fake_aws::Call;

/// Calls that share a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// CloudTrail's reads, taken together.
    TrailReads,
    /// CloudTrail's writes, taken together.
    TrailWrites,
    /// KMS's `DescribeKey`.
    DescribeKey,
    /// KMS's `GetKeyPolicy`.
    GetKeyPolicy,
    /// KMS's `ListResourceTags`.
    ListResourceTags,
    /// KMS's `ListAliases`.
    ListAliases,
    /// KMS's `CreateKey`.
    CreateKey,
    /// KMS's `EnableKeyRotation`.
    EnableKeyRotation,
    /// KMS's `CreateAlias`.
    CreateAlias,
    /// KMS's `EnableKey`.
    EnableKey,
    /// KMS's `PutKeyPolicy`.
    PutKeyPolicy,
    /// The Resource Groups Tagging API's `GetResources`.
    GetResources,
    /// SNS's `Publish`.
    Publish,
}

impl Quota {
    /// The one that a call counts for; S3 has none that a fleet could meet.
    fn of(call: &Call) -> Option<Self> {
        Some(match (call.service.as_str(), call.operation.as_str()) {
            ("cloudtrail", _) if is_read(call) => Self::TrailReads,
            ("cloudtrail", _) => Self::TrailWrites,
            ("kms", "DescribeKey") => Self::DescribeKey,
            ("kms", "GetKeyPolicy") => Self::GetKeyPolicy,
            ("kms", "ListResourceTags") => Self::ListResourceTags,
            ("kms", "ListAliases") => Self::ListAliases,
            ("kms", "CreateKey") => Self::CreateKey,
            ("kms", "EnableKeyRotation") => Self::EnableKeyRotation,
            ("kms", "CreateAlias") => Self::CreateAlias,
            ("kms", "EnableKey") => Self::EnableKey,
            ("kms", "PutKeyPolicy") => Self::PutKeyPolicy,
            ("tagging", "GetResources") => Self::GetResources,
            ("sns", "Publish") => Self::Publish,
            _ => return None,
        })
    }

    /// Its name, and what AWS allows by default in one account and Region. KMS's are of
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html>, CloudTrail's of
    /// <https://docs.aws.amazon.com/general/latest/gr/ct.html>.
    pub fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::TrailReads => ("CloudTrail, all reads", "10 a second, not adjustable"),
            Self::TrailWrites => ("CloudTrail, all writes", "1 a second, not adjustable"),
            Self::DescribeKey => ("`kms:DescribeKey`", "2,000 a second"),
            Self::GetKeyPolicy => ("`kms:GetKeyPolicy`", "1,000 a second"),
            Self::ListResourceTags => ("`kms:ListResourceTags`", "2,000 a second"),
            Self::ListAliases => ("`kms:ListAliases`", "500 a second"),
            Self::CreateKey => ("`kms:CreateKey`", "5 a second"),
            Self::EnableKeyRotation => ("`kms:EnableKeyRotation`", "15 a second"),
            Self::CreateAlias => ("`kms:CreateAlias`", "5 a second"),
            Self::EnableKey => ("`kms:EnableKey`", "5 a second"),
            Self::PutKeyPolicy => ("`kms:PutKeyPolicy`", "15 a second"),
            Self::GetResources => ("`tag:GetResources`", "no number found"),
            Self::Publish => ("`sns:Publish`", "300 to 30,000 a second \\*"),
        }
    }
}

/// Whether a call changes nothing.
pub fn is_read(call: &Call) -> bool {
    ["Get", "Describe", "List", "Head"].iter().any(|verb| call.operation.starts_with(verb))
}

/// The most calls for each quota in any second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks(pub BTreeMap<Quota, usize>);

impl Peaks {
    /// Those of one invocation's calls.
    pub fn of(calls: &[Call]) -> Self {
        let mut started: BTreeMap<(Quota, &str), Vec<Instant>> = BTreeMap::new();
        for call in calls {
            if let Some(quota) = Quota::of(call) {
                started.entry((quota, &call.region)).or_default().push(call.started);
            }
        }
        let mut peaks = Self::default();
        for ((quota, _), mut times) in started {
            times.sort();
            peaks.raise(quota, busiest_second(&times));
        }
        peaks
    }

    /// Those of either.
    pub fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|(quota, calls)| self.raise(quota, calls));
    }

    fn raise(&mut self, quota: Quota, calls: usize) {
        let peak = self.0.entry(quota).or_default();
        *peak = calls.max(*peak);
    }
}

/// The most of these times, which are sorted, that lie within one second.
fn busiest_second(times: &[Instant]) -> usize {
    let within = |from: usize| {
        let end = times[from] + Duration::from_secs(1);
        times[from..].iter().take_while(|time| **time < end).count()
    };
    (0..times.len()).map(within).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_need_not_begin_with_the_first_call() {
        let epoch = Instant::now();
        let times = |millis: &[u64]| millis.iter().map(|at| epoch + Duration::from_millis(*at)).collect::<Vec<_>>();
        assert_eq!(busiest_second(&times(&[0, 900, 1000, 1100, 1899, 1900])), 4);
        assert_eq!(busiest_second(&times(&[0, 1000, 2000])), 1);
        assert_eq!(busiest_second(&[]), 0);
    }

    #[test]
    fn the_higher_peak_of_two_stays() {
        let mut peaks = Peaks([(Quota::CreateKey, 1), (Quota::TrailReads, 7)].into());
        peaks.append(Peaks([(Quota::CreateKey, 2), (Quota::TrailReads, 3)].into()));
        assert_eq!(peaks.0, [(Quota::CreateKey, 2), (Quota::TrailReads, 7)].into());
    }
}

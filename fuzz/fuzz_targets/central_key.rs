//! The policy of a central key: short enough for KMS, and exactly for the accounts and the organization of its options.
//!
//! The input has a line for each option: account, organization, accounts, readers, name and partition.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use trailseal_core::access::cloudtrail_key_access;
use trailseal_core::config::items;
use trailseal_core::iam::Document;
use trailseal_core::ids::{AccountId, KeyArn, Partition, TrailArn};
use trailseal_core::key_policy::MAX_BYTES;

// The command line is a program, not a library.
#[path = "../../crates/cli/src/central_key.rs"]
mod central_key;

use central_key::CentralKey;

fn central_key(text: &str) -> Option<CentralKey> {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let account = line().parse().ok()?;
    let organization = Some(line()).filter(|it| !it.is_empty()).map(str::parse).transpose().ok()?;
    let accounts = items(line()).map(str::parse).collect::<Result<BTreeSet<AccountId>, _>>().ok()?;
    let (readers, stack, partition) = (line().parse().ok()?, line().parse().ok()?, line().parse().ok()?);
    Some(CentralKey { partition, account, organization, accounts, readers, stack })
}

fn trail(partition: &Partition, account: &str) -> TrailArn {
    format!("arn:{partition}:cloudtrail:eu-west-1:{account}:trail/audit").parse().unwrap()
}

fuzz_target!(|data: &[u8]| {
    let Some(key) = std::str::from_utf8(data).ok().and_then(central_key) else { return };
    let text = match key.policy() {
        Ok(text) => text,
        Err(none) => {
            assert!(!none.to_string().is_empty());
            return;
        }
    };
    assert!(text.len() <= MAX_BYTES + 1, "KMS rejects a longer policy");
    let policy = Document::parse(&text).unwrap();
    assert!(policy.statements().iter().all(|statement| statement.malformed().is_none()));
    let arn: KeyArn = format!("arn:{}:kms:eu-west-1:{}:key/1234abcd", key.partition, key.account).parse().unwrap();
    let access = |account: &str, organization| {
        cloudtrail_key_access(&policy, &arn, &trail(&key.partition, account), organization)
    };
    for account in key.accounts.iter().chain([&key.account]) {
        assert!(access(account.as_str(), None).denied().is_empty(), "{account} can use the key");
        assert!(access(account.as_str(), None).generate_data_key.is_allowed(), "{account} can use the key");
    }
    let other = "555555555555";
    if !key.accounts.iter().chain([&key.account]).any(|account| account.as_str() == other) {
        let outsider = "o-zzzzzzzzzz".parse().unwrap();
        let is_member = key.organization.as_ref() == Some(&outsider);
        assert_eq!(access(other, Some(&outsider)).generate_data_key.is_allowed(), is_member);
    }
});

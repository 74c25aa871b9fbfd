//! Configurations, questions to a key's policy, and what each configuration means to answer.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use trailseal_core::config::Config;
use trailseal_core::ids::FunctionArn;
use trailseal_core::key_policy::KeyPolicy;

const HOME: &str = "123456789012";
const OWNER: &str = "999999999999";
pub(crate) const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const ROLES: [&str; 2] =
    ["arn:aws:iam::123456789012:role/trailseal", "arn:aws:iam::123456789012:role/path/trailseal-new"];

/// The account's own id is not among them: its root may everything anyway.
pub(crate) const READERS: [&str; 8] = [
    "arn:aws:iam::123456789012:user/ann",
    "arn:aws:iam::210987654321:role/siem",
    "arn:aws:iam::555555555555:role/path/athena",
    "210987654321",
    "444444444444",
    "o-abcdefghij",
    "o-zyxwvutsrq",
    "account",
];

/// What decides about the policy, as the environment has it.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) role: Option<&'static str>,
    pub(crate) owner: Option<&'static str>,
    pub(crate) readers: Vec<&'static str>,
}

impl Setup {
    pub(crate) fn policy(&self) -> KeyPolicy {
        let config = Config::parse(|name| match name {
            "TRAILSEAL_ROLE_ARN" => self.role.map(str::to_owned),
            "TRAILSEAL_ORG_TRAIL_OWNER" => self.owner.map(str::to_owned),
            "TRAILSEAL_LOG_READERS" => Some(self.readers.join(",")),
            _ => None,
        });
        let home: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
        KeyPolicy::new(&config.unwrap(), &home)
    }

    /// The accounts whose trails CloudTrail may use the key for.
    pub(crate) fn owners(&self) -> BTreeSet<&'static str> {
        self.owner.into_iter().chain([HOME]).collect()
    }

    /// What this configuration means to answer.
    pub(crate) fn means(&self, question: &Value) -> &'static str {
        let fact = |key: &str| question["context"][key][0].as_str().unwrap_or_default();
        let (caller, action) = (question["caller"].as_str().unwrap(), question["action"].as_str().unwrap());
        let account = fact("kms:CallerAccount");
        let trail_in = |key: &str| self.owners().iter().any(|it| fact(key).contains(&format!(":{it}:trail/")));
        let reads = |reader: &str| self.readers.contains(&reader);
        let through_s3 = action == "kms:Decrypt" && fact("kms:ViaService").starts_with("s3.");
        let root = |account: &str| caller == format!("arn:aws:iam::{account}:root");

        let cloudtrail = caller == "cloudtrail.amazonaws.com"
            && trail_in("aws:SourceArn")
            && match action {
                "kms:GenerateDataKey" | "kms:GenerateDataKeyWithoutPlaintext" => {
                    trail_in("kms:EncryptionContext:aws:cloudtrail:arn")
                }
                "kms:DescribeKey" | "kms:Decrypt" => true,
                _ => false,
            };
        let finishes = ["kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:CreateAlias"].contains(&action);
        let role = finishes && self.role.is_some_and(|role| role == fact("aws:PrincipalArn"));
        let reader = through_s3
            && (reads(fact("aws:PrincipalArn"))
                || reads(fact("aws:PrincipalOrgID"))
                || (reads("account") && account == HOME)
                || (reads(account) && root(account)));
        if cloudtrail || role || reader || root(HOME) {
            "allowed"
        } else if account == HOME || (through_s3 && reads(account)) {
            "delegated"
        } else {
            "implicit deny"
        }
    }
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let role = prop_oneof![1 => Just(None), 3 => select(&ROLES[..]).prop_map(Some)];
    let owner = prop_oneof![2 => Just(None), 1 => select(vec![OWNER, HOME]).prop_map(Some)];
    (role, owner, subsequence(&READERS[..], 0..=READERS.len())).prop_map(|(role, owner, readers)| Setup {
        role,
        owner,
        readers,
    })
}

/// A question about which everything is known.
pub(crate) fn request() -> impl Strategy<Value = Value> {
    // The caller, its account, and what the request has for `aws:PrincipalArn`.
    let caller = select(vec![
        ("arn:aws:iam::123456789012:root", "123456789012", "arn:aws:iam::123456789012:root"),
        (ROLES[0], "123456789012", ROLES[0]),
        ("arn:aws:sts::123456789012:assumed-role/trailseal/x", "123456789012", ROLES[0]),
        (ROLES[1], "123456789012", ROLES[1]),
        ("arn:aws:iam::123456789012:role/other", "123456789012", "arn:aws:iam::123456789012:role/other"),
        (READERS[0], "123456789012", READERS[0]),
        (READERS[1], "210987654321", READERS[1]),
        ("arn:aws:sts::210987654321:assumed-role/siem/x", "210987654321", READERS[1]),
        ("arn:aws:iam::210987654321:root", "210987654321", "arn:aws:iam::210987654321:root"),
        ("arn:aws:iam::444444444444:user/bob", "444444444444", "arn:aws:iam::444444444444:user/bob"),
        (READERS[2], "555555555555", READERS[2]),
        ("arn:aws:iam::666666666666:role/siem", "666666666666", "arn:aws:iam::666666666666:role/siem"),
        ("arn:aws:iam::666666666666:root", "666666666666", "arn:aws:iam::666666666666:root"),
        ("cloudtrail.amazonaws.com", "", ""),
        ("cloudtrail.amazonaws.com", "", ""),
        ("cloudtrail.amazonaws.com", "", ""),
        ("logs.amazonaws.com", "", ""),
        ("s3.amazonaws.com", "", ""),
        ("anonymous", "", ""),
    ]);
    let action = select(vec![
        "kms:Decrypt",
        "kms:Decrypt",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey",
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:Encrypt",
        "kms:ReEncryptFrom",
        "kms:CreateGrant",
        "kms:PutKeyPolicy",
        "kms:EnableKeyRotation",
        "kms:CreateAlias",
        "kms:ScheduleKeyDeletion",
    ]);
    let via = select(vec![
        "",
        "s3.eu-west-1.amazonaws.com",
        "s3.eu-west-1.amazonaws.com",
        "s3-x.amazonaws.com",
        "ec2.eu-west-1.amazonaws.com",
    ]);
    let organization = select(vec!["", "o-abcdefghij", "o-zyxwvutsrq", "o-eeeeeeeeee"]);
    let trail = || {
        select(vec![
            "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit",
            "arn:aws:cloudtrail:us-east-1:999999999999:trail/audit",
            "arn:aws:cloudtrail:us-east-1:666666666666:trail/audit",
            "",
        ])
    };
    (caller, action, via, organization, trail(), trail()).prop_map(|(caller, action, via, organization, on, inside)| {
        let (caller, account, arn) = caller;
        let known = [
            ("aws:PrincipalArn", arn),
            ("kms:CallerAccount", account),
            ("aws:PrincipalOrgID", if account.is_empty() { "" } else { organization }),
            ("kms:ViaService", via),
            ("aws:SourceArn", on),
            ("kms:EncryptionContext:aws:cloudtrail:arn", inside),
            ("aws:SourceAccount", ""),
            ("aws:TagKeys", "env"),
            ("aws:SecureTransport", "true"),
            ("s3:max-keys", ""),
            ("aws:SourceIp", "203.0.113.7"),
            ("aws:CurrentTime", "2026-11-20T11:07:53Z"),
            ("aws:Nobody", ""),
        ];
        let fact = |value: &str| if value.is_empty() { Value::Null } else { json!([value]) };
        let context: Map<String, Value> = known.into_iter().map(|(key, value)| (key.into(), fact(value))).collect();
        json!({ "caller": caller, "action": action, "resource": KEY, "context": context })
    })
}

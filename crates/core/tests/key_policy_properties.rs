//! What holds for every key policy that is extended: no existing statement is altered, everyone that the configuration
//! names gets access, and no one else does.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Map, Value, json};
use trailseal_core::access::{KeyAccess, cloudtrail_key_access};
use trailseal_core::config::Config;
use trailseal_core::iam::{Decision, Document, evaluate};
use trailseal_core::ids::{FunctionArn, KeyArn};
use trailseal_core::key_policy::{Extension, KeyPolicy, UnrevokedReader};

mod cases;
#[expect(dead_code, reason = "each test uses some of it")]
mod support;

use support::rank;

const ACCOUNT: &str = "123456789012";
const ORGANIZATION_TRAIL_OWNER: &str = "999999999999";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const ROLES: [&str; 2] =
    ["arn:aws:iam::123456789012:role/trailseal", "arn:aws:iam::123456789012:role/path/trailseal-new"];

/// Without the account's own ID, whose root is allowed everything anyway.
const READERS: [&str; 8] = [
    "arn:aws:iam::123456789012:user/ann",
    "arn:aws:iam::210987654321:role/siem",
    "arn:aws:iam::555555555555:role/path/athena",
    "210987654321",
    "444444444444",
    "o-abcdefghij",
    "o-zyxwvutsrq",
    "account",
];

/// What determines the policy, as the environment has it.
#[derive(Debug, Clone)]
struct Setup {
    role: Option<&'static str>,
    owner: Option<&'static str>,
    readers: Vec<&'static str>,
}

impl Setup {
    fn policy(&self) -> KeyPolicy {
        let config = Config::parse(|name| match name {
            "TRAILSEAL_ROLE_ARN" => self.role.map(str::to_owned),
            "TRAILSEAL_ORG_TRAIL_OWNER" => self.owner.map(str::to_owned),
            "TRAILSEAL_LOG_READERS" => Some(self.readers.join(",")),
            _ => None,
        });
        let function_arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
        KeyPolicy::new(&config.unwrap(), &function_arn)
    }

    /// The accounts whose trails may use the key.
    fn owners(&self) -> BTreeSet<&'static str> {
        self.owner.into_iter().chain([ACCOUNT]).collect()
    }

    /// The decision that the policy of this configuration must give.
    fn intended(&self, request: &Value) -> &'static str {
        let fact = |key: &str| request["context"][key][0].as_str().unwrap_or_default();
        let (caller, action) = (request["caller"].as_str().unwrap(), request["action"].as_str().unwrap());
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
                || (reads("account") && account == ACCOUNT)
                || (reads(account) && root(account)));
        if cloudtrail || role || reader || root(ACCOUNT) {
            "allowed"
        } else if account == ACCOUNT || (through_s3 && reads(account)) {
            "delegated"
        } else {
            "implicit deny"
        }
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    let role = prop_oneof![1 => Just(None), 3 => select(&ROLES[..]).prop_map(Some)];
    let owner = prop_oneof![2 => Just(None), 1 => select(vec![ORGANIZATION_TRAIL_OWNER, ACCOUNT]).prop_map(Some)];
    (role, owner, subsequence(&READERS[..], 0..=READERS.len())).prop_map(|(role, owner, readers)| Setup {
        role,
        owner,
        readers,
    })
}

/// A request without unknown keys.
fn key_request() -> impl Strategy<Value = Value> {
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
    (caller, action, via, organization, trail(), trail()).prop_map(
        |(caller, action, via, organization, source, context_trail)| {
            let (caller, account, arn) = caller;
            let known = [
                ("aws:PrincipalArn", arn),
                ("kms:CallerAccount", account),
                ("aws:PrincipalOrgID", if account.is_empty() { "" } else { organization }),
                ("kms:ViaService", via),
                ("aws:SourceArn", source),
                ("kms:EncryptionContext:aws:cloudtrail:arn", context_trail),
                ("aws:SourceAccount", ""),
                ("aws:TagKeys", "env"),
                ("aws:SecureTransport", "true"),
                ("s3:max-keys", ""),
                ("aws:Absent", ""),
            ];
            let fact = |value: &str| if value.is_empty() { Value::Null } else { json!([value]) };
            let context: Map<String, Value> = known.into_iter().map(|(key, value)| (key.into(), fact(value))).collect();
            json!({ "caller": caller, "action": action, "resource": KEY, "context": context })
        },
    )
}

/// Whether the source and the encryption context are the same trail, if the request has both.
fn is_for_one_trail(request: &Value) -> bool {
    let [source, context] =
        ["aws:SourceArn", "kms:EncryptionContext:aws:cloudtrail:arn"].map(|key| &request["context"][key]);
    source.is_null() || context.is_null() || source == context
}

fn decide(policy: &str, request: &Value) -> &'static str {
    evaluate(&Document::parse(policy).unwrap(), &support::request(request)).name()
}

/// One element of a statement, changed as an administrator might.
fn change() -> impl Strategy<Value = (&'static str, Option<Value>)> {
    let deleted = json!({ "AWS": "AROADBQP57FF2AEXAMPLE" });
    select(vec![
        ("Sid", None),
        ("Sid", Some(json!("TrailsealFinishesCreation"))),
        ("Sid", Some(json!("TrailsealFinishesCreation2"))),
        ("Sid", Some(json!("LogReadersDecrypt"))),
        ("Sid", Some(json!("CloudTrailEncrypts3"))),
        ("Effect", Some(json!("Deny"))),
        ("Principal", Some(deleted.clone())),
        ("Principal", Some(deleted.clone())),
        ("Principal", Some(deleted)),
        ("Principal", Some(json!({ "AWS": ["AROADBQP57FF2AEXAMPLE", "AROADBQP57FF2AEXAMPL2"] }))),
        ("Principal", Some(json!({ "AWS": ["AIDADBQP57FF2AEXAMPLE"] }))),
        ("Principal", Some(json!({ "AWS": ["123456789012", "123456789012"] }))),
        ("Principal", Some(json!("*"))),
        ("Principal", Some(json!({ "AWS": "*" }))),
        ("Action", Some(json!(["KMS:putkeypolicy", "kms:PutKeyPolicy"]))),
        ("Action", Some(json!("kms:*"))),
        ("Action", Some(json!("kms:?ecrypt"))),
        ("Action", Some(json!(["kms:Decrypt", "kms:GenerateDataKey?"]))),
        ("Action", None),
        ("Resource", None),
        ("Resource", Some(json!(["*", KEY]))),
        ("Resource", Some(json!(KEY))),
        ("Condition", None),
        ("Condition", Some(json!({}))),
        ("Condition", Some(json!({ "Bool": { "aws:SecureTransport": "true" } }))),
        ("Condition", Some(json!({ "StringNotEquals": { "kms:ViaService": ["a", "b"] } }))),
        ("Condition", Some(json!({ "StringLike": { "KMS:ViaService": ["s3.*", "ec2.*"] } }))),
        ("Note", Some(json!("x"))),
    ])
}

fn apply_change((element, value): (&str, Option<Value>), place: Index, statements: &mut [Value]) {
    let place = place.index(statements.len());
    let members = statements[place].as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(element.to_owned(), value)),
        None => drop(members.remove(element)),
    }
}

/// A configuration, and the policy of a smaller one with at most one element changed.
fn setup_and_part() -> impl Strategy<Value = (Setup, Value)> {
    let change = prop::option::of((any::<Index>(), change()));
    (setup(), any::<[bool; 8]>(), any::<Index>(), change).prop_map(|(setup, kept, dropped, change)| {
        let readers = setup.readers.iter().zip(kept).filter_map(|(reader, kept)| kept.then_some(*reader)).collect();
        let mut policy = json!(Setup { readers, ..setup.clone() }.policy());
        let statements = policy["Statement"].as_array_mut().unwrap();
        statements.remove(dropped.index(statements.len()));
        if let Some((place, change)) = change {
            apply_change(change, place, statements);
        }
        (setup, policy)
    })
}

/// What trailseal wrote for a configuration, with later changes.
fn grown_policy() -> impl Strategy<Value = Value> {
    let dropped = prop::collection::vec(any::<Index>(), 0..=3);
    let changes = prop::collection::vec((any::<Index>(), change()), 0..=3);
    let foreign = prop::collection::vec((any::<Index>(), support::statement()), 0..=3);
    (setup(), dropped, changes, foreign).prop_map(|(setup, dropped, changes, foreign)| {
        let mut policy = json!(setup.policy());
        let statements = policy["Statement"].as_array_mut().unwrap();
        for place in dropped {
            statements.remove(place.index(statements.len()));
        }
        for (place, change) in changes {
            apply_change(change, place, statements);
        }
        for (place, statement) in foreign {
            statements.insert(place.index(statements.len().saturating_add(1)), statement);
        }
        policy
    })
}

fn any_policy() -> impl Strategy<Value = Value> {
    let policy = prop_oneof![3 => support::any_policy(), 5 => grown_policy()];
    (policy, any::<bool>()).prop_map(|(mut policy, alone)| {
        match policy["Statement"].as_array_mut() {
            Some(statements) if alone && statements.len() == 1 => policy["Statement"] = statements.remove(0),
            _ => {}
        }
        policy
    })
}

/// The statements of a policy, also of one with a single statement.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        alone => vec![alone.clone()],
    }
}

/// A policy without Deny statements.
fn open_policy() -> impl Strategy<Value = Value> {
    any_policy().prop_map(|mut policy| {
        let mut statements = statements(&policy);
        statements.iter_mut().for_each(|statement| statement["Effect"] = json!("Allow"));
        policy["Statement"] = json!(statements);
        policy
    })
}

/// The policy's text with the configuration's extension, if it needs one.
fn extended(setup: &Setup, policy: &Value) -> String {
    let document = Document::parse(&policy.to_string()).unwrap();
    setup.policy().full_extension(&document).map_or_else(|| document.text(), |extension| extension.document.text())
}

fn readers(unrevoked_readers: Vec<UnrevokedReader>) -> BTreeSet<String> {
    unrevoked_readers.into_iter().map(|it| it.reader).collect()
}

proptest! {
    #![proptest_config(cases::config(1000))]

    #[test]
    fn only_a_deleted_role_is_ever_replaced(setup in setup(), policy in any_policy()) {
        let document = Document::parse(&policy.to_string()).unwrap();
        let Some(Extension { document: extended, added, rewritten, .. }) = setup.policy().full_extension(&document) else { return Ok(()) };
        let (mut after, mut before): (Value, Value) = (serde_json::from_str(&extended.text()).unwrap(), policy);
        let (kept, appended) = (statements(&after), statements(&before));
        let (kept, appended) = (kept[..appended.len()].to_vec(), kept[appended.len()..].to_vec());
        prop_assert_eq!(&appended, &added);
        let mut replaced = Vec::new();
        for (mut after, mut before) in kept.into_iter().zip(statements(&before)) {
            if after != before {
                prop_assert_eq!(&after["Principal"], &json!({ "AWS": setup.role.unwrap() }));
                let role = before["Principal"]["AWS"].to_string();
                prop_assert!(role.trim_start_matches('[').starts_with("\"AROA"), "{}", role);
                replaced.push(after["Sid"].as_str().unwrap().to_owned());
                (after["Principal"], before["Principal"]) = (Value::Null, Value::Null);
                prop_assert_eq!(after, before);
            }
        }
        prop_assert_eq!(replaced, rewritten);
        let sids: Vec<Value> = statements(&before).iter().map(|it| it["Sid"].clone()).collect();
        for (place, statement) in added.iter().enumerate() {
            let sid = &statement["Sid"];
            prop_assert!(!sids.contains(sid) && added[..place].iter().all(|it| it["Sid"] != *sid));
            prop_assert!(["Principal", "Action", "Resource"].iter().all(|it| statement.get(it).is_some()));
        }
        (after["Statement"], before["Statement"]) = (Value::Null, Value::Null);
        prop_assert_eq!(after, before);
    }

    #[test]
    fn an_extended_policy_needs_nothing_more(setup in setup(), policy in any_policy()) {
        let after = Document::parse(&extended(&setup, &policy)).unwrap();
        prop_assert_eq!(setup.policy().full_extension(&after), None);
    }

    #[test]
    fn everyone_configured_gets_access(
        setup in setup(),
        policy in open_policy(),
        // A policy may have one statement for each of the two trails.
        request in key_request().prop_filter("for one trail", is_for_one_trail),
    ) {
        let after = extended(&setup, &policy);
        let (decision, intended) = (decide(&after, &request), setup.intended(&request));
        prop_assert!(rank(decision) >= rank(intended), "{} instead of {} by {}", decision, intended, after);
    }

    #[test]
    fn cloudtrail_gets_access_for_the_configured_accounts(setup in setup(), policy in open_policy()) {
        let (after, key) = (extended(&setup, &policy), KEY.parse::<KeyArn>().unwrap());
        for owner in setup.owners() {
            let trail = format!("arn:aws:cloudtrail:us-east-1:{owner}:trail/audit").parse().unwrap();
            let document = Document::parse(&after).unwrap();
            let KeyAccess { generate_data_key, describe_key, decrypt } = cloudtrail_key_access(&document, &key, &trail, None);
            prop_assert!([generate_data_key, describe_key, decrypt].iter().all(Decision::is_allowed), "{}", after);
        }
    }

    #[test]
    fn no_one_else_gets_access(setup in setup(), policy in any_policy(), request in key_request()) {
        let (before, after) = (decide(&policy.to_string(), &request), decide(&extended(&setup, &policy), &request));
        match setup.intended(&request) {
            "allowed" => prop_assert!(rank(before) <= rank(after)),
            "delegated" => prop_assert!(after != "allowed" || before == "allowed"),
            _ => prop_assert_eq!(before, after),
        }
    }

    #[test]
    fn a_new_policy_decides_as_the_configuration_intends(setup in setup(), request in key_request()) {
        let text = setup.policy().text();
        prop_assert_eq!(decide(&text, &request), setup.intended(&request), "{}", text);
    }

    #[test]
    fn a_new_policy_needs_no_report(setup in setup()) {
        let policy = setup.policy();
        let document = Document::parse(&policy.text()).unwrap();
        prop_assert_eq!(policy.full_extension(&document), None);
        prop_assert!(policy.covers(&document) && KeyPolicy::has_trailseal_sid(&document));
        prop_assert!(policy.unrevoked_readers(&document).is_empty() && policy.rejected_statements(&document).is_empty());
    }

    #[test]
    fn a_covered_policy_allows_no_more_than_the_covering_one(
        (setup, policy) in prop_oneof![1 => (setup(), any_policy()), 4 => setup_and_part()], request in key_request(),
    ) {
        let document = Document::parse(&policy.to_string()).unwrap();
        if setup.policy().covers(&document) {
            prop_assert!(rank(decide(&document.text(), &request)) <= rank(setup.intended(&request)), "{}", document.text());
        }
    }

    #[test]
    fn new_readers_are_added_and_old_ones_reported(
        setup in setup(), readers_before in subsequence(&READERS[..], 0..=READERS.len()),
    ) {
        let before = Setup { readers: readers_before, ..setup.clone() };
        let but = |these: &Setup, those: &Setup| -> BTreeSet<String> {
            these.readers.iter().filter(|it| !those.readers.contains(it)).map(|it| (*it).to_owned()).collect()
        };
        let document = Document::parse(&before.policy().text()).unwrap();
        let extension = setup.policy().full_extension(&document);
        let gained = but(&setup, &before);
        prop_assert_eq!(extension.is_none(), gained.is_empty());
        if let Some(Extension { document, .. }) = extension {
            prop_assert_eq!(readers(before.policy().unrevoked_readers(&document)), gained);
        }
        prop_assert_eq!(readers(setup.policy().unrevoked_readers(&document)), but(&before, &setup));
    }
}

//! What the role may never do, whatever the policy of a key or a bucket allows, and what it may do only to
//! the key behind the alias. No scene asks for any of it, so the policies are asked directly.

use std::collections::BTreeSet;

use fake_aws::policy::AccessRequest;
use fake_aws::{Bucket, Key, Statement, World};
use serde_json::{Value, json};

use crate::role;
use crate::support::{ACCOUNT, ALIAS, AUDIT, ROLE, account};

const ELSEWHERE: &str = "210987654321";

/// Lets everybody do everything, the role by name.
fn open() -> String {
    let principals = json!({ "AWS": ["*", ROLE] });
    json!({ "Statement": { "Sid": "Open", "Effect": "Allow", "Principal": principals, "Action": "*", "Resource": "*" } })
        .to_string()
}

/// Leaves it to IAM.
fn delegating() -> String {
    World::new(ACCOUNT).default_key_policy(ACCOUNT)
}

/// The role in both modes, with no parameter set and with all of them.
fn roles(topic_key: &str) -> Vec<Vec<fake_aws::IdentityPolicy>> {
    let mut all = role::every_parameter();
    all.insert("TopicKeyArn".into(), topic_key.into());
    let of = |mode| [role::in_mode(mode, &role::Texts::new()), role::in_mode(mode, &all)];
    ["dry-run", "enforce"].into_iter().flat_map(of).collect()
}

fn denied(world: &World, question: &AccessRequest) -> bool {
    let decision = world.decide(question);
    assert!(!(decision.denied_by.is_some() && decision.is_allowed()));
    matches!(decision.denied_by, Some(Statement::Identity { .. }))
}

#[test]
fn what_breaks_keys_stops_trails_or_reads_logs_is_denied_whatever_else_allows_it() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1").policy(&open()));
    let topic_key = world.key(Key::new("eu-west-1").policy(&open()));
    world.alias("eu-central-1", ALIAS, &key);
    world.add_bucket(Bucket::new("open", "eu-central-1").policy(&open()));
    let log = "arn:aws:s3:::open/AWSLogs/123456789012/CloudTrail/log.json.gz";
    let bypassing = |action: &str, resource: &str| {
        world.access_request(action, resource).with("kms:BypassPolicyLockoutSafetyCheck", "true")
    };
    let decrypting = |context: &str, value: &str| {
        let question =
            world.access_request("kms:Decrypt", &key).with(&format!("kms:EncryptionContext:{context}"), value);
        question
            .with_all("kms:EncryptionContextKeys", [context])
            .with("kms:ViaService", "s3.eu-central-1.amazonaws.com")
    };
    let questions = [
        world.access_request("kms:Decrypt", &key),
        decrypting("aws:s3:arn", log),
        decrypting("aws:cloudtrail:arn", AUDIT),
        decrypting("aws:lambda:FunctionArn", &role::FUNCTION.replace("trailseal", "another")),
        world.access_request("kms:ReEncryptFrom", &key),
        world.access_request("kms:ReEncryptTo", &key),
        world.access_request("kms:DisableKey", &key),
        world.access_request("kms:ScheduleKeyDeletion", &key),
        world.access_request("kms:CreateGrant", &key),
        world.access_request("kms:DisableKey", &topic_key),
        world.access_request("kms:ReEncryptFrom", &topic_key),
        bypassing("kms:PutKeyPolicy", &key),
        bypassing("kms:CreateKey", "*"),
        world.access_request("s3:GetObject", log),
        world.access_request("s3:GetObjectVersion", log),
        world.access_request("cloudtrail:StopLogging", AUDIT),
        world.access_request("cloudtrail:DeleteTrail", AUDIT),
    ];
    let mut roles = roles(&topic_key).into_iter();
    for policies in &mut roles {
        let world = World { caller_policies: Some(policies), ..world.clone() };
        for question in &questions {
            assert!(denied(&world, question), "{question:?}\n{:#?}", world.caller_policies);
        }
        // This one thing has to be decrypted: the function's own variables, or it does not start.
        let own = world
            .access_request("kms:Decrypt", &key)
            .with("kms:EncryptionContext:aws:lambda:FunctionArn", role::FUNCTION);
        assert!(!denied(&world, &own));
    }
    let without = World { caller_policies: Some(Vec::new()), ..world.clone() };
    let allowed = questions.iter().filter(|question| without.decide(question).is_allowed());
    assert_eq!(
        allowed.count(),
        questions.len() - 3,
        "the open policies allow all but CreateKey and what trails have none for"
    );
}

/// Every action of CloudTrail's and KMS's that changes something, by their pages of the service authorization
/// reference. (Of CloudTrail those that start with `Generate` and `Search` count as reads.)
const WRITES: [(&str, &str); 2] = [
    (
        "cloudtrail",
        "AddTags CancelQuery CreateChannel CreateDashboard CreateEventDataStore CreateServiceLinkedChannel CreateTrail \
         DeleteChannel DeleteDashboard DeleteEventDataStore DeleteResourcePolicy DeleteServiceLinkedChannel DeleteTrail \
         DeregisterOrganizationDelegatedAdmin DisableFederation EnableFederation PutEventConfiguration PutEventSelectors \
         PutInsightSelectors PutResourcePolicy RegisterOrganizationDelegatedAdmin RemoveTags RestoreEventDataStore \
         StartDashboardRefresh StartEventDataStoreIngestion StartImport StartLogging StartQuery StopEventDataStoreIngestion \
         StopImport StopLogging UpdateChannel UpdateDashboard UpdateEventDataStore UpdateServiceLinkedChannel UpdateTrail",
    ),
    (
        "kms",
        "CancelKeyDeletion ConnectCustomKeyStore CreateAlias CreateCustomKeyStore CreateGrant CreateKey DeleteAlias \
         DeleteCustomKeyStore DeleteImportedKeyMaterial DisableKey DisableKeyRotation DisconnectCustomKeyStore EnableKey \
         EnableKeyRotation ImportKeyMaterial PutKeyPolicy ReplicateKey RetireGrant RevokeGrant RotateKeyOnDemand \
         ScheduleKeyDeletion SynchronizeMultiRegionKey TagResource UntagResource UpdateAlias UpdateCustomKeyStore \
         UpdateKeyDescription UpdatePrimaryRegion",
    ),
];

#[test]
fn in_dry_run_whatever_changes_a_trail_or_a_key_is_denied_even_by_an_open_key() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1").policy(&open()));
    world.alias("eu-central-1", ALIAS, &key);
    for parameters in [role::Texts::new(), role::every_parameter()] {
        world.caller_policies = Some(role::in_mode("dry-run", &parameters));
        for (service, names) in WRITES {
            let resource = if service == "kms" { key.as_str() } else { AUDIT };
            let allowed = names.split(' ').filter(|name| {
                let question = world.access_request(&format!("{service}:{name}"), resource);
                !denied(&world, &question)
            });
            assert_eq!(allowed.collect::<Vec<_>>(), [""; 0], "{service}");
        }
        for action in reads() {
            assert!(world.decide(&world.access_request(&action, &key)).is_allowed(), "{action}");
        }
    }
}

#[test]
fn the_topics_key_is_used_through_sns_only() {
    let mut world = account();
    let key = world.key(Key::new("eu-west-1").policy(&delegating()));
    for (policies, parameter_is_set) in roles(&key).into_iter().zip([false, true, false, true]) {
        let world = World { caller_policies: Some(policies), ..world.clone() };
        for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
            let via = |service: &str| {
                world.access_request(action, &key).with("kms:ViaService", &format!("{service}.eu-west-1.amazonaws.com"))
            };
            assert_eq!(world.decide(&via("sns")).is_allowed(), parameter_is_set, "{action}");
            assert!(!world.decide(&via("s3")).is_allowed(), "{action}");
            assert!(!world.decide(&world.access_request(action, &key)).is_allowed(), "{action}");
        }
    }
}

/// The actions on a key that the role may take, of all that any of its statements lists.
fn may(world: &World, key: &str) -> BTreeSet<String> {
    let listed = role::allowed_actions().into_iter().map(|(_, action)| action);
    let maintenance = ["kms:EnableKeyRotation", "kms:UpdateAlias", "kms:UntagResource", "kms:DisableKeyRotation"];
    // What knows no resources is no right to a key.
    let on_keys = listed.filter(|action| action.starts_with("kms:") && action != "kms:ListAliases");
    let actions = on_keys.chain(maintenance.map(str::to_owned));
    actions.filter(|action| world.decide(&world.access_request(action, key)).is_allowed()).collect()
}

/// What it may read of any key of the account that leaves it to IAM.
fn reads() -> BTreeSet<String> {
    let mut world = account();
    world.caller_policies = Some(role::in_mode("dry-run", &role::Texts::new()));
    let key = world.key(Key::new("eu-central-1").policy(&delegating()));
    let reads = may(&world, &key);
    let is_read =
        |action: &String| ["Describe", "Get", "List"].iter().any(|verb| action.starts_with(&format!("kms:{verb}")));
    assert!(reads.len() > 2 && reads.iter().all(is_read), "{reads:?}");
    reads
}

/// Those, and these.
fn reads_and(actions: &[&str]) -> BTreeSet<String> {
    reads().into_iter().chain(actions.iter().map(|&action| action.to_owned())).collect()
}

const MENDS: [&str; 3] = ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:PutKeyPolicy"];

#[test]
fn only_a_key_behind_the_alias_is_maintained_by_iam() {
    let mut world = account();
    world.caller_policies = Some(role::in_mode("enforce", &role::every_parameter()));
    let key = |world: &mut World| world.key(Key::new("eu-central-1").policy(&delegating()));
    let [sealing, named_otherwise, nameless] = [key(&mut world), key(&mut world), key(&mut world)];
    world.alias("eu-central-1", ALIAS, &sealing);
    world.alias("eu-central-1", "alias/payroll", &sealing);
    world.alias("eu-central-1", "alias/trailseal-not", &named_otherwise);
    let foreign = world.key(Key::new("eu-central-1").of_account(ELSEWHERE));
    world.alias("eu-central-1", "alias/theirs", &foreign);
    assert_eq!(may(&world, &sealing), reads_and(&MENDS));
    assert_eq!(may(&world, &named_otherwise), reads());
    assert_eq!(may(&world, &nameless), reads());
    let describe = BTreeSet::from(["kms:DescribeKey".to_owned()]);
    assert_eq!(may(&world, &foreign), describe);
    world.alias("eu-central-1", ALIAS, &foreign);
    assert_eq!(may(&world, &foreign), describe, "not even behind the alias");
    world.caller_policies = Some(role::in_mode("dry-run", &role::every_parameter()));
    assert_eq!(may(&world, &sealing), reads());
}

#[test]
fn a_tag_gives_no_right_to_a_key() {
    let mut world = account();
    world.caller_policies = Some(role::in_mode("enforce", &role::every_parameter()));
    let plain = world.key(Key::new("eu-central-1").policy(&delegating()));
    let tagged = world.key(Key::new("eu-central-1").policy(&delegating()).tag("managed-by", "trailseal"));
    assert_eq!(may(&world, &tagged), may(&world, &plain));
    let text = json!(world.caller_policies).to_string();
    assert!(!text.to_lowercase().contains("aws:resourcetag"), "{text}");
}

#[test]
fn the_statement_in_a_new_keys_policy_finishes_that_key_and_does_nothing_else() {
    let mut world = account();
    let policy = crate::support::sealing_policy();
    let unfinished = world.key(Key::new("eu-central-1").policy(&policy).tag("managed-by", "trailseal"));
    world.caller_policies = Some(role::in_mode("enforce", &role::Texts::new()));
    let finishing = ["kms:CreateAlias", "kms:EnableKeyRotation", "kms:PutKeyPolicy"];
    assert_eq!(may(&world, &unfinished), reads_and(&finishing));
    // The alias itself is asked about, too: by this alias's name only.
    let alias =
        |name: &str| world.access_request("kms:CreateAlias", &format!("arn:aws:kms:eu-central-1:{ACCOUNT}:{name}"));
    assert!(world.decide(&alias(ALIAS)).is_allowed());
    assert!(!world.decide(&alias("alias/payroll")).is_allowed());
}

#[test]
fn a_new_key_is_symmetric_of_one_region_and_bears_the_tag_and_no_others_than_configured() {
    let world = account();
    let create = |changes: &[(&str, &str)]| {
        let fine = [
            ("kms:KeySpec", "SYMMETRIC_DEFAULT"),
            ("kms:KeyUsage", "ENCRYPT_DECRYPT"),
            ("kms:MultiRegion", "false"),
            ("kms:BypassPolicyLockoutSafetyCheck", "false"),
            ("aws:RequestTag/managed-by", "trailseal"),
        ];
        let question = world.access_request("kms:CreateKey", "*");
        fine.iter().chain(changes).fold(question, |question, (key, value)| question.with(key, value))
    };
    let tag = |keys: &[&str], value: &str| {
        let question = world.access_request("kms:TagResource", &format!("arn:aws:kms:eu-central-1:{ACCOUNT}:key/*"));
        question.with("aws:RequestTag/managed-by", value).with_all("aws:TagKeys", keys.iter().copied())
    };
    let with = |parameters: Value| {
        let parameters = serde_json::from_value(parameters).unwrap();
        World { caller_policies: Some(role::in_mode("enforce", &parameters)), ..world.clone() }
    };
    let (plain, tagging) = (with(json!({})), with(json!({ "KeyTags": "team=security" })));
    assert!(plain.decide(&create(&[])).is_allowed());
    for wrong in [
        ("kms:KeySpec", "RSA_2048"),
        ("kms:KeyUsage", "SIGN_VERIFY"),
        ("kms:MultiRegion", "true"),
        ("kms:BypassPolicyLockoutSafetyCheck", "true"),
        ("aws:RequestTag/managed-by", "me"),
    ] {
        assert!(!tagging.decide(&create(&[wrong])).is_allowed(), "{wrong:?}");
    }
    assert!(plain.decide(&tag(&["managed-by"], "trailseal")).is_allowed());
    assert!(!plain.decide(&tag(&["managed-by"], "me")).is_allowed());
    assert!(!plain.decide(&tag(&["managed-by", "team"], "trailseal")).is_allowed());
    assert!(tagging.decide(&tag(&["managed-by", "team"], "trailseal")).is_allowed());
}

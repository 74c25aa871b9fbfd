//! What the role is always denied, whatever a key or bucket policy allows, and what it is allowed only on the key
//! behind the alias. No scenario makes these calls, so the policies are evaluated directly.

use std::collections::BTreeSet;

use fake_aws::policy::AccessRequest;
use fake_aws::{Bucket, Key, Statement, World};
use serde_json::{Value, json};

use crate::role;
use crate::support::{ACCOUNT, ALIAS, AUDIT, ROLE, account};

const OTHER_ACCOUNT: &str = "210987654321";

/// Allows every principal, and the role by name, every action.
fn open_policy() -> String {
    let principals = json!({ "AWS": ["*", ROLE] });
    json!({ "Statement": { "Sid": "Open", "Effect": "Allow", "Principal": principals, "Action": "*", "Resource": "*" } })
        .to_string()
}

/// Delegates to IAM.
fn iam_policy() -> String {
    World::new(ACCOUNT).default_key_policy(ACCOUNT)
}

/// The role's policies in both modes, without and with every optional parameter.
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
fn destructive_and_reading_actions_are_always_denied() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1").policy(&open_policy()));
    let topic_key = world.key(Key::new("eu-west-1").policy(&open_policy()));
    world.alias("eu-central-1", ALIAS, &key);
    world.add_bucket(Bucket::new("open", "eu-central-1").policy(&open_policy()));
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
        // The exception: Lambda decrypts the function's environment variables with the role.
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
        "the open policies allow all but CreateKey and the trail actions, which have no resource policy"
    );
}

/// Lambda sends a function's results to its destinations with the function's role, but without the function's ARN:
/// <https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html>.
#[test]
fn only_the_function_itself_publishes_alerts() {
    let world = account();
    for policies in roles("arn:aws:kms:eu-west-1:123456789012:key/topic") {
        let world = World { caller_policies: Some(policies), ..world.clone() };
        let [topic] = &granted(&world, "sns:Publish")[..] else { panic!("not one topic") };
        let publish = world.access_request("sns:Publish", topic);
        assert!(denied(&world, &publish), "the destination of another function");
        assert!(world.decide(&publish.with("lambda:SourceFunctionArn", role::FUNCTION)).is_allowed());
        for queue in granted(&world, "sqs:SendMessage") {
            assert!(world.decide(&world.access_request("sqs:SendMessage", &queue)).is_allowed(), "Lambda's own call");
        }
    }
}

/// The resources on which the role's policies allow an action.
fn granted(world: &World, action: &str) -> Vec<String> {
    let statements = world.caller_policies.iter().flatten().flat_map(|it| it.document["Statement"].as_array().unwrap());
    let allows = statements.filter(|it| it["Effect"] == "Allow" && it["Action"] == action);
    allows.map(|it| it["Resource"].as_str().unwrap().to_owned()).collect()
}

/// Every IAM action of both services: the operations of botocore 1.44's models, and from the Service Authorization Reference
/// those that are no operation (`ReEncryptFrom`, `ReEncryptTo`, `SynchronizeMultiRegionKey`, `…ServiceLinkedChannel…`,
/// `GenerateQueryResultsSummary`, `GetEventDataStoreData`).
const ACTIONS: [(&str, &str); 2] = [
    (
        "cloudtrail",
        "AddTags CancelQuery CreateChannel CreateDashboard CreateEventDataStore CreateServiceLinkedChannel CreateTrail \
         DeleteChannel DeleteDashboard DeleteEventDataStore DeleteResourcePolicy DeleteServiceLinkedChannel DeleteTrail \
         DeregisterOrganizationDelegatedAdmin DescribeQuery DescribeTrails DisableFederation EnableFederation GenerateQuery \
         GenerateQueryResultsSummary GetChannel GetDashboard GetEventConfiguration GetEventDataStore GetEventDataStoreData \
         GetEventSelectors GetImport GetInsightSelectors GetQueryResults GetResourcePolicy GetServiceLinkedChannel GetTrail \
         GetTrailStatus ListChannels ListDashboards ListEventDataStores ListImportFailures ListImports ListInsightsData \
         ListInsightsMetricData ListPublicKeys ListQueries ListServiceLinkedChannels ListTags ListTrails LookupEvents \
         PutEventConfiguration PutEventSelectors PutInsightSelectors PutResourcePolicy RegisterOrganizationDelegatedAdmin \
         RemoveTags RestoreEventDataStore SearchSampleQueries StartDashboardRefresh StartEventDataStoreIngestion StartImport \
         StartLogging StartQuery StopEventDataStoreIngestion StopImport StopLogging UpdateChannel UpdateDashboard \
         UpdateEventDataStore UpdateServiceLinkedChannel UpdateTrail",
    ),
    (
        "kms",
        "CancelKeyDeletion ConnectCustomKeyStore CreateAlias CreateCustomKeyStore CreateGrant CreateKey Decapsulate Decrypt \
         DeleteAlias DeleteCustomKeyStore DeleteImportedKeyMaterial DeriveSharedSecret DescribeCustomKeyStores DescribeKey \
         DisableKey DisableKeyRotation DisconnectCustomKeyStore EnableKey EnableKeyRotation Encapsulate Encrypt \
         GenerateDataKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac \
         GenerateRandom GetKeyLastUsage GetKeyPolicy GetKeyRotationStatus GetParametersForImport GetPublicKey \
         ImportKeyMaterial ListAliases ListGrants ListKeyPolicies ListKeyRotations ListKeys ListResourceTags \
         ListRetirableGrants PutKeyPolicy ReEncryptFrom ReEncryptTo ReplicateKey RetireGrant RevokeGrant RotateKeyOnDemand \
         ScheduleKeyDeletion Sign SynchronizeMultiRegionKey TagResource UntagResource UpdateAlias UpdateCustomKeyStore \
         UpdateKeyDescription UpdatePrimaryRegion Verify VerifyMac",
    ),
];

const READS: &str = "cloudtrail:DescribeTrails cloudtrail:GetTrail cloudtrail:GetTrailStatus cloudtrail:ListTags \
     cloudtrail:ListTrails kms:DescribeKey kms:GetKeyPolicy kms:GetKeyRotationStatus kms:ListAliases kms:ListGrants \
     kms:ListResourceTags";
const WRITES: &str = "cloudtrail:StartLogging cloudtrail:UpdateTrail kms:CancelKeyDeletion kms:CreateAlias kms:CreateKey \
     kms:EnableKey kms:EnableKeyRotation kms:PutKeyPolicy kms:TagResource";

#[test]
fn every_other_action_is_denied_even_on_an_open_key() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1").policy(&open_policy()));
    world.alias("eu-central-1", ALIAS, &key);
    let topic_key = world.key(Key::new("eu-west-1").policy(&open_policy()));
    let names = |text: &'static str| text.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    let reads = names(READS);
    let both = reads.union(&names(WRITES)).cloned().collect();
    for (policies, expected) in roles(&topic_key).into_iter().zip([&reads, &reads, &both, &both]) {
        let world = World { caller_policies: Some(policies), ..world.clone() };
        let actions =
            ACTIONS.iter().flat_map(|(service, names)| names.split(' ').map(move |it| format!("{service}:{it}")));
        let possible: BTreeSet<String> = actions
            .filter(|action| {
                let resource = if action.starts_with("kms:") { key.as_str() } else { AUDIT };
                !denied(&world, &world.access_request(action, resource))
            })
            .collect();
        assert_eq!(possible, *expected);
    }
}

/// The actions that a prohibition excepts are those that the role uses.
#[test]
fn nothing_but_the_used_actions_is_excepted() {
    let mut used: BTreeSet<String> = role::allowed_actions().into_iter().map(|(_, action)| action).collect();
    // Only the policies of keys that trailseal creates allow the first.
    used.extend(["kms:EnableKeyRotation", "s3:ListBucket"].map(str::to_owned));
    assert_eq!(role::DENIED.map(|(action, _)| action), ["s3:ListBucket"]);
    for policies in roles("arn:aws:kms:eu-west-1:123456789012:key/topic") {
        let statements = policies.iter().flat_map(|it| it.document["Statement"].as_array().unwrap());
        let excepted: Vec<&Value> = statements.map(|it| &it["NotAction"]).filter(|it| !it.is_null()).collect();
        let [excepted] = excepted[..] else { panic!("not one statement has NotAction") };
        let excepted: BTreeSet<String> = serde_json::from_value(excepted.clone()).unwrap();
        assert_eq!(excepted, used);
    }
}

#[test]
fn the_topics_key_is_usable_only_through_sns() {
    let mut world = account();
    let key = world.key(Key::new("eu-west-1").policy(&iam_policy()));
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

/// The actions on a key that the role is allowed, of all that its statements list.
fn allowed_on(world: &World, key: &str) -> BTreeSet<String> {
    let listed = role::allowed_actions().into_iter().map(|(_, action)| action);
    let maintenance = ["kms:EnableKeyRotation", "kms:UpdateAlias", "kms:UntagResource", "kms:DisableKeyRotation"];
    // ListAliases has no resource.
    let on_keys = listed.filter(|action| action.starts_with("kms:") && action != "kms:ListAliases");
    let actions = on_keys.chain(maintenance.map(str::to_owned));
    actions.filter(|action| world.decide(&world.access_request(action, key)).is_allowed()).collect()
}

/// The reads that the role is allowed on every key whose policy delegates to IAM.
fn reads() -> BTreeSet<String> {
    let mut world = account();
    world.caller_policies = Some(role::in_mode("dry-run", &role::Texts::new()));
    let key = world.key(Key::new("eu-central-1").policy(&iam_policy()));
    let reads = allowed_on(&world, &key);
    let is_read =
        |action: &String| ["Describe", "Get", "List"].iter().any(|verb| action.starts_with(&format!("kms:{verb}")));
    assert!(reads.len() > 2 && reads.iter().all(is_read), "{reads:?}");
    reads
}

/// The reads and these actions.
fn reads_and(actions: &[&str]) -> BTreeSet<String> {
    reads().into_iter().chain(actions.iter().map(|&action| action.to_owned())).collect()
}

const REPAIRS: [&str; 3] = ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:PutKeyPolicy"];

#[test]
fn iam_allows_repair_only_behind_the_alias() {
    let mut world = account();
    world.caller_policies = Some(role::in_mode("enforce", &role::every_parameter()));
    let key = |world: &mut World| world.key(Key::new("eu-central-1").policy(&iam_policy()));
    let [sealing, other_alias, no_alias] = [key(&mut world), key(&mut world), key(&mut world)];
    world.alias("eu-central-1", ALIAS, &sealing);
    world.alias("eu-central-1", "alias/payroll", &sealing);
    world.alias("eu-central-1", "alias/trailseal-not", &other_alias);
    let foreign = world.key(Key::new("eu-central-1").of_account(OTHER_ACCOUNT));
    world.alias("eu-central-1", "alias/theirs", &foreign);
    assert_eq!(allowed_on(&world, &sealing), reads_and(&REPAIRS));
    assert_eq!(allowed_on(&world, &other_alias), reads());
    assert_eq!(allowed_on(&world, &no_alias), reads());
    let describe = BTreeSet::from(["kms:DescribeKey".to_owned()]);
    assert_eq!(allowed_on(&world, &foreign), describe);
    world.alias("eu-central-1", ALIAS, &foreign);
    assert_eq!(allowed_on(&world, &foreign), describe, "not even behind the alias");
    world.caller_policies = Some(role::in_mode("dry-run", &role::every_parameter()));
    assert_eq!(allowed_on(&world, &sealing), reads());
}

#[test]
fn a_tag_grants_no_permission() {
    let mut world = account();
    world.caller_policies = Some(role::in_mode("enforce", &role::every_parameter()));
    let plain = world.key(Key::new("eu-central-1").policy(&iam_policy()));
    let tagged = world.key(Key::new("eu-central-1").policy(&iam_policy()).tag("managed-by", "trailseal"));
    assert_eq!(allowed_on(&world, &tagged), allowed_on(&world, &plain));
    let text = json!(world.caller_policies).to_string();
    assert!(!text.to_lowercase().contains("aws:resourcetag"), "{text}");
}

#[test]
fn the_creation_statement_allows_only_finishing_the_key() {
    let mut world = account();
    let policy = crate::support::sealing_policy();
    let unfinished = world.key(Key::new("eu-central-1").policy(&policy).tag("managed-by", "trailseal"));
    world.caller_policies = Some(role::in_mode("enforce", &role::Texts::new()));
    let finishing = ["kms:CreateAlias", "kms:EnableKeyRotation", "kms:PutKeyPolicy"];
    assert_eq!(allowed_on(&world, &unfinished), reads_and(&finishing));
    // CreateAlias also requires permission on the alias, which only this name has.
    let alias =
        |name: &str| world.access_request("kms:CreateAlias", &format!("arn:aws:kms:eu-central-1:{ACCOUNT}:{name}"));
    assert!(world.decide(&alias(ALIAS)).is_allowed());
    assert!(!world.decide(&alias("alias/payroll")).is_allowed());
}

#[test]
fn create_key_allows_only_the_specified_key() {
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

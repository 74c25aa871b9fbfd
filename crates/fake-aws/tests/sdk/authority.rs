//! The caller's own policies, judged together with those of keys and buckets.

use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::types::Tag;
use fake_aws::policy::Question;
use fake_aws::{Bucket, FakeAws, IdentityPolicy, Key, KeyState, Statement, Topic, Trail, World};
use serde_json::{Value, json};

use crate::{FRANKFURT, IRELAND, OTHER_ACCOUNT, cloudtrail, code, kms, sdk, world};

const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";
const ROOT: &str = "arn:aws:iam::123456789012:root";
const ALIAS: &str = "alias/trailseal";

fn key_policy(statements: &[(&str, &str)]) -> String {
    let allow = |(principal, action): &(&str, &str)| json!({"Sid": action, "Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": "*"});
    json!({"Statement": statements.iter().map(allow).collect::<Vec<_>>()}).to_string()
}

/// The world, whose caller has one policy with these statements.
fn with_policy(mut world: World, statements: Value) -> World {
    world.caller_policies = Some(vec![IdentityPolicy::new("Own", json!({"Statement": statements}))]);
    world
}

fn allow(action: &str, resource: &str) -> Value {
    json!({"Sid": action, "Effect": "Allow", "Action": action, "Resource": resource})
}

/// Allowed on keys that carry the alias.
fn behind_alias(actions: &[&str]) -> Value {
    json!({"Sid": "BehindAlias", "Effect": "Allow", "Action": actions, "Resource": "arn:aws:kms:*:123456789012:key/*",
        "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": ALIAS}}})
}

fn own(sid: &str) -> Statement {
    Statement::Own { policy: "Own".into(), sid: sid.into() }
}

fn resources(sid: &str) -> Statement {
    Statement::Resources { sid: sid.into() }
}

#[tokio::test]
async fn authority_over_a_key_comes_from_its_policy_or_through_delegation_from_iam() {
    let mut world = world();
    let arn = world.key(Key::new(IRELAND).policy(&key_policy(&[(ROOT, "kms:*"), (ROLE, "kms:EnableKeyRotation")])));
    let aws =
        FakeAws::start(with_policy(world, json!([allow("kms:Describe*", "*"), behind_alias(&["kms:DisableKey"])])));
    let client = kms(&aws, IRELAND).await;
    client.describe_key().key_id(&arn).send().await.unwrap();
    client.enable_key_rotation().key_id(&arn).send().await.unwrap();
    assert_eq!(code(client.get_key_policy().key_id(&arn).send().await), "AccessDeniedException");
    assert_eq!(code(client.disable_key().key_id(&arn).send().await), "AccessDeniedException");
    aws.world().alias(IRELAND, ALIAS, &arn);
    client.disable_key().key_id(&arn).send().await.unwrap();
    let by: Vec<_> = aws.authorizations().into_iter().map(|record| record.decision.allowed_by).collect();
    let expected = [
        vec![own("kms:Describe*"), resources("kms:*")],
        vec![resources("kms:EnableKeyRotation")],
        vec![],
        vec![],
        vec![own("BehindAlias"), resources("kms:*")],
    ];
    assert_eq!(by, expected);
}

#[tokio::test]
async fn a_key_behind_the_alias_is_mended_by_iam_and_a_statement_that_names_the_caller_is_enough_elsewhere() {
    let mut world = world();
    let delegating = key_policy(&[(ROOT, "kms:*")]);
    let naming = key_policy(&[(ROLE, "kms:PutKeyPolicy")]);
    let sealing = world.key(Key::new(IRELAND).policy(&delegating).state(KeyState::PendingDeletion));
    let stray = world.key(Key::new(IRELAND).policy(&delegating).state(KeyState::PendingDeletion));
    let unfinished = world.key(Key::new(IRELAND).policy(&naming));
    world.alias(IRELAND, ALIAS, &sealing);
    let mending = ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:PutKeyPolicy"];
    let aws = FakeAws::start(with_policy(world, json!([behind_alias(&mending)])));
    let client = kms(&aws, IRELAND).await;
    let cancel = |key: &str| client.cancel_key_deletion().key_id(key).send();
    let put = |key: &str, policy: &str| client.put_key_policy().key_id(key).policy(policy).send();
    cancel(&sealing).await.unwrap();
    client.enable_key().key_id(&sealing).send().await.unwrap();
    put(&sealing, &delegating).await.unwrap();
    assert_eq!(code(cancel(&stray).await), "AccessDeniedException");
    assert_eq!(code(client.enable_key().key_id(&stray).send().await), "AccessDeniedException");
    assert_eq!(code(put(&stray, &delegating).await), "AccessDeniedException");
    assert_eq!(code(client.enable_key().key_id(&unfinished).send().await), "AccessDeniedException");
    put(&unfinished, &naming).await.unwrap();
    // What lets it write today, but would not tomorrow.
    assert_eq!(code(put(&unfinished, &delegating).await), "MalformedPolicyDocumentException");
}

#[tokio::test]
async fn a_refusal_says_which_kind_of_policy_it_comes_from() {
    let mut world = world();
    let mine = world.key(Key::new(IRELAND));
    let closed = world.key(Key::new(IRELAND).policy(&key_policy(&[(ROLE, "kms:PutKeyPolicy")])));
    let deny = json!({"Effect": "Deny", "Action": "kms:DisableKey", "Resource": "*"});
    let aws = FakeAws::start(with_policy(world, json!([allow("kms:EnableKey", "*"), deny])));
    let client = kms(&aws, IRELAND).await;
    let said = |error: aws_sdk_kms::Error| error.meta().message().unwrap().to_owned();
    let key = |arn: &str| format!("User: {ROLE} is not authorized to perform: kms:{{}} on resource: {arn} ");
    let refused = said(client.get_key_policy().key_id(&mine).send().await.unwrap_err().into());
    let why = "because no identity-based policy allows the kms:GetKeyPolicy action";
    assert_eq!(refused, key(&mine).replace("{}", "GetKeyPolicy") + why);
    let refused = said(client.enable_key().key_id(&closed).send().await.unwrap_err().into());
    let why = "because no resource-based policy allows the kms:EnableKey action";
    assert_eq!(refused, key(&closed).replace("{}", "EnableKey") + why);
    let refused = said(client.disable_key().key_id(&mine).send().await.unwrap_err().into());
    assert_eq!(refused, key(&mine).replace("{}", "DisableKey") + "with an explicit deny in an identity-based policy");
}

#[tokio::test]
async fn a_new_key_is_judged_by_its_kind_and_tags_and_tagging_is_asked_for_too() {
    let conditions = json!({"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT", "aws:RequestTag/managed-by": "trailseal"},
        "Bool": {"kms:MultiRegion": "false"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["managed-by", "team"]}});
    let create = json!({"Sid": "Create", "Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*", "Condition": conditions});
    let tag = json!({"Sid": "Tag", "Effect": "Allow", "Action": "kms:TagResource", "Resource": "arn:aws:kms:*:123456789012:key/*",
        "Condition": {"StringEquals": {"aws:RequestTag/managed-by": "trailseal"}}});
    let tags = |value: &str| Tag::builder().tag_key("managed-by").tag_value(value).build().unwrap();
    for (statements, fine) in [(json!([create, tag]), true), (json!([create]), false)] {
        let aws = FakeAws::start(with_policy(world(), statements));
        let client = kms(&aws, IRELAND).await;
        assert_eq!(client.create_key().tags(tags("trailseal")).send().await.is_ok(), fine);
        for refused in [
            client.create_key(),
            client.create_key().tags(tags("me")),
            client.create_key().tags(tags("trailseal")).multi_region(true),
            client
                .create_key()
                .tags(tags("trailseal"))
                .key_spec("HMAC_256".into())
                .key_usage("GENERATE_VERIFY_MAC".into()),
        ] {
            assert_eq!(code(refused.send().await), "AccessDeniedException");
        }
        assert_eq!(aws.world().keys.len(), usize::from(fine));
    }
}

#[tokio::test]
async fn an_alias_is_asked_of_iam_and_of_the_key() {
    let mut world = world();
    let mine = world.key(Key::new(IRELAND).policy(&key_policy(&[(ROLE, "kms:CreateAlias")])));
    let anybodys = world.key(Key::new(IRELAND));
    let aws = FakeAws::start(with_policy(
        world,
        json!([allow("kms:CreateAlias", "arn:aws:kms:*:123456789012:alias/trailseal")]),
    ));
    let client = kms(&aws, IRELAND).await;
    let create = |name: &str, key: &str| client.create_alias().alias_name(name).target_key_id(key).send();
    assert_eq!(code(create(ALIAS, &anybodys).await), "AccessDeniedException");
    assert_eq!(code(create("alias/another", &mine).await), "AccessDeniedException");
    create(ALIAS, &mine).await.unwrap();
}

#[tokio::test]
async fn a_bare_name_is_a_trail_of_this_region_and_an_organization_trail_asks_for_more() {
    let mut world = world().bucket("logs", IRELAND).trail(Trail::new("audit", IRELAND, "logs"));
    let organization = world.add_trail(Trail::new("organization", IRELAND, "logs").organization(OTHER_ACCOUNT));
    world.delegated_admin = true;
    let trails = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
    let update = |resource: &str| allow("cloudtrail:UpdateTrail", resource);
    let aws = FakeAws::start(with_policy(world, json!([allow("cloudtrail:GetTrail", trails), update("*")])));
    let client = cloudtrail(&aws, IRELAND).await;
    client.get_trail().name("audit").send().await.unwrap();
    assert_eq!(code(client.get_trail().name("audit2").send().await), "AccessDeniedException");
    client.update_trail().name("audit").send().await.unwrap();
    let refused = client.update_trail().name(&organization).send().await;
    assert_eq!(code(refused), "InsufficientDependencyServiceAccessPermissionException");
    let may =
        ["iam:GetRole", "organizations:ListAWSServiceAccessForOrganization", "organizations:DescribeOrganization"];
    let mut statements: Vec<Value> = may.iter().map(|action| allow(action, "*")).collect();
    statements.push(update("*"));
    aws.world().caller_policies = Some(vec![IdentityPolicy::new("Own", json!({"Statement": statements}))]);
    client.update_trail().name(&organization).send().await.unwrap();
}

#[tokio::test]
async fn s3_refuses_without_a_word_but_says_where_the_bucket_lies_and_either_policy_lets_in() {
    let open = json!({"Statement": {"Sid": "Open", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "s3:GetBucketPolicy", "Resource": "*"}});
    let mut world = world();
    world.add_bucket(Bucket::new("logs", FRANKFURT).policy(&open.to_string()));
    let aws = FakeAws::start(with_policy(world, json!([allow("s3:ListBucket", "arn:aws:s3:::other")])));
    let client = aws_sdk_s3::Client::new(&sdk(&aws, FRANKFURT).await);
    let refused = client.head_bucket().bucket("logs").send().await.unwrap_err();
    let raw = refused.raw_response().unwrap();
    assert_eq!((raw.status().as_u16(), raw.headers().get("x-amz-bucket-region")), (403, Some(FRANKFURT)));
    client.get_bucket_policy().bucket("logs").send().await.unwrap();
    assert_eq!(code(client.get_bucket_replication().bucket("logs").send().await), "AccessDenied");
    let asked: Vec<_> = aws.authorizations().into_iter().map(|record| record.question.action).collect();
    assert_eq!(asked, ["s3:ListBucket", "s3:GetBucketPolicy", "s3:GetReplicationConfiguration"]);
    // Elsewhere nobody is asked, and everybody sent on.
    let away = aws_sdk_s3::Client::new(&sdk(&aws, IRELAND).await);
    assert_eq!(code(away.get_bucket_policy().bucket("logs").send().await), "PermanentRedirect");
}

#[tokio::test]
async fn publishing_to_an_encrypted_topic_uses_its_key_in_the_publishers_name() {
    let mut world = world();
    let key = world.key(Key::new(IRELAND));
    let topic = "arn:aws:sns:eu-west-1:123456789012:alerts";
    world.topics.insert(topic.into(), Topic { key_arn: Some(key.clone()), ..Topic::default() });
    let publish = allow("sns:Publish", topic);
    let mut via = allow("kms:*", &key);
    via["Condition"] = json!({"StringEquals": {"kms:ViaService": "sns.eu-west-1.amazonaws.com"}});
    for (statements, refusal) in [
        (json!([via]), Some("AuthorizationError")),
        (json!([publish]), Some("KMSAccessDenied")),
        (json!([publish, via]), None),
    ] {
        let aws = FakeAws::start(with_policy(world.clone(), statements));
        let client = aws_sdk_sns::Client::new(&sdk(&aws, IRELAND).await);
        let answer = client.publish().topic_arn(topic).message("m").send().await;
        assert_eq!(answer.as_ref().err().and_then(ProvideErrorMetadata::code), refusal);
    }
}

#[test]
fn a_deny_of_either_side_wins_and_a_bucket_that_lets_everybody_in_lets_the_caller_in() {
    let everybody =
        json!({"Statement": {"Sid": "All", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}});
    let mut world = world();
    world.add_bucket(Bucket::new("logs", IRELAND).policy(&everybody.to_string()));
    let ask = |world: &World| -> (Question, fake_aws::Decision) {
        let question = world.question("s3:GetObject", "arn:aws:s3:::logs/AWSLogs/x");
        let decision = world.decide(&question);
        (question, decision)
    };
    assert_eq!(ask(&world).1.allowed_by, [resources("All")]);
    let denying =
        with_policy(world, json!([{"Sid": "No", "Effect": "Deny", "Action": "s3:GetObject*", "Resource": "*"}]));
    assert_eq!(ask(&denying).1.denied_by, Some(own("No")));
    assert!(!ask(&denying).1.is_allowed());
}

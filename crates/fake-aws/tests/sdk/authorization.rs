//! The caller's policies together with those of keys and buckets.

use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::types::Tag;
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

/// A world whose caller has one policy with these statements.
fn with_policy(mut world: World, statements: Value) -> World {
    world.caller_policies = Some(vec![IdentityPolicy::new("Role", json!({"Statement": statements}))]);
    world
}

fn allow(action: &str, resource: &str) -> Value {
    json!({"Sid": action, "Effect": "Allow", "Action": action, "Resource": resource})
}

/// Allows the actions on keys that have the alias.
fn allow_with_alias(actions: &[&str]) -> Value {
    json!({"Sid": "WithAlias", "Effect": "Allow", "Action": actions, "Resource": "arn:aws:kms:*:123456789012:key/*",
        "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": ALIAS}}})
}

fn identity(sid: &str) -> Statement {
    Statement::Identity { policy: "Role".into(), sid: sid.into() }
}

fn resource(sid: &str) -> Statement {
    Statement::Resource { sid: sid.into() }
}

#[tokio::test]
async fn a_key_policy_allows_or_delegates_to_iam() {
    let mut world = world();
    let arn = world.key(Key::new(IRELAND).policy(&key_policy(&[(ROOT, "kms:*"), (ROLE, "kms:EnableKeyRotation")])));
    let aws =
        FakeAws::start(with_policy(world, json!([allow("kms:Describe*", "*"), allow_with_alias(&["kms:DisableKey"])])));
    let client = kms(&aws, IRELAND).await;
    client.describe_key().key_id(&arn).send().await.unwrap();
    client.enable_key_rotation().key_id(&arn).send().await.unwrap();
    assert_eq!(code(client.get_key_policy().key_id(&arn).send().await), "AccessDeniedException");
    assert_eq!(code(client.disable_key().key_id(&arn).send().await), "AccessDeniedException");
    aws.world().alias(IRELAND, ALIAS, &arn);
    client.disable_key().key_id(&arn).send().await.unwrap();
    let by: Vec<_> = aws.authorizations().into_iter().map(|record| record.decision.allowed_by).collect();
    let expected = [
        vec![identity("kms:Describe*"), resource("kms:*")],
        vec![resource("kms:EnableKeyRotation")],
        vec![],
        vec![],
        vec![identity("WithAlias"), resource("kms:*")],
    ];
    assert_eq!(by, expected);
}

#[tokio::test]
async fn repairing_a_key_requires_its_alias_or_its_policy() {
    let mut world = world();
    let delegating = key_policy(&[(ROOT, "kms:*")]);
    let naming = key_policy(&[(ROLE, "kms:PutKeyPolicy")]);
    let sealing = world.key(Key::new(IRELAND).policy(&delegating).state(KeyState::PendingDeletion));
    let stray = world.key(Key::new(IRELAND).policy(&delegating).state(KeyState::PendingDeletion));
    let unfinished = world.key(Key::new(IRELAND).policy(&naming));
    world.alias(IRELAND, ALIAS, &sealing);
    let repairs = ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:PutKeyPolicy"];
    let aws = FakeAws::start(with_policy(world, json!([allow_with_alias(&repairs)])));
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
    // The current policy allows this write, but the new one would not allow the next.
    assert_eq!(code(put(&unfinished, &delegating).await), "MalformedPolicyDocumentException");
}

#[tokio::test]
async fn an_error_names_the_kind_of_policy() {
    let mut world = world();
    let mine = world.key(Key::new(IRELAND));
    let closed = world.key(Key::new(IRELAND).policy(&key_policy(&[(ROLE, "kms:PutKeyPolicy")])));
    let deny = json!({"Effect": "Deny", "Action": "kms:DisableKey", "Resource": "*"});
    let aws = FakeAws::start(with_policy(world, json!([allow("kms:EnableKey", "*"), deny])));
    let client = kms(&aws, IRELAND).await;
    let message = |error: aws_sdk_kms::Error| error.meta().message().unwrap().to_owned();
    let key = |arn: &str| format!("User: {ROLE} is not authorized to perform: kms:{{}} on resource: {arn} ");
    let denied = message(client.get_key_policy().key_id(&mine).send().await.unwrap_err().into());
    let why = "because no identity-based policy allows the kms:GetKeyPolicy action";
    assert_eq!(denied, key(&mine).replace("{}", "GetKeyPolicy") + why);
    let denied = message(client.enable_key().key_id(&closed).send().await.unwrap_err().into());
    let why = "because no resource-based policy allows the kms:EnableKey action";
    assert_eq!(denied, key(&closed).replace("{}", "EnableKey") + why);
    let denied = message(client.disable_key().key_id(&mine).send().await.unwrap_err().into());
    assert_eq!(denied, key(&mine).replace("{}", "DisableKey") + "with an explicit deny in an identity-based policy");
}

#[tokio::test]
async fn creating_a_tagged_key_requires_tag_resource() {
    let conditions = json!({"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT", "aws:RequestTag/managed-by": "trailseal"},
        "Bool": {"kms:MultiRegion": "false"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["managed-by", "team"]}});
    let create = json!({"Sid": "Create", "Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*", "Condition": conditions});
    let tag = json!({"Sid": "Tag", "Effect": "Allow", "Action": "kms:TagResource", "Resource": "arn:aws:kms:*:123456789012:key/*",
        "Condition": {"StringEquals": {"aws:RequestTag/managed-by": "trailseal"}}});
    let tags = |value: &str| Tag::builder().tag_key("managed-by").tag_value(value).build().unwrap();
    for (statements, allowed) in [(json!([create, tag]), true), (json!([create]), false)] {
        let aws = FakeAws::start(with_policy(world(), statements));
        let client = kms(&aws, IRELAND).await;
        assert_eq!(client.create_key().tags(tags("trailseal")).send().await.is_ok(), allowed);
        for denied in [
            client.create_key(),
            client.create_key().tags(tags("me")),
            client.create_key().tags(tags("trailseal")).multi_region(true),
            client
                .create_key()
                .tags(tags("trailseal"))
                .key_spec("HMAC_256".into())
                .key_usage("GENERATE_VERIFY_MAC".into()),
        ] {
            assert_eq!(code(denied.send().await), "AccessDeniedException");
        }
        assert_eq!(aws.world().keys.len(), usize::from(allowed));
    }
}

#[tokio::test]
async fn an_alias_requires_permission_on_alias_and_key() {
    let mut world = world();
    let mine = world.key(Key::new(IRELAND).policy(&key_policy(&[(ROLE, "kms:CreateAlias")])));
    let delegating = world.key(Key::new(IRELAND));
    let aws = FakeAws::start(with_policy(
        world,
        json!([allow("kms:CreateAlias", "arn:aws:kms:*:123456789012:alias/trailseal")]),
    ));
    let client = kms(&aws, IRELAND).await;
    let create = |name: &str, key: &str| client.create_alias().alias_name(name).target_key_id(key).send();
    assert_eq!(code(create(ALIAS, &delegating).await), "AccessDeniedException");
    assert_eq!(code(create("alias/another", &mine).await), "AccessDeniedException");
    create(ALIAS, &mine).await.unwrap();
}

#[tokio::test]
async fn an_organization_trail_requires_more_actions() {
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
    let denied = client.update_trail().name(&organization).send().await;
    assert_eq!(code(denied), "InsufficientDependencyServiceAccessPermissionException");
    let actions =
        ["iam:GetRole", "organizations:ListAWSServiceAccessForOrganization", "organizations:DescribeOrganization"];
    let mut statements: Vec<Value> = actions.iter().map(|action| allow(action, "*")).collect();
    statements.push(update("*"));
    aws.world().caller_policies = Some(vec![IdentityPolicy::new("Role", json!({"Statement": statements}))]);
    client.update_trail().name(&organization).send().await.unwrap();
}

#[tokio::test]
async fn s3_allows_by_either_policy_and_reports_the_region() {
    let open = json!({"Statement": {"Sid": "Open", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "s3:GetBucketPolicy", "Resource": "*"}});
    let mut world = world();
    world.add_bucket(Bucket::new("logs", FRANKFURT).policy(&open.to_string()));
    let aws = FakeAws::start(with_policy(world, json!([allow("s3:ListBucket", "arn:aws:s3:::other")])));
    let client = aws_sdk_s3::Client::new(&sdk(&aws, FRANKFURT).await);
    let denied = client.head_bucket().bucket("logs").send().await.unwrap_err();
    let raw = denied.raw_response().unwrap();
    assert_eq!((raw.status().as_u16(), raw.headers().get("x-amz-bucket-region")), (403, Some(FRANKFURT)));
    client.get_bucket_policy().bucket("logs").send().await.unwrap();
    assert_eq!(code(client.get_bucket_replication().bucket("logs").send().await), "AccessDenied");
    let actions: Vec<_> = aws.authorizations().into_iter().map(|record| record.request.action).collect();
    assert_eq!(actions, ["s3:ListBucket", "s3:GetBucketPolicy", "s3:GetReplicationConfiguration"]);
    // In another Region, S3 redirects before it authorizes.
    let away = aws_sdk_s3::Client::new(&sdk(&aws, IRELAND).await);
    assert_eq!(code(away.get_bucket_policy().bucket("logs").send().await), "PermanentRedirect");
}

#[tokio::test]
async fn listing_buckets_requires_an_action_without_a_resource() {
    for (statement, expected) in [
        (allow("s3:ListAllMyBuckets", "*"), None),
        (allow("s3:ListBuckets", "*"), Some("AccessDenied")),
        (allow("s3:ListAllMyBuckets", "arn:aws:s3:::logs"), Some("AccessDenied")),
    ] {
        let aws = FakeAws::start(with_policy(world(), json!([statement])));
        let client = aws_sdk_s3::Client::new(&sdk(&aws, IRELAND).await);
        let output = client.list_buckets().prefix("logs").send().await;
        assert_eq!(output.as_ref().err().and_then(ProvideErrorMetadata::code), expected);
    }
}

#[tokio::test]
async fn publishing_to_an_encrypted_topic_requires_its_key() {
    let mut world = world();
    let key = world.key(Key::new(IRELAND));
    let topic = "arn:aws:sns:eu-west-1:123456789012:alerts";
    world.topics.insert(topic.into(), Topic { key_arn: Some(key.clone()), ..Topic::default() });
    let publish = allow("sns:Publish", topic);
    let mut via = allow("kms:*", &key);
    via["Condition"] = json!({"StringEquals": {"kms:ViaService": "sns.eu-west-1.amazonaws.com"}});
    for (statements, expected) in [
        (json!([via]), Some("AuthorizationError")),
        (json!([publish]), Some("KMSAccessDenied")),
        (json!([publish, via]), None),
    ] {
        let aws = FakeAws::start(with_policy(world.clone(), statements));
        let client = aws_sdk_sns::Client::new(&sdk(&aws, IRELAND).await);
        let output = client.publish().topic_arn(topic).message("m").send().await;
        assert_eq!(output.as_ref().err().and_then(ProvideErrorMetadata::code), expected);
    }
}

#[test]
fn a_deny_overrides_a_public_bucket_policy() {
    let public =
        json!({"Statement": {"Sid": "All", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}});
    let mut world = world();
    world.add_bucket(Bucket::new("logs", IRELAND).policy(&public.to_string()));
    let decide = |world: &World| world.decide(&world.access_request("s3:GetObject", "arn:aws:s3:::logs/AWSLogs/x"));
    assert_eq!(decide(&world).allowed_by, [resource("All")]);
    let denying =
        with_policy(world, json!([{"Sid": "No", "Effect": "Deny", "Action": "s3:GetObject*", "Resource": "*"}]));
    assert_eq!(decide(&denying).denied_by, Some(identity("No")));
    assert!(!decide(&denying).is_allowed());
}

//! The ports over the wire, against an AWS with rules of its own.

use std::time::Duration;

use aws_sdk_kms::config::Credentials;
use fake_aws::{Bucket, FakeAws, Fault, Key, KeyState, Trail, World};
use tokio::time::Instant;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::observation::{Class, KeyTags, Reading, ReplicationRule};

use super::{Aws, Read, Write};

const ACCOUNT: &str = "123456789012";
const IRELAND: &str = "eu-west-1";
const FRANKFURT: &str = "eu-central-1";
const OWNER: (&str, &str) = ("managed-by", "trailseal");

async fn connect(aws: &FakeAws) -> Aws {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let region = aws_config::Region::new(IRELAND);
    let loader = aws_config::from_env().endpoint_url(aws.url()).region(region).credentials_provider(credentials);
    Aws::configured(loader).await
}

fn soon() -> Instant {
    Instant::now().checked_add(Duration::from_secs(30)).unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// A world with one key, and its ARN.
fn one_key(key: Key) -> (World, KeyArn) {
    let mut world = World::new(ACCOUNT);
    world.page_size = 1;
    let arn = world.key(key);
    (world, arn.parse().unwrap())
}

#[tokio::test]
async fn tags_tell_whose_a_key_is_and_whether_it_is_exempt() {
    let key = || Key::new(FRANKFURT).tag("a", "1").tag("trailseal:exempt", "ours").tag("z", "2");
    let (mut world, ours) = one_key(key().tag(OWNER.0, OWNER.1));
    let foreign: KeyArn = world.key(key().tag(OWNER.0, "somebody")).parse().unwrap();
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let reader = aws.reader(soon());
    let exempt = Some("ours".to_owned());
    let tags = reader.key_tags(&ours, "trailseal:exempt").await.unwrap();
    assert_eq!(tags, KeyTags { ours: true, exempt: exempt.clone() });
    let tags = reader.key_tags(&foreign, "trailseal:exempt").await.unwrap();
    assert_eq!(tags, KeyTags { ours: false, exempt });
    let tags = reader.key_tags(&ours, "other").await.unwrap();
    assert_eq!(tags, KeyTags { ours: true, exempt: None });
    fake.world().denied.insert("kms:ListResourceTags".into());
    let failure = reader.key_tags(&ours, "other").await.unwrap_err();
    assert_eq!((failure.class, failure.operation), (Class::Terminal, Some("kms:ListResourceTags")));
}

#[tokio::test]
async fn every_alias_of_a_key_is_listed() {
    let (mut world, key) = one_key(Key::new(FRANKFURT));
    let other = world.key(Key::new(FRANKFURT));
    world.alias(FRANKFURT, "alias/a", key.as_str());
    world.alias(FRANKFURT, "alias/b", key.as_str());
    world.alias(FRANKFURT, "alias/c", &other);
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    assert_eq!(aws.reader(soon()).key_aliases(&key).await.unwrap(), ["alias/a", "alias/b"]);
    assert_eq!(fake.names(), ["kms:ListAliases"; 2]);
}

#[tokio::test]
async fn every_key_with_our_tag_is_found_and_what_is_no_key_is_passed_over() {
    let (mut world, first) = one_key(Key::new(FRANKFURT).tag(OWNER.0, OWNER.1));
    let second: KeyArn = world.key(Key::new(FRANKFURT).tag(OWNER.0, OWNER.1)).parse().unwrap();
    world.key(Key::new(FRANKFURT).tag(OWNER.0, "somebody"));
    world.key(Key::new(IRELAND).tag(OWNER.0, OWNER.1));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    assert_eq!(aws.reader(soon()).tagged_keys(&region(FRANKFURT)).await.unwrap(), [first, second]);
    assert_eq!(fake.names(), ["tagging:GetResources"; 2]);
    let odd = r#"{"ResourceTagMappingList": [{"ResourceARN": "arn:aws:kms:eu-central-1:123456789012:alias/a"}, {}]}"#;
    fake.before(|_, _| Some(Fault::Raw { status: 200, body: odd.into() }));
    assert_eq!(aws.reader(soon()).tagged_keys(&region(FRANKFURT)).await.unwrap(), []);
}

#[tokio::test]
async fn a_list_that_is_not_there_is_not_an_empty_one() {
    let (world, key) = one_key(Key::new(IRELAND));
    let fake = FakeAws::start(world);
    fake.before(|_, _| Some(Fault::Raw { status: 200, body: "{}".into() }));
    let aws = connect(&fake).await;
    let (reader, here) = (aws.reader(soon()), region(IRELAND));
    let failures = [
        reader.key_tags(&key, "exempt").await.unwrap_err(),
        reader.key_aliases(&key).await.unwrap_err(),
        reader.tagged_keys(&here).await.unwrap_err(),
        reader.trails(&here).await.unwrap_err(),
    ];
    assert!(failures.iter().all(|failure| failure.class == Class::Terminal && failure.remedy.is_some()));
}

#[tokio::test]
async fn every_trail_is_listed_with_its_home() {
    let (mut world, _) = one_key(Key::new(IRELAND));
    let trails = [Trail::new("audit", FRANKFURT, "logs"), Trail::new("more", IRELAND, "logs").multi_region()];
    let arns = trails.map(|trail| world.add_trail(trail));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let listed = aws.reader(soon()).trails(&region(IRELAND)).await.unwrap();
    let listed: Vec<_> = listed.trails.iter().map(|(arn, home)| (arn.as_str(), home.as_str())).collect();
    assert_eq!(listed, [(arns[0].as_str(), FRANKFURT), (arns[1].as_str(), IRELAND)]);
}

const REPLICATION: &str = "<ReplicationConfiguration><Role>arn:aws:iam::123456789012:role/r</Role><Rule><ID>all</ID>\
    <Status>Enabled</Status><Filter/><Destination><Bucket>arn:aws:s3:::copy</Bucket></Destination></Rule></ReplicationConfiguration>";

#[tokio::test]
async fn what_is_not_there_is_told_from_what_may_not_be_read() {
    let mut world = World::new(ACCOUNT).bucket("plain", FRANKFURT);
    world.add_bucket(Bucket::new("full", FRANKFURT).policy("{}").replication(REPLICATION));
    world.add_bucket(Bucket::new("foreign", FRANKFURT).of_account("210987654321"));
    let mut owners_only = Bucket::new("owners-only", FRANKFURT).of_account("210987654321");
    owners_only.method_not_allowed = true;
    world.add_bucket(owners_only);
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let (reader, there) = (aws.reader(soon()), region(FRANKFURT));

    assert_eq!(reader.bucket_policy("plain", &there).await.unwrap(), Reading::Absent);
    assert_eq!(reader.bucket_replication("plain", &there).await.unwrap(), Reading::Absent);
    assert_eq!(reader.bucket_policy("full", &there).await.unwrap(), Reading::Known("{}".into()));
    let rule = ReplicationRule {
        id: Some("all".into()),
        enabled: true,
        prefix: String::new(),
        wants_tags: false,
        destination: "arn:aws:s3:::copy".into(),
        takes_kms: false,
    };
    assert_eq!(reader.bucket_replication("full", &there).await.unwrap(), Reading::Known(vec![rule]));
    for (bucket, code) in [("foreign", "AccessDenied"), ("owners-only", "MethodNotAllowed")] {
        let Reading::Denied(failure) = reader.bucket_policy(bucket, &there).await.unwrap() else { panic!("{bucket}") };
        assert!(failure.is(code), "{failure:?}");
        let Reading::Denied(failure) = reader.bucket_replication(bucket, &there).await.unwrap() else {
            panic!("{bucket}")
        };
        assert!(failure.is(code), "{failure:?}");
    }
    assert!(reader.bucket_policy("none", &there).await.unwrap_err().is("NoSuchBucket"));
    assert!(fake.calls().iter().all(|call| call.region == FRANKFURT));
}

#[tokio::test]
async fn a_key_is_rescued_and_enabled_once_kms_sees_that_it_was() {
    let (world, key) = one_key(Key::new(FRANKFURT).state(KeyState::PendingDeletion));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let writer = aws.writer(soon());
    writer.cancel_key_deletion(&key).await.unwrap();
    let mut behind = true;
    fake.before(move |_, _| {
        std::mem::take(&mut behind).then(|| Fault::error(400, "KMSInvalidStateException", "pending deletion"))
    });
    writer.enable_key(&key).await.unwrap();
    assert_eq!(fake.names(), ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:EnableKey"]);
    assert_eq!(fake.world().keys[key.as_str()].state, KeyState::Enabled);
}

#[tokio::test]
async fn a_policy_is_put_with_the_lockout_check_and_sent_once() {
    let (mut world, key) = one_key(Key::new(FRANKFURT));
    world.caller_iam_allows_put_key_policy = true;
    let policy = world.cloudtrail_key_policy();
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let writer = aws.writer(soon());
    writer.put_key_policy(&key, &policy).await.unwrap();
    assert_eq!(fake.world().keys[key.as_str()].policy, policy);
    let input = fake.calls()[0].input.clone();
    assert_eq!(input, serde_json::json!({"KeyId": key.as_str(), "PolicyName": "default", "Policy": policy}));

    fake.after(|_, _| Some(Fault::internal()));
    fake.clear_calls();
    let failure = writer.put_key_policy(&key, &policy).await.unwrap_err();
    assert!(failure.left_open && failure.class == Class::Transient, "{failure:?}");
    assert_eq!(fake.names(), ["kms:PutKeyPolicy"]);
}

#[tokio::test]
async fn a_lost_answer_to_a_rescue_is_left_open_and_not_asked_twice() {
    let (world, key) = one_key(Key::new(FRANKFURT).state(KeyState::PendingDeletion));
    let fake = FakeAws::start(world);
    fake.after(|_, _| Some(Fault::internal()));
    let aws = connect(&fake).await;
    let failure = aws.writer(soon()).cancel_key_deletion(&key).await.unwrap_err();
    assert!(failure.left_open, "{failure:?}");
    assert_eq!(fake.names(), ["kms:CancelKeyDeletion"]);
}

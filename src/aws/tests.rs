//! The ports against the fake AWS.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_kms::config::Credentials;
use fake_aws::{Bucket, Call, FakeAws, Fault, Key, KeyState, Trail, World};
use futures_util::future::join_all;
use tokio::time::Instant;
use trailseal_core::config::Config;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::iam::Document;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::key_policy::KeyPolicy;
use trailseal_core::observation::{BucketOwner, KeyTags, Reading, ReplicationRule, TrailStatus, UpdatedTrail};
use trailseal_core::plan::NewKey;
use trailseal_core::trigger::TrailRef;

use super::{Aws, BucketReads, KeyReads, KeyVisibility, KeyWrites, TagReads, TrailReads, TrailWrites};

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
async fn tags_show_whether_a_key_is_ours_and_exempt() {
    let key = || Key::new(FRANKFURT).tag("a", "1").tag("trailseal:exempt", "ours").tag("z", "2");
    let (mut world, ours) = one_key(key().tag(OWNER.0, OWNER.1));
    let foreign: KeyArn = world.key(key().tag(OWNER.0, "another-team")).parse().unwrap();
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let reader = aws.reader(soon());
    let exempt = Some("ours".to_owned());
    let tags = reader.key_tags(&ours, "trailseal:exempt").await.unwrap();
    assert_eq!(tags, KeyTags { managed_by_trailseal: true, exempt: exempt.clone() });
    let tags = reader.key_tags(&foreign, "trailseal:exempt").await.unwrap();
    assert_eq!(tags, KeyTags { managed_by_trailseal: false, exempt });
    let tags = reader.key_tags(&ours, "other").await.unwrap();
    assert_eq!(tags, KeyTags { managed_by_trailseal: true, exempt: None });
    fake.world().denied.insert("kms:ListResourceTags".into());
    let failure = reader.key_tags(&ours, "other").await.unwrap_err();
    assert_eq!((failure.class, failure.operation), (Class::Terminal, Some("kms:ListResourceTags")));
}

#[tokio::test]
async fn the_key_store_and_the_expiry_of_a_key_are_read() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let day = 86_400;
    let (mut world, imported) = one_key(Key::new(FRANKFURT).imported_until(now + 12 * day + day / 2));
    let expired = Key::new(FRANKFURT).imported_until(now - 1);
    let stored = Key::new(FRANKFURT).in_key_store("AWS_CLOUDHSM", "cks-1");
    let others = [expired, stored, Key::new(FRANKFURT)].map(|key| world.key(key));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let mut read = Vec::new();
    for key in [imported.as_str()].into_iter().chain(others.iter().map(String::as_str)) {
        let key = aws.reader(soon()).key_metadata(key, &region(FRANKFURT)).await.unwrap();
        let Reading::Known(key) = key else { panic!("{key:?}") };
        read.push((key.expiry.map(|expiry| expiry.days_left), key.key_store));
    }
    let stored = (None, Some("cks-1".to_owned()));
    assert_eq!(read, [(Some(12), None), (Some(-1), None), stored, (None, None)]);
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
async fn every_key_with_our_tag_is_found() {
    let (mut world, first) = one_key(Key::new(FRANKFURT).tag(OWNER.0, OWNER.1));
    let second: KeyArn = world.key(Key::new(FRANKFURT).tag(OWNER.0, OWNER.1)).parse().unwrap();
    world.key(Key::new(FRANKFURT).tag(OWNER.0, "another-team"));
    world.key(Key::new(IRELAND).tag(OWNER.0, OWNER.1));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    assert_eq!(aws.reader(soon()).tagged_keys(&region(FRANKFURT)).await.unwrap(), [first, second]);
    assert_eq!(fake.names(), ["tagging:GetResources"; 2]);
    let malformed =
        r#"{"ResourceTagMappingList": [{"ResourceARN": "arn:aws:kms:eu-central-1:123456789012:alias/a"}, {}]}"#;
    fake.before(|_, _| Some(Fault::Raw { status: 200, body: malformed.into() }));
    let failure = aws.reader(soon()).tagged_keys(&region(FRANKFURT)).await.unwrap_err();
    assert!(failure.message.contains("tag:GetResources returned a malformed `ResourceARN`"), "{failure:?}");
}

#[tokio::test]
async fn a_missing_list_is_not_an_empty_list() {
    let (world, key) = one_key(Key::new(IRELAND));
    let fake = FakeAws::start(world);
    fake.before(|_, _| Some(Fault::Raw { status: 200, body: "{}".into() }));
    let aws = connect(&fake).await;
    let (reader, here) = (aws.reader(soon()), region(IRELAND));
    let failures = [
        reader.key_tags(&key, "exempt").await.unwrap_err(),
        reader.key_aliases(&key).await.unwrap_err(),
        reader.tagged_keys(&here).await.unwrap_err(),
        reader.list_trails(&here).await.unwrap_err(),
    ];
    assert!(failures.iter().all(|failure| failure.class == Class::Terminal && failure.remedy.is_some()));
}

#[tokio::test]
async fn every_trail_is_listed_with_its_home_region() {
    let (mut world, _) = one_key(Key::new(IRELAND));
    let trails = [Trail::new("audit", FRANKFURT, "logs"), Trail::new("more", IRELAND, "logs").multi_region()];
    let arns = trails.map(|trail| world.add_trail(trail));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let listed = aws.reader(soon()).list_trails(&region(IRELAND)).await.unwrap();
    let listed: Vec<_> = listed.trails.iter().map(|(arn, home)| (arn.as_str(), home.as_str())).collect();
    assert_eq!(listed, [(arns[0].as_str(), FRANKFURT), (arns[1].as_str(), IRELAND)]);
}

#[tokio::test]
async fn a_trail_was_started_if_it_ever_logged() {
    let (mut world, _) = one_key(Key::new(IRELAND));
    let trail = |name| Trail::new(name, IRELAND, "logs");
    let trails = [trail("logging"), trail("stopped").stopped(1_780_000_500), trail("new").never_started()];
    let arns = trails.map(|trail| world.add_trail(trail));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    for (arn, (logging, ever_started)) in arns.iter().zip([(true, true), (false, true), (false, false)]) {
        let status = aws.reader(soon()).trail_status(&TrailRef::Arn(arn.parse().unwrap())).await.unwrap();
        assert_eq!(status, Some(TrailStatus { logging, ever_started, ..TrailStatus::default() }), "{arn}");
    }
}

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;
const REPLICATION: &str = "<ReplicationConfiguration><Role>arn:aws:iam::123456789012:role/r</Role><Rule><ID>all</ID>\
    <Status>Enabled</Status><Filter/><Destination><Bucket>arn:aws:s3:::copy</Bucket></Destination></Rule></ReplicationConfiguration>";

#[tokio::test]
async fn an_absent_policy_differs_from_an_unreadable_one() {
    let mut world = World::new(ACCOUNT);
    world.add_bucket(Bucket::new("plain", FRANKFURT).without_policy());
    world.add_bucket(Bucket::new("full", FRANKFURT).policy(POLICY).replication(REPLICATION));
    world.add_bucket(Bucket::new("malformed", FRANKFURT).policy("{}"));
    world.add_bucket(Bucket::new("foreign", FRANKFURT).of_account("210987654321"));
    let mut owners_only = Bucket::new("owners-only", FRANKFURT).of_account("210987654321");
    owners_only.method_not_allowed = true;
    world.add_bucket(owners_only);
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let (reader, there) = (aws.reader(soon()), region(FRANKFURT));

    assert!(matches!(reader.bucket_policy("plain", &there).await.unwrap(), Reading::Absent));
    assert_eq!(reader.bucket_replication("plain", &there).await.unwrap(), Reading::Absent);
    let Reading::Known(policy) = reader.bucket_policy("full", &there).await.unwrap() else { panic!("full") };
    assert_eq!(policy.unwrap().text(), POLICY);
    assert!(matches!(reader.bucket_policy("malformed", &there).await.unwrap(), Reading::Known(Err(_))));
    let rule = ReplicationRule {
        id: Some("all".into()),
        enabled: true,
        prefix: String::new(),
        filters_by_tag: false,
        destination: "arn:aws:s3:::copy".into(),
        replicates_sse_kms: false,
        role: "arn:aws:iam::123456789012:role/r".to_owned(),
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
    for (bucket, owner) in
        [("plain", BucketOwner::Own), ("foreign", BucketOwner::Another), ("owners-only", BucketOwner::Another)]
    {
        assert_eq!(reader.bucket_owner(bucket, &there).await, owner, "{bucket}");
    }
    assert!(fake.calls().iter().all(|call| call.region == FRANKFURT));
}

#[tokio::test]
async fn a_key_is_enabled_once_kms_shows_the_canceled_deletion() {
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
    let document = Document::parse(&policy).unwrap();
    writer.put_key_policy(&key, &document, false, async || Ok(true)).await.unwrap();
    let policy = document.text();
    assert_eq!(fake.world().keys[key.as_str()].policy, policy);
    let input = fake.calls()[0].input.clone();
    assert_eq!(input, serde_json::json!({"KeyId": key.as_str(), "PolicyName": "default", "Policy": policy}));

    fake.after(|_, _| Some(Fault::internal()));
    fake.clear_calls();
    let failure = writer.put_key_policy(&key, &document, false, async || Ok(true)).await.unwrap_err();
    assert!(failure.outcome_unknown && failure.class == Class::Transient, "{failure:?}");
    assert_eq!(fake.names(), ["kms:PutKeyPolicy"]);
}

#[tokio::test]
async fn a_canceled_deletion_without_a_response_is_sent_once() {
    let (world, key) = one_key(Key::new(FRANKFURT).state(KeyState::PendingDeletion));
    let fake = FakeAws::start(world);
    fake.after(|_, _| Some(Fault::internal()));
    let aws = connect(&fake).await;
    let failure = aws.writer(soon()).cancel_key_deletion(&key).await.unwrap_err();
    assert!(failure.outcome_unknown, "{failure:?}");
    assert_eq!(fake.names(), ["kms:CancelKeyDeletion"]);
}

/// Whether no second had more than `most` requests. The time between sending and recording one varies by 0.1 s here.
fn within_rate(calls: &[Call], most: usize) -> bool {
    let mut times: Vec<_> = calls.iter().map(|call| call.started).collect();
    times.sort();
    let next_too_early = |(first, next): (&std::time::Instant, &std::time::Instant)| {
        next.duration_since(*first) < Duration::from_millis(900)
    };
    !times.iter().zip(times.iter().skip(most)).any(next_too_early)
}

#[tokio::test]
async fn a_hundred_reads_and_their_retries_stay_within_the_rate() {
    let mut world = World::new(ACCOUNT).bucket("logs", IRELAND);
    world.rate_limits = true;
    let trail = world.add_trail(Trail::new("audit", IRELAND, "logs"));
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    // Opens the connections, which would delay the first requests.
    let regions = ["eu-west-2", "eu-west-3", "eu-north-1", FRANKFURT].map(region);
    let reader = aws.reader(soon());
    join_all(regions.iter().map(|region| reader.list_trails(region))).await;
    fake.clear_calls();
    let mut requests = 0;
    fake.before(move |_, _| {
        requests += 1;
        (requests % 3 == 0 && requests <= 90).then(Fault::throttled)
    });
    let trail = TrailRef::Arn(trail.parse().unwrap());
    let statuses = join_all((0..100).map(|_| reader.trail_status(&trail))).await;
    assert!(statuses.iter().all(|status| matches!(status, Ok(Some(_)))), "{statuses:?}");
    let calls = fake.calls();
    assert!(calls.len() >= 130, "{}", calls.len());
    assert!(within_rate(&calls, 10), "{calls:#?}");
}

#[tokio::test]
async fn writes_and_their_retries_stay_within_the_rate() {
    let mut world = World::new(ACCOUNT).bucket("logs", IRELAND);
    world.rate_limits = true;
    let trails: Vec<TrailArn> = ["one", "two", "three"]
        .map(|name| world.add_trail(Trail::new(name, IRELAND, "logs").stopped(1)).parse().unwrap())
        .into();
    let fake = FakeAws::start(world);
    let aws = connect(&fake).await;
    let mut requests = 0;
    fake.before(move |_, _| {
        requests += 1;
        (requests <= 2).then(Fault::throttled)
    });
    let (writer, here) = (aws.writer(soon()), region(IRELAND));
    let started = join_all(trails.iter().map(|trail| writer.start_logging(trail, &here))).await;
    assert!(started.iter().all(Result::is_ok), "{started:?}");
    assert_eq!(fake.calls().len(), 5);
    assert!(within_rate(&fake.calls(), 1), "{:#?}", fake.calls());
    assert!(fake.world().trails.values().all(|trail| trail.logging));
}

fn busy() -> Fault {
    Fault::error(400, "ConflictException", "being modified")
}

/// Assigns a key to a trail. With `lost`, the response to the first attempt is lost; the next ones are refused with
/// `refusals`. `unchanged` has the results of the first checks.
async fn update_trail(
    lost: bool,
    refusals: Vec<Fault>,
    unchanged: Vec<bool>,
    deadline: Duration,
) -> (Result<Option<UpdatedTrail>, Failure>, Vec<String>) {
    let mut world = World::new(ACCOUNT).bucket("logs", IRELAND);
    let policy = world.cloudtrail_key_policy();
    let key: KeyArn = world.key(Key::new(IRELAND).policy(&policy)).parse().unwrap();
    let trail: TrailArn = world.add_trail(Trail::new("audit", IRELAND, "logs")).parse().unwrap();
    let fake = FakeAws::start(world);
    let (mut admit, mut lose, mut refusals) = (lost, lost, refusals.into_iter());
    fake.before(move |call, _| {
        if call.operation != "UpdateTrail" || std::mem::take(&mut admit) {
            return None;
        }
        refusals.next()
    });
    fake.after(move |call, _| (call.operation == "UpdateTrail" && std::mem::take(&mut lose)).then(Fault::internal));
    let aws = connect(&fake).await;
    let deadline = Instant::now().checked_add(deadline).unwrap();
    let (reader, writer) = (aws.reader(deadline), aws.writer(deadline));
    let results = Mutex::new(unchanged.into_iter());
    let reference = TrailRef::Arn(trail.clone());
    let check = || async {
        // The check reads through the same path.
        reader.trail(&reference).await?;
        Ok(results.lock().unwrap().next().unwrap_or(true))
    };
    let updated = writer.update_trail(&trail, &region(IRELAND), &key, KeyVisibility::Settling, check).await;
    (updated, fake.calls().into_iter().map(|call| call.operation).collect())
}

#[tokio::test]
async fn a_trail_is_checked_before_every_attempt_to_update_it() {
    let new_key = Fault::error(400, "KmsKeyNotFoundException", "no such key");
    let (updated, calls) = update_trail(false, vec![busy(), new_key], vec![], Duration::from_secs(30)).await;
    assert!(updated.unwrap().is_some());
    assert_eq!(calls, ["GetTrail", "UpdateTrail"].repeat(3));

    let (updated, calls) = update_trail(false, vec![], vec![false], Duration::from_secs(30)).await;
    assert_eq!((updated, calls), (Ok(None), vec!["GetTrail".to_owned()]));
}

#[tokio::test]
async fn an_unknown_outcome_is_reported_whatever_ends_the_retries() {
    let (updated, _) = update_trail(true, vec![Fault::access_denied()], vec![], Duration::from_secs(30)).await;
    let failure = updated.unwrap_err();
    assert!(failure.outcome_unknown && failure.is("AccessDeniedException"), "{failure:?}");

    for (lost, refusals, code) in [(true, vec![], "InternalFailure"), (false, vec![busy()], "ConflictException")] {
        let (updated, calls) = update_trail(lost, refusals, vec![true, false], Duration::from_secs(30)).await;
        let failure = updated.unwrap_err();
        assert!(failure.outcome_unknown && !failure.not_sent && failure.is(code), "{failure:?}");
        assert_eq!(calls, ["GetTrail", "UpdateTrail", "GetTrail"]);
    }
}

#[tokio::test]
async fn a_malformed_response_to_a_write_leaves_its_outcome_unknown() {
    let (updated, calls) = update_trail(false, vec![malformed()], vec![], Duration::from_secs(30)).await;
    let failure = updated.unwrap_err();
    assert!(failure.outcome_unknown && failure.class == Class::Terminal, "{failure:?}");
    assert_eq!(calls, ["GetTrail", "UpdateTrail"]);

    let fake = FakeAws::start(World::new(ACCOUNT));
    fake.before(|_, _| Some(malformed()));
    let aws = connect(&fake).await;
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
    let policy = KeyPolicy::new(&Config::parse(|_| None).unwrap(), &function);
    let key = NewKey { policy, description: "a key", tags: BTreeMap::new() };
    let created = aws.writer(soon()).create_key(&region(FRANKFURT), &key, async || Ok(true)).await;
    let failure = created.unwrap_err();
    assert!(failure.outcome_unknown && failure.class == Class::Terminal, "{failure:?}");
    assert_eq!(fake.names(), ["kms:CreateKey"]);
}

fn malformed() -> Fault {
    Fault::Raw { status: 200, body: "{}".into() }
}

#[tokio::test]
async fn the_last_refusal_is_reported_when_time_runs_out() {
    let (updated, _) = update_trail(false, vec![busy(); 10], vec![], Duration::from_secs(2)).await;
    let failure = updated.unwrap_err();
    assert!(failure.is("ConflictException") && failure.request_id.is_some() && !failure.outcome_unknown, "{failure:?}");
    let end = "being modified (retried until the invocation's time ran out)";
    assert!(failure.message.ends_with(end), "{}", failure.message);
}

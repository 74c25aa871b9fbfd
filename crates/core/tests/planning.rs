//! Plans for sets of trails: keys first, once per bucket Region; and a plan that was carried out
//! leaves nothing to plan.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use trailseal_core::access::cloudtrail_key_access;
use trailseal_core::assess::{Verdict, assess};
use trailseal_core::config::{Config, Mode};
use trailseal_core::ids::{FunctionArn, KeyArn, Region, TrailArn};
use trailseal_core::key_policy::KeyPolicy;
use trailseal_core::observation::{
    BucketFacts, Candidates, Failure, KeptSettings, KeyFacts, KeyManager, KeyMetadata, KeyState, KeyTags, Made,
    MendingFacts, Reading, SealingFacts, TrailFacts, TrailSettings, TrailStatus,
};
use trailseal_core::plan::{Fate, KeyStep, Plan, TrailStep};
use trailseal_core::planner::{Judged, plan, wanted};
use trailseal_core::progress::Progress;
use trailseal_core::report::{Answer, Outcome};
use trailseal_core::trigger::Origin;

const REGIONS: [&str; 3] = ["eu-central-1", "eu-west-1", "us-east-1"];

fn home() -> FunctionArn {
    "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap()
}

fn config(mode: &str) -> Config {
    let lookup = |name: &str| match name {
        "TRAILSEAL_MODE" => Some(mode.to_owned()),
        "TRAILSEAL_ROLE_ARN" => Some("arn:aws:iam::123456789012:role/trailseal".to_owned()),
        "TRAILSEAL_RESTART_LOGGING" => Some("true".to_owned()),
        _ => None,
    };
    Config::parse(lookup).unwrap()
}

fn region(code: &str) -> Region {
    code.parse().unwrap()
}

fn key(arn: &str, state: KeyState, manager: KeyManager, config: &Config) -> KeyFacts {
    KeyFacts {
        metadata: KeyMetadata {
            arn: arn.parse().unwrap(),
            manager,
            spec: Some("SYMMETRIC_DEFAULT".into()),
            usage: Some("ENCRYPT_DECRYPT".into()),
            origin: Some("AWS_KMS".into()),
            multi_region: false,
            state,
            created: None,
            fresh: false,
        },
        policy: Reading::Known(KeyPolicy::new(config, &home()).text()),
        tags: None,
    }
}

fn sealing_arn(region: &Region) -> String {
    format!("arn:aws:kms:{region}:123456789012:key/sealing")
}

/// A trail and its surroundings, as data.
#[derive(Debug, Clone)]
struct Scene {
    trail: TrailFacts,
    mending: MendingFacts,
}

fn scene(name: &str, home_region: &str, bucket_region: &str, named: Option<Reading<KeyFacts>>) -> Scene {
    let arn: TrailArn = format!("arn:aws:cloudtrail:{home_region}:123456789012:trail/{name}").parse().unwrap();
    let kms_key_id = named.as_ref().map(|reading| match reading {
        Reading::Known(key) => key.metadata.arn.to_string(),
        _ => format!("arn:aws:kms:{bucket_region}:123456789012:key/unreadable"),
    });
    let kept = KeptSettings { bucket: format!("logs-{bucket_region}"), ..KeptSettings::default() };
    Scene {
        trail: TrailFacts {
            settings: TrailSettings { arn, home_region: region(home_region), kms_key_id, kept },
            status: TrailStatus { logging: true, ever_started: true, ..TrailStatus::default() },
            key: named,
            waited: false,
        },
        mending: MendingFacts { bucket_region: Some(Ok(region(bucket_region))), exempt: Ok(None) },
    }
}

fn judge(scenes: &[Scene], config: &Config) -> BTreeMap<TrailArn, Judged> {
    let judged = |scene: &Scene| {
        let assessment = assess(&scene.trail, config, &home());
        let untouched = matches!(assessment.verdict, Verdict::Compliant | Verdict::OutOfScope(_));
        let mending = (!untouched).then(|| scene.mending.clone());
        (scene.trail.settings.arn.clone(), Judged::Seen { settings: scene.trail.settings.clone(), assessment, mending })
    };
    scenes.iter().map(judged).collect()
}

fn planned(scenes: &[Scene], sealing: &SealingFacts, config: &Config) -> Plan {
    let judged = judge(scenes, config);
    let wanted = wanted(judged.values());
    let mut known = sealing.clone();
    known.keys.retain(|region, _| wanted.regions.contains(region));
    let open = BucketFacts { policy: Reading::Absent, replication: Reading::Absent };
    known.buckets = wanted.buckets.into_keys().map(|name| (name, Ok(open.clone()))).collect();
    plan(judged, &known, config, &home())
}

fn named(reading: Reading<KeyFacts>) -> Candidates {
    Candidates { named: Ok(reading), tagged: None, made: None }
}

fn no_keys() -> SealingFacts {
    let keys = REGIONS.map(|code| (region(code), named(Reading::Absent))).into();
    SealingFacts { keys, ..SealingFacts::default() }
}

fn answer(plan: &Plan, mode: Mode) -> Answer {
    let mut progress = Progress::default();
    progress.begin(plan);
    progress.plan_only(plan);
    Answer::compose(mode, &Origin::default(), plan, &progress, vec![])
}

#[test]
fn trails_of_different_home_regions_with_one_bucket_region_get_one_key() {
    let config = config("enforce");
    let scenes = [
        scene("one", "eu-west-1", "eu-central-1", None),
        scene("two", "us-east-1", "eu-central-1", None),
        scene("three", "us-east-1", "us-east-1", None),
    ];
    let plan = planned(&scenes, &no_keys(), &config);
    assert_eq!(plan.keys.keys().map(Region::as_str).collect::<Vec<_>>(), ["eu-central-1", "us-east-1"]);
    for key in plan.keys.values() {
        assert!(matches!(key.steps.as_slice(), [KeyStep::Create(_), KeyStep::EnableRotation, KeyStep::CreateAlias(_)]));
    }
}

#[test]
fn what_a_key_needs_is_listed_under_the_first_trail_that_gets_it() {
    let config = config("dry-run");
    let scenes = [scene("b-second", "eu-west-1", "eu-west-1", None), scene("a-first", "eu-west-1", "eu-west-1", None)];
    let answer = json!(answer(&planned(&scenes, &no_keys(), &config), Mode::DryRun));
    let statuses = |trail: usize| -> Vec<String> {
        let steps = answer["trails"][trail]["steps"].as_array().unwrap();
        steps.iter().map(|step| step["status"].as_str().unwrap().to_owned()).collect()
    };
    assert!(answer["trails"][0]["trail_arn"].as_str().unwrap().ends_with("/a-first"), "sorted by ARN");
    assert_eq!(statuses(0), ["planned", "planned", "planned", "planned"]);
    assert_eq!(statuses(1), ["not-needed", "not-needed", "not-needed", "planned"]);
    assert!(answer["trails"][0]["new_key_policy"].is_object());
    assert_eq!(answer["trails"][1]["new_key_policy"], Value::Null);
}

#[test]
fn a_key_that_this_run_created_is_used_although_kms_does_not_show_its_alias_yet() {
    let config = config("enforce");
    let scenes = [scene("audit", "eu-west-1", "eu-west-1", None)];
    let made: KeyArn = sealing_arn(&region("eu-west-1")).parse().unwrap();
    for aliased in [true, false] {
        let mut sealing = no_keys();
        sealing.keys.get_mut(&region("eu-west-1")).unwrap().made =
            Some(Made { key: made.clone(), aliased, facts: None });
        let plan = planned(&scenes, &sealing, &config);
        let key = &plan.keys[&region("eu-west-1")];
        assert_eq!((key.key.as_ref(), key.fresh), (Some(&made), true));
        let expected = if aliased { vec![] } else { vec![KeyStep::CreateAlias(config.key_alias.clone())] };
        assert_eq!(key.steps, expected, "never a second key");
    }
}

#[test]
fn one_trails_trouble_stops_no_other() {
    let config = config("enforce");
    let mut lost = scene("lost", "eu-west-1", "eu-west-1", None);
    lost.mending.bucket_region = Some(Err(Failure::terminal("no such bucket", "make one")));
    let mut tagless = scene("tagless", "eu-west-1", "eu-west-1", None);
    tagless.mending.exempt = Err(Failure::terminal("tags denied", "allow them"));
    let fine = scene("fine", "eu-west-1", "us-east-1", None);
    let plan = planned(&[lost, tagless, fine], &no_keys(), &config);
    let fates: Vec<bool> = plan.trails.values().map(|trail| trail.fate == Fate::Mended).collect();
    assert_eq!(fates, [true, false, false]);
    assert_eq!(plan.keys.len(), 1);
}

/// Any account that the generator can think of.
fn any_scene() -> impl Strategy<Value = Scene> {
    let codes = || prop::sample::select(REGIONS.as_slice());
    let state = prop::sample::select(vec![
        KeyState::Usable,
        KeyState::Disabled,
        KeyState::PendingDeletion,
        KeyState::Unavailable("Unavailable".into()),
    ]);
    let named = prop_oneof![
        Just(None),
        Just(Some(None)),
        (state, any::<bool>()).prop_map(|(state, aws)| Some(Some((state, aws)))),
    ];
    let status = (any::<bool>(), any::<bool>());
    let mending = (any::<bool>(), prop::option::weighted(0.2, "[a-z]{1,8}"), any::<bool>());
    ("[a-z]{3,5}", codes(), codes(), named, status, mending).prop_map(
        |(name, home_region, bucket_region, named, (logging, ever_started), (bucket, exempt, tags))| {
            let named = named.map(|key| match key {
                None => Reading::Absent,
                Some((state, aws)) => {
                    let manager = if aws { KeyManager::Aws } else { KeyManager::Customer };
                    let arn = format!("arn:aws:kms:{bucket_region}:123456789012:key/{name}");
                    Reading::Known(self::key(&arn, state, manager, &config("enforce")))
                }
            });
            let mut scene = scene(&name, home_region, bucket_region, named);
            scene.trail.status = TrailStatus { logging, ever_started, ..TrailStatus::default() };
            if !bucket {
                scene.mending.bucket_region = Some(Err(Failure::terminal("no such bucket", "make one")));
            }
            scene.mending.exempt = if tags { Ok(exempt) } else { Err(Failure::terminal("tags denied", "allow them")) };
            scene
        },
    )
}

/// Several, no two with the same ARN.
fn any_account() -> impl Strategy<Value = Vec<Scene>> {
    prop::collection::vec(any_scene(), 0..8).prop_map(|mut scenes| {
        scenes.sort_by(|one, two| one.trail.settings.arn.cmp(&two.trail.settings.arn));
        scenes.dedup_by(|one, two| one.trail.settings.arn == two.trail.settings.arn);
        scenes
    })
}

/// Whose the key behind an alias is, its state, and whether its policy is whole.
fn any_sealing() -> impl Strategy<Value = SealingFacts> {
    let state = prop::sample::select(vec![KeyState::Usable, KeyState::Disabled, KeyState::PendingDeletion]);
    let tags = prop::sample::select(vec![
        KeyTags { ours: true, exempt: None },
        KeyTags { ours: true, exempt: Some("because".into()) },
        KeyTags { ours: false, exempt: None },
    ]);
    let one = prop::option::of((state, tags, prop::bool::weighted(0.3)));
    prop::collection::vec(one, REGIONS.len()).prop_map(|keys| {
        let reading = |(code, it): (&str, Option<(KeyState, KeyTags, bool)>)| {
            let region = region(code);
            let key = it.map(|(state, tags, stripped)| {
                let mut key = key(&sealing_arn(&region), state, KeyManager::Customer, &config("enforce"));
                key.tags = Some(Ok(tags));
                if stripped {
                    key.policy = Reading::Known(STRIPPED.into());
                }
                key
            });
            (region, named(key.map_or(Reading::Absent, Reading::Known)))
        };
        SealingFacts { keys: REGIONS.into_iter().zip(keys).map(reading).collect(), ..SealingFacts::default() }
    })
}

/// A policy that lets only the account in.
const STRIPPED: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Theirs","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}"#;

/// Carries a plan out on the facts, as AWS would.
fn carry_out(plan: &Plan, scenes: &mut [Scene], sealing: &mut SealingFacts, config: &Config) {
    let mut keys: BTreeMap<Region, KeyArn> = BTreeMap::new();
    for (region, planned) in &plan.keys {
        let arn = planned.key.clone().unwrap_or_else(|| sealing_arn(region).parse().unwrap());
        if !planned.steps.is_empty() {
            let mut made = key(arn.as_str(), KeyState::Usable, KeyManager::Customer, config);
            made.tags = Some(Ok(KeyTags { ours: true, exempt: None }));
            sealing.keys.insert(region.clone(), named(Reading::Known(made)));
        }
        keys.insert(region.clone(), arn);
    }
    for scene in scenes {
        for step in &plan.trails[&scene.trail.settings.arn].steps {
            match step {
                TrailStep::Update { bucket_region, .. } => {
                    let arn = &keys[bucket_region];
                    scene.trail.settings.kms_key_id = Some(arn.to_string());
                    scene.trail.key =
                        Some(Reading::Known(key(arn.as_str(), KeyState::Usable, KeyManager::Customer, config)));
                }
                TrailStep::StartLogging { .. } => scene.trail.status.logging = true,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_plan(
        mut scenes in any_account(),
        mut sealing in any_sealing(),
    ) {
        let config = config("enforce");
        let first = planned(&scenes, &sealing, &config);
        carry_out(&first, &mut scenes, &mut sealing, &config);
        let second = planned(&scenes, &sealing, &config);
        prop_assert!(second.keys.is_empty(), "{:#?}", second.keys);
        for (arn, trail) in &second.trails {
            prop_assert!(trail.steps.is_empty(), "{arn}: {:#?}", trail.steps);
        }
    }

    #[test]
    fn a_trail_only_ever_gets_a_usable_key_of_its_buckets_region(
        scenes in any_account(),
        sealing in any_sealing(),
    ) {
        let plan = planned(&scenes, &sealing, &config("enforce"));
        for (region, key) in &plan.keys {
            if let Some(arn) = &key.key {
                prop_assert_eq!(arn.region(), region);
                let Some(Candidates { named: Ok(Reading::Known(facts)), .. }) = sealing.keys.get(region) else { panic!("a key from nowhere") };
                let restored = matches!(key.steps.first(), Some(KeyStep::Restore { .. }));
                prop_assert!(facts.metadata.state == KeyState::Usable || restored);
                let touched = !key.steps.is_empty();
                prop_assert!(!touched || facts.ours().is_some_and(|tags| tags.exempt.is_none()), "another's key is never touched");
                for trail in plan.trails.values().filter(|trail| trail.sealing_region.as_ref() == Some(region)) {
                    prop_assert_eq!(&trail.fate, &Fate::Mended);
                }
                let lets_in = cloudtrail_key_access(key.policy.as_ref().unwrap(), arn, &"arn:aws:cloudtrail:eu-west-1:123456789012:trail/any".parse().unwrap());
                prop_assert!(lets_in.generate_data_key.is_allowed());
            }
        }
        let asked: BTreeSet<&Region> = plan.trails.values().filter_map(|trail| trail.sealing_region.as_ref()).collect();
        prop_assert_eq!(asked, plan.keys.keys().collect::<BTreeSet<_>>(), "no key for nobody");
        for scene in &scenes {
            let trail = &plan.trails[&scene.trail.settings.arn];
            prop_assert!(trail.steps.is_empty() || scene.mending.exempt == Ok(None), "exempt, or perhaps so");
            if let Some(region) = &trail.sealing_region {
                prop_assert_eq!(&scene.mending.bucket_region, &Some(Ok(region.clone())));
            }
        }
    }

    #[test]
    fn dry_run_plans_what_enforce_does(
        scenes in any_account(),
        sealing in any_sealing(),
    ) {
        let (dry, real) = (planned(&scenes, &sealing, &config("dry-run")), planned(&scenes, &sealing, &config("enforce")));
        prop_assert_eq!(&dry, &real);
        for trail in answer(&dry, Mode::DryRun).trails {
            prop_assert_ne!(trail.outcome, Outcome::Remediated);
            let planned = trail.steps.iter().any(|step| json!(step)["status"] == "planned");
            prop_assert_eq!(planned, !dry.trails[&trail.trail_arn.parse().unwrap()].steps.is_empty());
        }
    }

    #[test]
    fn any_input_gives_a_short_error(text in "\\PC{0,200}", keys in prop::collection::vec("[a-z-]{1,12}", 0..4)) {
        use trailseal_core::trigger::{Event, Trigger};
        let object: Value = keys.iter().map(|key| (key.clone(), json!(text))).collect::<serde_json::Map<_, _>>().into();
        let detail_type = "AWS API Call via CloudTrail".to_owned();
        let event = Event { detail_type, source: text.clone(), detail: object.clone(), ..Event::default() };
        for result in [
            Trigger::from_request(&json!(text), &home()),
            Trigger::from_request(&object, &home()),
            Trigger::from_event(&event, &home()),
        ] {
            if let Err(error) = result {
                prop_assert!(error.to_string().chars().count() < 700);
            }
        }
    }

    #[test]
    fn no_configuration_is_too_odd_to_be_refused_in_words(value in "\\PC{0,60}") {
        if let Err(problems) = Config::parse(|_| Some(value.clone())) {
            let message = problems.to_string();
            prop_assert!(message.contains("TRAILSEAL_"));
        }
    }
}

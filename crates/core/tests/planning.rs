//! Plans for sets of trails: keys first, once per bucket Region; and a plan that was executed leaves nothing to plan.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use trailseal_core::access::cloudtrail_key_access;
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::iam::Document;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::journal::{Journal, StepResult};
use trailseal_core::observation::{Candidates, KeyManager, KeyObservation, KeyState, KeyTags, Reading, TrailStatus};
use trailseal_core::plan::{Disposition, KeyStep, Plan, StepName};
use trailseal_core::report::{AccountReport, Answer, Outcome, StepReport};
use trailseal_core::trigger::{Event, Origin, Trigger};

mod cases;
mod scenario;

use scenario::{Account, Scenario, candidates, context, denied, done, execute, key, new_key, region, unanswered};

const REGIONS: [&str; 3] = ["eu-central-1", "eu-west-1", "us-east-1"];

fn restarting(mode: &str) -> Context {
    context(&[("TRAILSEAL_MODE", mode), ("TRAILSEAL_RESTART_LOGGING", "true")])
}

fn planned(account: &Account, context: &Context) -> Plan {
    let mut journal = Journal::default();
    account.begin_pass(context, &mut journal);
    journal.plans()[0].clone()
}

fn compose(context: &Context, journal: &Journal) -> Answer {
    Answer::compose(context, &Origin::default(), journal, AccountReport::default())
}

/// The answer in dry-run mode.
fn dry_run(account: &Account) -> Answer {
    let context = restarting("dry-run");
    let mut journal = Journal::default();
    account.begin_pass(&context, &mut journal);
    journal.record_planned();
    compose(&context, &journal)
}

#[test]
fn trails_with_one_bucket_region_get_one_key() {
    let account = Account::new([
        Scenario::new("one", "eu-west-1", "eu-central-1"),
        Scenario::new("two", "us-east-1", "eu-central-1"),
        Scenario::new("three", "us-east-1", "us-east-1"),
    ]);
    let plan = planned(&account, &context(&[]));
    assert_eq!(plan.keys.keys().map(Region::as_str).collect::<Vec<_>>(), ["eu-central-1", "us-east-1"]);
    for key in plan.keys.values() {
        assert!(matches!(key.steps.as_slice(), [KeyStep::Create(_), KeyStep::EnableRotation, KeyStep::CreateAlias(_)]));
    }
}

#[test]
fn key_steps_are_listed_under_the_first_trail_that_needs_them() {
    let account = Account::new([
        Scenario::new("b-second", "eu-west-1", "eu-west-1"),
        Scenario::new("a-first", "eu-west-1", "eu-west-1"),
    ]);
    let answer = json!(dry_run(&account));
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
fn a_created_key_is_used_before_kms_returns_its_alias() {
    let context = context(&[]);
    let account = Account::new([Scenario::new("audit", "eu-west-1", "eu-west-1")]);
    for has_alias in [true, false] {
        let mut journal = Journal::default();
        account.begin_pass(&context, &mut journal);
        execute(&mut journal, |step| match step.name() {
            StepName::CreateAlias if !has_alias => {
                StepResult::Failed(unanswered("kms:CreateAlias", "create the alias"))
            }
            _ => done(step),
        });
        account.begin_pass(&context, &mut journal);
        let key = &journal.plans()[1].keys[&region("eu-west-1")];
        assert_eq!((key.key.as_ref(), key.settling), (Some(&new_key(&region("eu-west-1"))), true));
        let expected = if has_alias { vec![] } else { vec![KeyStep::CreateAlias(context.config.key_alias.clone())] };
        assert_eq!(key.steps, expected, "never a second key");
    }
}

#[test]
fn the_failure_of_one_trail_stops_no_other_trail() {
    let mut lost = Scenario::new("lost", "eu-west-1", "eu-west-1");
    lost.bucket_region = Err(Failure::terminal("no such bucket", "create one"));
    let mut untagged = Scenario::new("untagged", "eu-west-1", "eu-west-1");
    untagged.exempt_tag = Err(denied("cloudtrail:ListTags", "read the tags of the trail"));
    let healthy = Scenario::new("healthy", "eu-west-1", "us-east-1");
    let plan = planned(&Account::new([lost, untagged, healthy]), &context(&[]));
    let remediated: Vec<bool> = plan.trails.values().map(|trail| trail.disposition == Disposition::Remediate).collect();
    assert_eq!(remediated, [true, false, false]);
    assert_eq!(plan.keys.len(), 1);
}

/// The key that a generated trail has.
#[derive(Debug, Clone)]
enum TrailKey {
    None,
    Missing,
    Own(KeyState, KeyManager),
    /// Whatever has the alias in the Region of the bucket.
    Sealing,
}

fn any_trail_key() -> impl Strategy<Value = TrailKey> {
    let state = prop::sample::select(vec![
        KeyState::Usable,
        KeyState::Disabled,
        KeyState::PendingDeletion,
        KeyState::Unavailable("Unavailable".into()),
    ]);
    let manager = prop::sample::select(vec![KeyManager::Customer, KeyManager::Aws]);
    prop_oneof![
        Just(TrailKey::None),
        Just(TrailKey::Missing),
        Just(TrailKey::Sealing),
        (state, manager).prop_map(|(state, manager)| TrailKey::Own(state, manager)),
    ]
}

fn any_scenario() -> impl Strategy<Value = (Scenario, TrailKey)> {
    let codes = || prop::sample::select(REGIONS.as_slice());
    let status = (any::<bool>(), any::<bool>());
    let surroundings = (any::<bool>(), prop::option::weighted(0.2, "[a-z]{1,8}"), any::<bool>());
    ("[a-z]{3,5}", codes(), codes(), any_trail_key(), status, surroundings).prop_map(
        |(name, home_region, bucket_region, key, (logging, ever_started), (has_bucket, exempt, is_readable))| {
            let mut scenario = Scenario::new(&name, home_region, bucket_region);
            scenario.facts.status = TrailStatus { logging, ever_started, ..TrailStatus::default() };
            if !has_bucket {
                scenario.bucket_region = Err(Failure::terminal("no such bucket", "create one"));
            }
            scenario.exempt_tag =
                if is_readable { Ok(exempt) } else { Err(Failure::terminal("tags denied", "allow them")) };
            (scenario, key)
        },
    )
}

/// A policy that allows the account only.
const ACCOUNT_ONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Other","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"kms:*","Resource":"*"}]}"#;

/// The key behind the alias: its state, its tags, and whether its policy was stripped.
fn any_sealing_key() -> impl Strategy<Value = Option<(KeyState, KeyTags, bool)>> {
    let state = prop::sample::select(vec![KeyState::Usable, KeyState::Disabled, KeyState::PendingDeletion]);
    let tags = prop::sample::select(vec![
        KeyTags { managed_by_trailseal: true, exempt: None },
        KeyTags { managed_by_trailseal: true, exempt: Some("because".into()) },
        KeyTags { managed_by_trailseal: false, exempt: None },
    ]);
    prop::option::of((state, tags, prop::bool::weighted(0.3)))
}

fn with_id(region: &str, id: &str) -> KeyArn {
    format!("arn:aws:kms:{region}:123456789012:key/{id}").parse().unwrap()
}

/// Several trails, no two with the same ARN.
fn any_account() -> impl Strategy<Value = Account> {
    let sealing_keys = prop::collection::vec(any_sealing_key(), REGIONS.len());
    (prop::collection::vec(any_scenario(), 0..8), sealing_keys).prop_map(|(mut trails, sealing_keys)| {
        let context = restarting("enforce");
        trails.sort_by(|(one, _), (two, _)| one.arn().cmp(two.arn()));
        trails.dedup_by(|(one, _), (two, _)| one.arn() == two.arn());
        let candidates: BTreeMap<Region, Candidates> = REGIONS
            .into_iter()
            .zip(sealing_keys)
            .map(|(code, sealing_key)| {
                let named = sealing_key.map_or(Reading::Absent, |(state, tags, is_stripped)| {
                    let mut key = key(&new_key(&region(code)), &context);
                    key.metadata.state = state;
                    key.tags = Ok(tags);
                    if is_stripped {
                        key.policy = Some(Reading::Known(Document::parse(ACCOUNT_ONLY)));
                    }
                    Reading::Known(key)
                });
                (region(code), candidates(named))
            })
            .collect();
        let scenarios = trails.into_iter().map(|(mut scenario, trail_key)| {
            let bucket = &scenario.facts.settings.kept.bucket;
            let bucket_region = bucket.strip_prefix("logs-").unwrap().to_owned();
            match trail_key {
                TrailKey::None => scenario,
                TrailKey::Missing => {
                    scenario.facts.settings.kms_key_id = Some(with_id(&bucket_region, "missing").to_string());
                    scenario.facts.key = Some(Reading::Absent);
                    scenario
                }
                TrailKey::Own(state, manager) => {
                    let id = scenario.arn().name().to_string();
                    let mut own = key(&with_id(&bucket_region, &id), &context);
                    own.tags = Ok(KeyTags::default());
                    own.metadata.state = state;
                    own.metadata.manager = manager;
                    scenario.with_key(own)
                }
                TrailKey::Sealing => match &candidates[&region(&bucket_region)].named {
                    Ok(Reading::Known(key)) => scenario.with_key(key.clone()),
                    _ => scenario,
                },
            }
        });
        Account { scenarios: scenarios.collect(), candidates: candidates.clone() }
    })
}

/// The account after AWS executed the plan.
fn executed(plan: &Plan, mut account: Account, context: &Context) -> Account {
    let mut keys: BTreeMap<Region, KeyObservation> = BTreeMap::new();
    for (region, planned) in &plan.keys {
        let arn = planned.key.clone().unwrap_or_else(|| new_key(region));
        if !planned.steps.is_empty() {
            account = account.with_sealing_key(key(&arn, context));
        }
        let Ok(Reading::Known(key)) = &account.candidates[region].named else { panic!("{arn} does not exist") };
        keys.insert(region.clone(), key.clone());
    }
    let is_sealing_key = |scenario: &Scenario, key: &KeyObservation| {
        scenario.facts.settings.kms_key_id.as_deref() == Some(key.metadata.arn.as_str())
    };
    for scenario in &mut account.scenarios {
        let planned = &plan.trails[scenario.arn()];
        if planned.restart.is_some() {
            scenario.facts.status.logging = true;
        }
        let assigned = planned.update.as_ref().map(|update| &keys[&update.bucket_region]);
        let key = assigned.or_else(|| keys.values().find(|key| is_sealing_key(scenario, key)));
        if let Some(key) = key {
            *scenario = scenario.clone().with_key(key.clone());
        }
    }
    account
}

proptest! {
    #![proptest_config(cases::config(100))]

    #[test]
    fn an_executed_plan_leaves_nothing_to_plan(account in any_account()) {
        let context = restarting("enforce");
        let first = planned(&account, &context);
        let second = planned(&executed(&first, account, &context), &context);
        prop_assert!(second.keys.is_empty(), "{:#?}", second.keys);
        for (arn, trail) in &second.trails {
            prop_assert_eq!(trail.steps().count(), 0, "{}: {:#?}", arn, trail);
        }
    }

    #[test]
    fn a_trail_only_gets_a_usable_key_of_its_bucket_region(account in any_account()) {
        let plan = planned(&account, &restarting("enforce"));
        for (region, key) in &plan.keys {
            let trails = || plan.trails.values().filter(|trail| trail.sealing_region.as_ref() == Some(region));
            prop_assert!(trails().all(|trail| trail.disposition == Disposition::Remediate));
            let Some(arn) = &key.key else { continue };
            prop_assert_eq!(arn.region(), region);
            let Ok(Reading::Known(observed)) = &account.candidates[region].named else { panic!("no such key") };
            let is_restored = matches!(key.steps.first(), Some(KeyStep::Restore { .. }));
            prop_assert!(observed.metadata.state == KeyState::Usable || is_restored);
            prop_assert!(key.steps.is_empty() || observed.is_maintained(), "another's key is never changed");
            let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/any".parse().unwrap();
            let access = cloudtrail_key_access(key.policy.as_ref().unwrap(), arn, &trail, None);
            prop_assert!(access.generate_data_key.is_allowed());
        }
        let used: BTreeSet<&Region> = plan.trails.values().filter_map(|trail| trail.sealing_region.as_ref()).collect();
        prop_assert_eq!(used, plan.keys.keys().collect::<BTreeSet<_>>(), "every planned key is used");
        for scenario in &account.scenarios {
            let trail = &plan.trails[scenario.arn()];
            prop_assert!(trail.steps().count() == 0 || scenario.exempt_tag == Ok(None), "an exempt trail is unchanged");
            if let Some(update) = &trail.update {
                prop_assert_eq!(&scenario.bucket_region, &Ok(update.bucket_region.clone()));
            }
        }
    }

    #[test]
    fn dry_run_plans_what_enforce_does(account in any_account()) {
        let (dry_run_context, context) = (restarting("dry-run"), restarting("enforce"));
        prop_assert_eq!(planned(&account, &dry_run_context), planned(&account, &context));
        let mut journal = Journal::default();
        account.begin_pass(&context, &mut journal);
        let plan = journal.plans()[0].clone();
        execute(&mut journal, done);
        let (dry, real) = (dry_run(&account), compose(&context, &journal));
        prop_assert_eq!(dry.trails.len(), real.trails.len());
        for (dry, real) in dry.trails.iter().zip(&real.trails) {
            let names = |steps: &[StepReport]| steps.iter().map(|it| it.step).collect::<Vec<_>>();
            prop_assert_eq!(names(&dry.steps), names(&real.steps));
            prop_assert_eq!(&dry.findings, &real.findings);
            let expected = if real.outcome == Outcome::Remediated { Outcome::Planned } else { real.outcome };
            prop_assert_eq!(dry.outcome, expected);
            let trail = &plan.trails[dry.trail.as_ref().unwrap()];
            let is_planned = dry.steps.iter().any(|step| json!(step)["status"] == "planned");
            prop_assert!(is_planned || trail.steps().count() == 0);
        }
    }

    #[test]
    fn any_input_gets_a_short_error(
        text in "\\PC{0,200}",
        fields in prop::collection::vec("[a-z-]{1,12}", 0..4),
    ) {
        let function_arn = context(&[]).function_arn;
        let fields = fields.iter().map(|field| (field.clone(), json!(text)));
        let object: Value = fields.collect::<serde_json::Map<_, _>>().into();
        let detail_type = "AWS API Call via CloudTrail".to_owned();
        let event = Event { detail_type, source: text.clone(), detail: object.clone(), ..Event::default() };
        for result in [
            Trigger::from_request(&json!(text), &function_arn),
            Trigger::from_request(&object, &function_arn),
            Trigger::from_event(&event, &function_arn),
        ] {
            if let Err(error) = result {
                prop_assert!(error.to_string().chars().count() < 700);
            }
        }
    }

    #[test]
    fn every_malformed_configuration_gets_an_error(value in "\\PC{0,60}") {
        if let Err(problems) = Config::parse(|_| Some(value.clone())) {
            prop_assert!(problems.to_string().contains("TRAILSEAL_"));
        }
    }
}

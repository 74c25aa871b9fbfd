//! Trails and their surroundings as values, and passes over them, for several tests.

use std::collections::{BTreeMap, BTreeSet};

use trailseal_core::assess::{AssessedTrail, assess_all, required_reads};
use trailseal_core::config::Config;
use trailseal_core::context::Context;
use trailseal_core::failure::{Class, Failure};
use trailseal_core::iam::{Document, MalformedPolicy};
use trailseal_core::ids::{FunctionArn, KeyArn, Region, TrailArn};
use trailseal_core::journal::{Effect, Entry, Journal, StepResult};
use trailseal_core::key_policy::KeyPolicy;
use trailseal_core::observation::{
    BucketObservation, BucketOwner, Candidates, KeptSettings, KeyManager, KeyMetadata, KeyObservation, KeyState,
    KeyTags, Reading, RemediationFacts, TrailFacts, TrailObservation, TrailSettings, TrailStatus,
};
use trailseal_core::pending::Pending;
use trailseal_core::plan::{KeyStep, Step, Subject, plan};

/// A configuration in enforce mode, with these variables on top.
pub(crate) fn context(variables: &[(&str, &str)]) -> Context {
    let base = [("TRAILSEAL_MODE", "enforce"), ("TRAILSEAL_ROLE_ARN", "arn:aws:iam::123456789012:role/trailseal")];
    let lookup = |name: &str| {
        variables.iter().chain(&base).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let function_arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
    Context { config: Config::parse(lookup).unwrap(), function_arn }
}

pub(crate) fn region(code: &str) -> Region {
    code.parse().unwrap()
}

/// The key that [`execute`] creates in a Region.
pub(crate) fn new_key(region: &Region) -> KeyArn {
    format!("arn:aws:kms:{region}:123456789012:key/11111111-2222-3333-4444-555555555555").parse().unwrap()
}

/// An enabled key that trailseal created with this configuration.
pub(crate) fn key(arn: &KeyArn, context: &Context) -> KeyObservation {
    KeyObservation {
        metadata: KeyMetadata {
            arn: arn.clone(),
            manager: KeyManager::Customer,
            spec: Some("SYMMETRIC_DEFAULT".into()),
            usage: Some("ENCRYPT_DECRYPT".into()),
            origin: Some("AWS_KMS".into()),
            key_store: None,
            expiry: None,
            multi_region: false,
            replica: false,
            state: KeyState::Usable,
            created: None,
            recent: false,
        },
        policy: Some(Reading::Known(Ok(KeyPolicy::new(&context.config, &context.function_arn).document()))),
        tags: Ok(KeyTags { managed_by_trailseal: true, exempt: None }),
        rotation: None,
    }
}

/// A bucket policy that lets CloudTrail deliver, with these statements.
pub(crate) fn bucket_policy(statements: &[&str]) -> Reading<Result<Document, MalformedPolicy>> {
    let cloudtrail = r#"{"Sid":"CloudTrailDelivers","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["s3:GetBucketAcl","s3:PutObject"],"Resource":"*"}"#;
    let statements = [&[cloudtrail], statements].concat().join(",");
    Reading::Known(Document::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)))
}

/// A call that AWS denies.
pub(crate) fn denied(operation: &'static str, attempt: &str) -> Failure {
    Failure {
        operation: Some(operation),
        code: Some("AccessDeniedException".into()),
        request_id: Some("8b1f7c1e-0d2a-4a8e-9d3f-2f6b5c1a7e90".into()),
        ..Failure::terminal(
            format!(
                "cannot {attempt}: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/trailseal/trailseal is not authorized to perform: {operation} with an explicit deny in a service control policy"
            ),
            format!(
                "allow `{operation}` for the role that runs trailseal; if its policy already allows it, check for a service control policy, a permissions boundary or a resource policy that denies it"
            ),
        )
    }
}

/// A call without a response.
pub(crate) fn unanswered(operation: &'static str, attempt: &str) -> Failure {
    Failure {
        class: Class::Transient,
        operation: Some(operation),
        outcome_unknown: true,
        ..Failure::terminal(
            format!("cannot {attempt}: no answer in time"),
            "no action needed; retried automatically; investigate if it persists",
        )
    }
}

/// A trail and its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) facts: TrailFacts,
    pub(crate) exempt_tag: Result<Option<String>, Failure>,
    pub(crate) bucket_region: Result<Region, Failure>,
    pub(crate) bucket: BucketObservation,
}

impl Scenario {
    /// A logging trail without a key, whose bucket lets CloudTrail deliver.
    pub(crate) fn new(name: &str, home_region: &str, bucket_region: &str) -> Self {
        let arn = format!("arn:aws:cloudtrail:{home_region}:123456789012:trail/{name}").parse().unwrap();
        let kept = KeptSettings { bucket: format!("logs-{bucket_region}"), ..KeptSettings::default() };
        Self {
            facts: TrailFacts {
                settings: TrailSettings { arn, home_region: region(home_region), kms_key_id: None, kept },
                status: TrailStatus { logging: true, ever_started: true, ..TrailStatus::default() },
                key: None,
            },
            exempt_tag: Ok(None),
            bucket_region: Ok(region(bucket_region)),
            bucket: BucketObservation {
                owner: BucketOwner::Own,
                policy: bucket_policy(&[]),
                replication: Reading::Absent,
            },
        }
    }

    /// The same with a key.
    pub(crate) fn with_key(mut self, key: KeyObservation) -> Self {
        self.facts.settings.kms_key_id = Some(key.metadata.arn.to_string());
        self.facts.key = Some(Reading::Known(key));
        self
    }

    pub(crate) fn arn(&self) -> &TrailArn {
        &self.facts.settings.arn
    }
}

/// An account's trails and the candidates for its sealing keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) candidates: BTreeMap<Region, Candidates>,
}

/// No key is tagged, and this one is supplied or has the alias.
pub(crate) fn candidates(named: Reading<KeyObservation>) -> Candidates {
    Candidates { named: Ok(named), tagged: Ok(vec![]), created: None }
}

impl Account {
    /// These trails, and no key in the Regions of their buckets.
    pub(crate) fn new(scenarios: impl IntoIterator<Item = Scenario>) -> Self {
        let scenarios: Vec<Scenario> = scenarios.into_iter().collect();
        let regions = scenarios.iter().filter_map(|scenario| scenario.bucket_region.clone().ok());
        let candidates = regions.map(|region| (region, candidates(Reading::Absent))).collect();
        Self { scenarios, candidates }
    }

    /// The same with a sealing key.
    pub(crate) fn with_sealing_key(mut self, key: KeyObservation) -> Self {
        self.candidates.insert(key.metadata.arn.region().clone(), candidates(Reading::Known(key)));
        self
    }

    /// Observes, assesses and plans, as the function does in each pass.
    pub(crate) fn begin_pass(&self, context: &Context, journal: &mut Journal) {
        let health = self
            .scenarios
            .iter()
            .map(|scenario| (scenario.arn().clone(), TrailObservation::Readable(Box::new(scenario.facts.clone()))));
        let assessed = assess_all(health.collect(), context);
        let pending = Pending::of(journal);
        let facts = self.remediation_facts(&assessed, &pending);
        let plan = plan(&assessed, &facts, &pending.unfinished, context);
        journal.append(pending.resolve(&assessed, &facts, &plan));
        journal.begin_pass(plan);
    }

    /// What the plan and the resolution of earlier writes require, and nothing else.
    fn remediation_facts(&self, assessed: &BTreeMap<TrailArn, AssessedTrail>, pending: &Pending) -> RemediationFacts {
        let reads = required_reads(assessed);
        let mut facts = RemediationFacts::default();
        let mut regions: BTreeSet<Region> = reads.keys_to_repair.values().map(|key| key.region().clone()).collect();
        regions.extend(pending.alias_regions().cloned());
        let tagged = |scenario: &&Scenario| reads.trails_to_check.iter().any(|trail| trail.arn == *scenario.arn());
        for scenario in self.scenarios.iter().filter(tagged) {
            facts.exempt_tags.insert(scenario.arn().clone(), scenario.exempt_tag.clone());
            if reads.trails_to_seal.contains(scenario.arn()) {
                facts.bucket_regions.insert(scenario.arn().clone(), scenario.bucket_region.clone());
                regions.extend(scenario.bucket_region.clone());
                let bucket = scenario.facts.settings.kept.bucket.clone();
                facts.buckets.insert(bucket, Ok(scenario.bucket.clone()));
            }
        }
        let required = self.candidates.iter().filter(|(region, _)| regions.contains(region));
        facts.candidates = required.map(|(region, candidates)| (region.clone(), candidates.clone())).collect();
        facts
    }
}

/// Whether a sealing key can be assigned.
enum KeyResult {
    Usable(KeyArn),
    Unusable,
    Contradicted,
}

/// Performs the steps of the current plan, as the executor does.
pub(crate) fn execute(journal: &mut Journal, result: impl Fn(&Step) -> StepResult) {
    let plan = journal.plans().last().cloned().unwrap_or_default();
    let pass = journal.pass();
    let mut entries = Vec::new();
    let mut keys: BTreeMap<Region, KeyResult> = BTreeMap::new();
    for (region, key_plan) in &plan.keys {
        let subject = Subject::Key(region.clone());
        let mut key = key_plan.key.clone();
        let mut end = None;
        let mut steps = key_plan.steps.iter();
        for key_step in steps.by_ref() {
            let step = Step::Key(key_step.clone());
            let result = result(&step);
            end = match &result {
                StepResult::Done(_) => None,
                StepResult::Contradicted(_) => Some(KeyResult::Contradicted),
                _ if !key_step.is_essential() => None,
                StepResult::Unconfirmed { .. } if !journal.has_failed(subject.clone(), step.name()) => {
                    Some(KeyResult::Contradicted)
                }
                _ => Some(KeyResult::Unusable),
            };
            if matches!((key_step, &result), (KeyStep::Create(_), StepResult::Done(_))) {
                key = Some(new_key(region));
            }
            entries.push(Entry { pass, subject: subject.clone(), step, key: key.clone(), result, resolves: false });
            if end.is_some() {
                break;
            }
        }
        if matches!(end, Some(KeyResult::Unusable)) {
            let rest = steps.cloned().map(Step::Key);
            entries.extend(
                rest.map(|step| Entry::new(pass, subject.clone(), step, key.clone(), StepResult::NotPerformed)),
            );
        }
        let end = end.unwrap_or_else(|| key.map_or(KeyResult::Unusable, KeyResult::Usable));
        keys.insert(region.clone(), end);
    }
    for (arn, trail) in &plan.trails {
        for step in trail.steps() {
            let key = trail.sealing_region.as_ref().and_then(|region| keys.get(region));
            let (key, result) = match (&step, key) {
                (Step::Update(_), Some(KeyResult::Usable(key))) => (Some(key.clone()), result(&step)),
                (Step::Update(_), Some(KeyResult::Unusable)) => (None, StepResult::NotPerformed),
                (Step::Update(_), _) => continue,
                _ => (None, result(&step)),
            };
            let subject = Subject::Trail(arn.clone());
            entries.push(Entry { pass, subject, step, key, result, resolves: false });
        }
    }
    journal.append(entries);
}

/// Every step is performed.
pub(crate) fn done(_: &Step) -> StepResult {
    StepResult::Done(Effect::Applied)
}

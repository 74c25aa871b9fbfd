//! From findings to a plan: which key each trail gets, and what has to be done for it. Synchronous
//! functions of values.

mod bucket_side;
mod left_over;
mod sealing_key;

pub use left_over::{doubts, left_over};

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::{Assessment, KeyNeed, Verdict, belongs_to, is_ours};
use crate::config::Config;
use crate::finding::Warning;
use crate::ids::{FunctionArn, KeyArn, Region, TrailArn, shorten};
use crate::key::{LetsIn, needs_decrypt, unclear};
use crate::key_policy::KeyPolicy;
use crate::observation::{Class, Failure, MendingFacts, SealingFacts, TrailSettings};
use crate::plan::{Fate, KeyOwner, KeyPlan, Plan, TrailPlan, TrailStep};

/// One trail as planning sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "an account has a handful of trails")]
pub enum Judged {
    /// There is no such trail.
    Gone,
    /// It could not be looked at.
    Unseen(Failure),
    /// It was looked at and judged.
    Seen {
        /// Its settings.
        settings: TrailSettings,
        /// What is wrong with it.
        assessment: Assessment,
        /// What mending it hangs on; read unless there is nothing to mend or note.
        mending: Option<MendingFacts>,
    },
}

/// What planning has to know beyond the trails themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The Regions whose sealing key is asked for.
    pub regions: BTreeSet<Region>,
    /// The buckets of trails that get another key, each with its Region.
    pub buckets: BTreeMap<String, Region>,
}

/// What planning will ask for.
pub fn wanted<'a>(trails: impl IntoIterator<Item = &'a Judged>) -> Wanted {
    let mut wanted = Wanted::default();
    for judged in trails {
        let Judged::Seen {
            settings,
            assessment: Assessment { verdict: Verdict::Mend { key: Some(need), .. }, .. },
            mending: Some(MendingFacts { bucket_region, exempt: Ok(None) }),
        } = judged
        else {
            continue;
        };
        match (need, bucket_region) {
            (KeyNeed::Sealing, Some(Ok(region))) => {
                wanted.regions.insert(region.clone());
                wanted.buckets.insert(settings.kept.bucket.clone(), region.clone());
            }
            (KeyNeed::Completing(key), _) => {
                wanted.regions.insert(key.region().clone());
            }
            _ => {}
        }
    }
    wanted
}

/// Plans for all the trails together.
pub fn plan(trails: BTreeMap<TrailArn, Judged>, sealing: &SealingFacts, config: &Config, home: &FunctionArn) -> Plan {
    let planner = Planner { sealing, config, home, policy: KeyPolicy::of(config, home) };
    let mut keys = BTreeMap::new();
    let trails = trails
        .into_iter()
        .map(|(arn, judged)| {
            let planned = planner.trail(&arn, judged, &mut keys);
            (arn, planned)
        })
        .collect();
    let strays = planner.strays(&keys);
    Plan { keys, trails, strays, odd: vec![] }
}

struct Planner<'a> {
    sealing: &'a SealingFacts,
    config: &'a Config,
    home: &'a FunctionArn,
    policy: KeyPolicy,
}

/// A trail and the sealing key that it gets, or that it has and that is mended.
struct Sealed {
    region: Region,
    update: Option<TrailStep>,
}

impl Planner<'_> {
    fn trail(&self, arn: &TrailArn, judged: Judged, keys: &mut BTreeMap<Region, KeyPlan>) -> TrailPlan {
        let (settings, assessment, mending) = match judged {
            Judged::Gone => return untouched(Fate::Gone),
            Judged::Unseen(failure) => return untouched(self.unseen(arn, failure)),
            Judged::Seen { settings, assessment, mending } => (settings, assessment, mending),
        };
        let Assessment { findings, warnings, verdict } = assessment;
        let mut plan =
            TrailPlan { findings, warnings, current_key: settings.kms_key_id.clone(), ..untouched(Fate::Noted) };
        plan.fate = match (verdict, mending) {
            (Verdict::Compliant, _) => Fate::Compliant,
            (Verdict::OutOfScope(reason), _) => Fate::OutOfScope(reason),
            (_, Some(MendingFacts { exempt: Ok(Some(value)), .. })) => Fate::Exempt(shorten(&value, 256)),
            (_, Some(MendingFacts { exempt: Err(failure), .. })) => Fate::Failed(failure),
            (_, None) => Fate::Failed(Failure::transient("the trail's tags and bucket were not read")),
            (Verdict::Note, _) => Fate::Noted,
            (Verdict::Mend { key, restart }, Some(mending)) => {
                // Logging first: it must not hang on how long sealing takes, nor on whether it is possible.
                plan.steps
                    .extend(restart.then(|| TrailStep::StartLogging { home_region: settings.home_region.clone() }));
                let sealed = match key {
                    None => Ok(None),
                    Some(KeyNeed::Sealing) => self.seal(&settings, mending, &mut plan.warnings, keys).map(Some),
                    Some(KeyNeed::Completing(key)) => self.complete(&key, &settings.arn, &mut plan.warnings, keys),
                };
                match sealed {
                    Err(failure) => Fate::Failed(failure),
                    Ok(None) if plan.steps.is_empty() => Fate::Noted,
                    Ok(None) => Fate::Mended,
                    Ok(Some(Sealed { region, update })) => {
                        plan.sealing_region = Some(region);
                        plan.steps.extend(update);
                        Fate::Mended
                    }
                }
            }
        };
        plan
    }

    /// What passes is tried again; else another account's trail is its owner's to look at, and none of ours
    /// to fail on: a member account may be kept out of the Region of its organization's trail.
    fn unseen(&self, arn: &TrailArn, failure: Failure) -> Fate {
        if failure.class == Class::Transient || is_ours(arn, self.config, self.home) {
            return Fate::Failed(failure);
        }
        Fate::OutOfScope(format!("{}; from here it cannot be seen: {}", belongs_to(arn), failure.message))
    }

    /// Gives a trail the sealing key of its bucket's Region; one that has it already gets it back in
    /// working order.
    fn seal(
        &self,
        settings: &TrailSettings,
        mending: MendingFacts,
        warnings: &mut Vec<Warning>,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> Result<Sealed, Failure> {
        let bucket = &settings.kept.bucket;
        let unread = || Err(Failure::transient(format!("the Region of bucket `{bucket}` was not read")));
        let region = mending.bucket_region.unwrap_or_else(unread)?;
        let key = self.key_plan(&region, keys)?;
        let to_be = || KeyArn::placeholder(self.home.partition(), &region, self.home.account());
        let arn = key.key.clone().unwrap_or_else(to_be);
        warnings.extend(key.warnings.iter().cloned());
        let (if_refused, doubts) = self.admits(&key, &arn, &settings.arn)?;
        let has_it = settings.kms_key_id.as_deref() == Some(arn.as_str());
        if has_it && key.steps.is_empty() {
            let message = format!("key `{arn}` of trail `{}` was read as broken and then as sound", settings.arn);
            return Err(Failure::transient(message));
        }
        let more = if has_it { vec![] } else { self.bucket_side(settings, &arn, &key)? };
        warnings.extend(doubts.into_iter().chain(more));
        dedupe(warnings);
        let update = (!has_it).then(|| TrailStep::Update {
            bucket_region: region.clone(),
            observed: settings.clone(),
            if_refused,
            own_readers: !self.config.supplied_keys.contains_key(&region) && !self.config.log_readers.own_account,
        });
        keys.insert(region.clone(), key);
        Ok(Sealed { region, update })
    }

    /// Adds what a trail's own key, which works, lacks. `None`: it is not the sealing key of its
    /// Region, and no other is kept up.
    fn complete(
        &self,
        own: &KeyArn,
        trail: &TrailArn,
        warnings: &mut Vec<Warning>,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> Result<Option<Sealed>, Failure> {
        let region = own.region().clone();
        let key = match self.key_plan(&region, keys) {
            Ok(key) if key.key.as_ref() == Some(own) => key,
            Err(failure) if self.is_sealing_key(own) => return Err(failure),
            Ok(_) | Err(_) => return Ok(None),
        };
        self.admits(&key, own, trail)?;
        if key.steps.is_empty() {
            return Err(Failure::transient(format!("the policy of key `{own}` was read with a gap and then without")));
        }
        warnings.extend(key.warnings.iter().cloned());
        dedupe(warnings);
        keys.insert(region.clone(), key);
        Ok(Some(Sealed { region, update: None }))
    }

    fn key_plan(&self, region: &Region, keys: &BTreeMap<Region, KeyPlan>) -> Result<KeyPlan, Failure> {
        keys.get(region).map_or_else(|| self.sealing_key(region), |known| Ok(known.clone()))
    }

    /// Whether a key, as it will be after its steps, lets CloudTrail in for a trail: what to do if
    /// CloudTrail sees it differently, and what is doubtful.
    fn admits(&self, plan: &KeyPlan, key: &KeyArn, trail: &TrailArn) -> Result<(String, Vec<Warning>), Failure> {
        let bucket = "make sure that the bucket's policy lets CloudTrail write with this key";
        let statements = || {
            let statements = self.policy.statements_for_cloudtrail();
            format!("add these statements to the policy of key `{key}`: {statements}")
        };
        let unsure = || format!("{}; then {bucket}", statements());
        let sure = || format!("the policy of key `{key}` lets CloudTrail in, so look at the bucket: {bucket}");
        let Some(text) = &plan.policy else { return Ok((unsure(), vec![])) };
        match LetsIn::of(text, key, trail) {
            LetsIn::Yes { no_decrypt: None } => Ok((sure(), vec![])),
            LetsIn::Yes { no_decrypt: Some(why) } => Ok((sure(), vec![needs_decrypt(key, &why)])),
            LetsIn::Unclear(why) => Ok((unsure(), vec![unclear(key, &why)])),
            LetsIn::No { why, denied } => {
                let message = format!(
                    "the sealing key `{key}` cannot be used: its policy does not let CloudTrail encrypt for trail `{trail}` ({why})"
                );
                let remedy = match (denied, plan.owner) {
                    (true, _) => "let the statement that denies it spare `cloudtrail.amazonaws.com`; trailseal never alters a statement that stands".into(),
                    (false, KeyOwner::Exempt) => format!(
                        "take the tag `{}` off the key, so that trailseal may extend its policy, or {}",
                        self.config.exempt_tag,
                        statements()
                    ),
                    (false, _) => statements(),
                };
                Err(Failure::terminal(message, remedy))
            }
        }
    }
}

fn untouched(fate: Fate) -> TrailPlan {
    TrailPlan { findings: vec![], warnings: vec![], current_key: None, fate, sealing_region: None, steps: vec![] }
}

/// What is said of the trail's own key is not said again of the same key as the sealing key.
fn dedupe(warnings: &mut Vec<Warning>) {
    let mut seen: Vec<Warning> = Vec::new();
    warnings.retain(|warning| {
        let new = !seen.contains(warning);
        if new {
            seen.push(warning.clone());
        }
        new
    });
}

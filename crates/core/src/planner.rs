//! From findings to a plan: which key each trail gets, and what has to be done for it. Synchronous
//! functions of values.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::{Assessment, FindingId, Verdict, Warning, WarningId, doubt, unusable};
use crate::config::{Config, OWNER_TAG, ReadersLockedOut};
use crate::facts::{Candidates, Failure, KeyFacts, KeyState, Made, MendingFacts, Reading, SealingFacts, TrailSettings};
use crate::ids::{FunctionArn, KeyArn, Region, TrailArn, shorten};
use crate::plan::{Fate, KeyPlan, KeyStep, NewKey, Plan, TrailPlan, TrailStep};
use crate::policy::KeyPolicy;

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

/// Plans for all the trails together.
pub fn plan(trails: BTreeMap<TrailArn, Judged>, sealing: &SealingFacts, config: &Config, home: &FunctionArn) -> Plan {
    let planner = Planner { sealing, config, home, policy: KeyPolicy::of(config, home) };
    let mut keys = BTreeMap::new();
    let trails = trails.into_iter().map(|(arn, judged)| (arn, planner.trail(judged, &mut keys))).collect();
    Plan { keys, trails }
}

/// The Regions whose sealing keys planning will ask for.
pub fn regions_to_seal<'a>(trails: impl IntoIterator<Item = &'a Judged>) -> BTreeSet<Region> {
    let bucket_region = |judged: &Judged| match judged {
        Judged::Seen {
            assessment: Assessment { verdict: Verdict::Mend { seal: true, .. }, .. },
            mending: Some(MendingFacts { bucket_region: Some(Ok(region)), exempt: Ok(None) }),
            ..
        } => Some(region.clone()),
        _ => None,
    };
    trails.into_iter().filter_map(bucket_region).collect()
}

struct Planner<'a> {
    sealing: &'a SealingFacts,
    config: &'a Config,
    home: &'a FunctionArn,
    policy: KeyPolicy,
}

impl Planner<'_> {
    fn trail(&self, judged: Judged, keys: &mut BTreeMap<Region, KeyPlan>) -> TrailPlan {
        let without_steps =
            |fate| TrailPlan { findings: vec![], warnings: vec![], current_key: None, fate, steps: vec![] };
        let (settings, assessment, mending) = match judged {
            Judged::Gone => return without_steps(Fate::Gone),
            Judged::Unseen(failure) => return without_steps(Fate::Failed(failure)),
            Judged::Seen { settings, assessment, mending } => (settings, assessment, mending),
        };
        let Assessment { findings, mut warnings, verdict } = assessment;
        let mut steps = Vec::new();
        let current_key = settings.kms_key_id.clone();
        let fate = match (verdict, mending) {
            (Verdict::Compliant, _) => Fate::Compliant,
            (Verdict::OutOfScope(reason), _) => Fate::OutOfScope(reason),
            (_, Some(MendingFacts { exempt: Ok(Some(value)), .. })) => Fate::Exempt(shorten(&value, 256)),
            (_, Some(MendingFacts { exempt: Err(failure), .. })) => Fate::Failed(failure),
            (_, None) => Fate::Failed(Failure::transient("the trail's tags and bucket were not read")),
            (Verdict::Note, _) => Fate::Noted,
            (Verdict::Mend { seal, restart }, Some(mending)) => {
                let sealed = if seal { self.seal(&settings, mending, &mut warnings, keys).map(Some) } else { Ok(None) };
                let (update, fate) = match sealed {
                    Ok(update) => (update, Fate::Mended),
                    Err(failure) => (None, Fate::Failed(failure)),
                };
                // Logging first: it must not hang on how long sealing takes, nor on whether it is possible.
                steps.extend(restart.then(|| TrailStep::StartLogging { home_region: settings.home_region.clone() }));
                steps.extend(update);
                fate
            }
        };
        TrailPlan { findings, warnings, current_key, fate, steps }
    }

    fn seal(
        &self,
        settings: &TrailSettings,
        mending: MendingFacts,
        warnings: &mut Vec<Warning>,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> Result<TrailStep, Failure> {
        let unread =
            || Err(Failure::transient(format!("the Region of bucket `{}` was not read", settings.kept.bucket)));
        let bucket_region = mending.bucket_region.unwrap_or_else(unread)?;
        if self.config.readers_locked_out == ReadersLockedOut::Hold {
            return Err(Failure::terminal(
                format!(
                    "who reads bucket `{}` was not judged, and `TRAILSEAL_READERS_LOCKED_OUT` is `hold`",
                    settings.kept.bucket
                ),
                "make sure that everybody who reads these logs may decrypt with the sealing key, then set `TRAILSEAL_READERS_LOCKED_OUT` to `proceed`",
            ));
        }
        let key = match keys.get(&bucket_region) {
            Some(known) => known.clone(),
            None => self.sealing_key(&bucket_region)?,
        };
        warnings.extend(key.warnings.iter().cloned());
        keys.insert(bucket_region.clone(), key);
        Ok(TrailStep::Update { bucket_region, observed: settings.clone() })
    }

    /// The supplied key of that Region; else the key behind the alias; else a new one.
    fn sealing_key(&self, region: &Region) -> Result<KeyPlan, Failure> {
        let alias = &self.config.key_alias;
        let Some(Candidates { named, made, tagged: _ }) = self.sealing.keys.get(region) else {
            return Err(Failure::transient(format!("the sealing key of `{region}` was not looked for")));
        };
        let reading = named.as_ref().map_err(Clone::clone)?;
        match (self.config.supplied_keys.get(region), reading) {
            (Some(supplied), Reading::Absent) => Err(Failure::terminal(
                format!("key `{supplied}`, supplied for `{region}`, does not exist"),
                "put an existing key into `TRAILSEAL_KEY_ARNS`",
            )),
            // CloudTrail's refusal leaves the trail as it was, so it may be tried.
            (Some(supplied), Reading::Denied(failure)) => Ok(self.existing(
                supplied.clone(),
                false,
                Some(Warning {
                    id: WarningId::KeyUnreadable,
                    detail: format!(
                        "the supplied key `{supplied}` may not be read, so it was not judged: {}",
                        failure.message
                    ),
                }),
            )),
            (None, Reading::Denied(failure)) => Err(failure.clone()),
            (_, Reading::Known(key)) => {
                let named = if self.config.supplied_keys.contains_key(region) {
                    "`TRAILSEAL_KEY_ARNS`".into()
                } else {
                    format!("`{alias}`")
                };
                usable(key, region, &named)?;
                Ok(self.existing(key.metadata.arn.clone(), key.metadata.fresh, doubt(key, self.config, self.home)))
            }
            (None, Reading::Absent) => Ok(match made {
                None => self.new_key(),
                Some(Made { key, aliased: true }) => self.made(key.clone(), vec![]),
                Some(Made { key, aliased: false }) => self.made(key.clone(), vec![KeyStep::CreateAlias(alias.clone())]),
            }),
        }
    }

    fn existing(&self, key: KeyArn, fresh: bool, warning: Option<Warning>) -> KeyPlan {
        let if_refused = if warning.is_none() {
            format!(
                "the policy of key `{key}` lets CloudTrail in, so look at the bucket's policy: it must let CloudTrail write with this key"
            )
        } else {
            format!(
                "add these statements to the policy of key `{key}`, then make sure that the bucket's policy lets CloudTrail write with it: {}",
                self.policy.statements_for_cloudtrail()
            )
        };
        KeyPlan { key: Some(key), steps: vec![], warnings: warning.into_iter().collect(), if_refused, fresh }
    }

    /// A key that this run created, with what it still needs.
    fn made(&self, key: KeyArn, steps: Vec<KeyStep>) -> KeyPlan {
        KeyPlan { steps, ..self.existing(key, true, None) }
    }

    fn new_key(&self) -> KeyPlan {
        let mut tags = self.config.key_tags.clone();
        tags.insert(OWNER_TAG.0.into(), OWNER_TAG.1.into());
        let new = NewKey {
            policy: self.policy.clone(),
            description: "Encrypts the CloudTrail logs of this account; kept by trailseal. Deleting it makes them unreadable for good.".into(),
            tags,
        };
        KeyPlan {
            key: None,
            steps: vec![KeyStep::Create(new), KeyStep::EnableRotation, KeyStep::CreateAlias(self.config.key_alias.clone())],
            warnings: vec![],
            if_refused: "the new key's policy lets CloudTrail in, so look at the bucket's policy: it must let CloudTrail write with this key".into(),
            fresh: true,
        }
    }
}

/// A key that is supplied or found behind the alias is used as it is or not at all.
fn usable(key: &KeyFacts, region: &Region, named: &str) -> Result<(), Failure> {
    let arn = &key.metadata.arn;
    if let KeyState::Unknown(state) = &key.metadata.state {
        let message = format!(
            "the sealing key `{arn}` of `{region}`, named by {named}, is in state `{state}`, which is not known here"
        );
        return Err(Failure::terminal(message, "look at the key; a newer version of trailseal may know that state"));
    }
    let problems = unusable(&key.metadata);
    let Some(first) = problems.first() else { return Ok(()) };
    let details: Vec<&str> = problems.iter().map(|problem| problem.detail.as_str()).collect();
    let remedy = match first.id {
        FindingId::KeyDisabled => format!("enable it: `aws kms enable-key --region {region} --key-id {arn}`"),
        FindingId::KeyPendingDeletion => format!(
            "keep it: `aws kms cancel-key-deletion --region {region} --key-id {arn}`, then `aws kms enable-key --region {region} --key-id {arn}`; without it every log that it encrypted is lost"
        ),
        _ => format!("let {named} name a symmetric, customer-managed, enabled key in `{region}`"),
    };
    let message = format!("the sealing key of `{region}`, named by {named}, cannot be used: {}", details.join("; "));
    Err(Failure::terminal(message, remedy))
}

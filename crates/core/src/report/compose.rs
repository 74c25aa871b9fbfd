//! From the journal of a run to its answer: what became of each trail, and which failure is its error.

use super::account::AccountReport;
use super::answer::{Answer, Obstruction, Outcome, StepEffect, StepReport, TrailReport};
use super::wording;
use crate::config::Mode;
use crate::context::Context;
use crate::failure::{Class, Failure};
use crate::finding::Warning;
use crate::ids::{KeyArn, Region, TrailArn};
use crate::journal::{AliasState, Effect, Entry, Journal, StepResult, StepStatus};
use crate::observation::MalformedTrail;
use crate::plan::strays::Stray;
use crate::plan::{Disposition, KeyPlan, KeyStep, PolicyChange, Step, StepName, Subject, TrailPlan};
use crate::trigger::Origin;

impl Answer {
    /// The answer about every trail of a run.
    pub fn compose(context: &Context, origin: &Origin, journal: &Journal, report: AccountReport) -> Self {
        let mode = context.config.mode;
        let trails = journal.last_plans().into_keys().filter_map(|arn| trail_report(mode, arn, journal));
        let mut trails: Vec<TrailReport> = trails.chain(report.malformed.into_iter().map(malformed_trail)).collect();
        let name = |trail: &TrailReport| trail.trail.as_ref().map_or_else(Clone::clone, ToString::to_string);
        trails.sort_by_key(name);
        let mut strays = journal.strays();
        strays.extend(report.strays.into_iter().filter(|stray| !journal.uses_key(&stray.key)));
        let mut unique: Vec<Stray> = Vec::new();
        for stray in strays {
            if unique.iter().all(|known| known.key != stray.key) {
                unique.push(stray);
            }
        }
        let mut answer = Self::new(mode, origin, trails, unique);
        answer.unreported_failures = unreported_failures(&answer.trails, journal);
        answer.warnings = report.warnings;
        answer
    }
}

fn trail_report(mode: Mode, arn: &TrailArn, journal: &Journal) -> Option<TrailReport> {
    let (_, plan) = journal.last_plan(arn)?;
    let first = journal.first_plan(arn)?;
    let region = journal.sealing_region(arn);
    let acted = has_acted(arn, plan, region, journal);
    let error = error(arn, region, journal);
    let outcome = if error.is_some() { Outcome::Failed } else { outcome(mode, plan, acted) };
    let steps = steps(arn, plan, first, journal);
    let assigned = journal.assigned_key(arn).filter(|_| journal.abandoned(arn).is_none()).map(ToString::to_string);
    let key_plan = region.and_then(|region| journal.key_plan(region));
    let key_arn = match (mode, key_plan) {
        (Mode::DryRun, Some(key)) => key.key.as_ref().map(ToString::to_string),
        _ => assigned.or_else(|| current_key(arn, plan, first, journal)),
    };
    let updates = steps.iter().any(|step| step.step == StepName::UpdateTrail);
    let previous = first.current_key.clone();
    // A later pass that finds the trail compliant, or gone, does not contain the reason for what was done.
    let explains = acted || (outcome == Outcome::Failed && plan.findings.is_empty());
    let is_listed_here = region.is_some_and(|region| journal.reporting_trail(region) == Some(arn));
    Some(TrailReport {
        trail: Ok(arn.clone()),
        outcome,
        detail: match &plan.disposition {
            Disposition::Exempt(value) => Some(value.clone()),
            Disposition::OutOfScope { owner, unreadable } => Some(wording::out_of_scope(owner, unreadable.as_ref())),
            _ => None,
        },
        findings: if explains { &first.findings } else { &plan.findings }.clone(),
        previous_key_arn: previous.filter(|previous| updates && Some(previous) != key_arn.as_ref()),
        key_arn,
        steps,
        warnings: plan.warnings.clone(),
        error,
        key_owner: key_plan.map(|key| key.owner),
        account_readers: account_readers(arn, journal),
        obstructions: obstructions(arn, region, journal),
        policy_change: key_plan.filter(|_| is_listed_here).and_then(policy_change),
        new_key_policy: region
            .filter(|_| is_listed_here)
            .and_then(|region| journal.plans().iter().find_map(|plan| plan.keys.get(region)?.new_policy().cloned())),
    })
}

fn policy_change(key: &KeyPlan) -> Option<PolicyChange> {
    key.steps.iter().find_map(|step| match step {
        KeyStep::Extend(change) => Some(change.clone()),
        _ => None,
    })
}

/// The principals of the account that need permission to decrypt, as far as the bucket policy names them.
fn account_readers(arn: &TrailArn, journal: &Journal) -> Vec<String> {
    let update = journal.entries_of(Subject::Trail(arn.clone())).rev().find_map(|entry| match &entry.step {
        Step::Update(update) => Some(update),
        _ => None,
    });
    let update = update.filter(|update| update.account_readers_need_permission);
    update.map(|update| update.account_readers.clone()).unwrap_or_default()
}

/// Why AWS would refuse the planned steps for a trail and its sealing key.
fn obstructions(arn: &TrailArn, region: Option<&Region>, journal: &Journal) -> Vec<Obstruction> {
    let key = region.into_iter().flat_map(|region| journal.entries_of(Subject::Key(region.clone())));
    let entries = key.chain(journal.entries_of(Subject::Trail(arn.clone())));
    let obstruction = |entry: &Entry| match (&entry.step, &entry.key) {
        (Step::Update(update), _) if update.is_control_towers() => Some(Obstruction::ControlTower),
        (Step::Key(KeyStep::Extend(change)), Some(key)) if !change.rejected.is_empty() => {
            Some(Obstruction::RejectedStatements { key: key.clone(), reasons: change.rejected.clone() })
        }
        _ => None,
    };
    entries.filter_map(obstruction).collect()
}

/// The key that the trail names, as far as was read.
fn current_key(arn: &TrailArn, plan: &TrailPlan, first: &TrailPlan, journal: &Journal) -> Option<String> {
    let mut other = journal.entries_of(Subject::Trail(arn.clone())).filter_map(|entry| match &entry.result {
        StepResult::OtherKey(named) => Some(named.clone()),
        _ => None,
    });
    match plan.disposition {
        // What the last pass could not read, the first one did.
        Disposition::Failed(_) => plan.current_key.clone().or(first.current_key.clone()),
        _ => other.next_back().or(plan.current_key.clone()),
    }
}

/// A trail of which only its existence is known must not be omitted.
fn malformed_trail(malformed: MalformedTrail) -> TrailReport {
    TrailReport {
        trail: Err(malformed.name),
        outcome: Outcome::Failed,
        detail: None,
        findings: vec![],
        key_arn: None,
        previous_key_arn: None,
        steps: vec![],
        warnings: vec![],
        error: Some(malformed.failure),
        new_key_policy: None,
        policy_change: None,
        key_owner: None,
        account_readers: vec![],
        obstructions: vec![],
    }
}

fn outcome(mode: Mode, plan: &TrailPlan, acted: bool) -> Outcome {
    match &plan.disposition {
        Disposition::Gone => Outcome::Gone,
        Disposition::OutOfScope { .. } => Outcome::OutOfScope,
        Disposition::Exempt(_) => Outcome::Exempt,
        Disposition::Failed(_) => Outcome::Failed,
        Disposition::Remediate if mode == Mode::DryRun => Outcome::Planned,
        Disposition::Remediate => Outcome::Remediated,
        // A later pass finds compliant what an earlier one fixed.
        Disposition::Compliant | Disposition::Note if acted => Outcome::Remediated,
        Disposition::Note => Outcome::Noted,
        Disposition::Compliant => Outcome::Compliant,
    }
}

/// Whether something was done for the trail.
fn has_acted(arn: &TrailArn, plan: &TrailPlan, region: Option<&Region>, journal: &Journal) -> bool {
    let is_repaired = |region| own_repair(plan, region, journal).is_some();
    let rotates = |region| journal.enabled_rotation(region).is_some_and(|entry| is_on_own_key(plan, entry));
    journal.assigned_key(arn).is_some()
        || journal.is_restarted(arn)
        || region.is_some_and(|region| is_repaired(region) || rotates(region))
}

/// The last repair of the trail's key.
fn own_repair<'a>(plan: &TrailPlan, region: &Region, journal: &'a Journal) -> Option<&'a Entry> {
    journal.last_repair(region).filter(|entry| is_on_own_key(plan, entry))
}

/// Whether a step was on the key of the trail. Another principal may have assigned another key since.
fn is_on_own_key(plan: &TrailPlan, entry: &Entry) -> bool {
    plan.current_key.as_deref().is_none_or(|key| entry.key.as_ref().is_some_and(|own| own.as_str() == key))
}

/// What failed for a trail. A transient failure has precedence: the invocation is retried, and every other failure
/// recurs. Among failures of the same class, the first of these:
///
/// 1. The assignment of the key: `UpdateTrail`, else why it could not be planned, else why the run ended before it.
/// 2. An essential step of the sealing key. It also replaces the reason why the run ended.
/// 3. The start of logging.
/// 4. What is unknown about the repaired key of the trail.
/// 5. Other settings of the trail that changed.
/// 6. The rotation of the key.
fn error(arn: &TrailArn, region: Option<&Region>, journal: &Journal) -> Option<Failure> {
    let (pass, plan) = journal.last_plan(arn)?;
    if matches!(plan.disposition, Disposition::Gone | Disposition::OutOfScope { .. } | Disposition::Exempt(_)) {
        return None;
    }
    let obstacle = journal.obstacle(arn).map(wording::obstacle);
    let subject = Subject::Trail(arn.clone());
    let failed = |entry: &&Entry| entry.pass == pass && !entry.resolves;
    let last_error = |name: StepName| {
        let entries = journal.entries_of(subject.clone()).filter(failed);
        entries.filter(move |entry| entry.step.name() == name).filter_map(step_error).next_back()
    };
    let key = region.and_then(|region| step_error(journal.key_failure(region, pass)?));
    let abandoned = journal.abandoned(arn).map(wording::abandoned);
    let abandoned = abandoned.map(|failure| key.clone().unwrap_or(failure));
    let errors = [
        last_error(StepName::UpdateTrail).or(obstacle).or(abandoned),
        key,
        last_error(StepName::StartLogging),
        region.and_then(|region| unverified_repair(arn, region, journal)),
        setting_changes(arn, journal),
        region.and_then(|region| rotation_error(region, journal)),
    ];
    let mut failures: Vec<Failure> = errors.into_iter().flatten().collect();
    failures.sort_by_key(|failure| failure.class == Class::Terminal);
    failures.into_iter().next()
}

fn step_error(entry: &Entry) -> Option<Failure> {
    match &entry.result {
        StepResult::OtherKey(named) => Some(wording::other_key(entry, named)),
        _ => Some(wording::step_failure(entry, entry.failure()?)),
    }
}

/// The trail's own key was repaired, and nothing shows that CloudTrail can use it. A key that CloudTrail accepted in an
/// update of the trail is verified.
fn unverified_repair(arn: &TrailArn, region: &Region, journal: &Journal) -> Option<Failure> {
    let (pass, plan) = journal.last_plan(arn)?;
    let repair = own_repair(plan, region, journal).filter(|_| journal.assigned_key(arn).is_none())?;
    let key = repair.key.as_ref()?;
    if let StepResult::Done(Effect::Unverified(failure)) = &repair.result
        && repair.pass == pass
    {
        return Some(wording::unverified_repair(key, failure));
    }
    let is_about_key = |warning: &&Warning| warning.key_of_unknown_access() == Some(key.as_str());
    plan.warnings.iter().find(is_about_key).map(|warning| wording::unknown_access(key, warning))
}

/// Other settings of a trail changed while it got its key: no later pass undoes that.
fn setting_changes(arn: &TrailArn, journal: &Journal) -> Option<Failure> {
    let mut changes = journal.entries_of(Subject::Trail(arn.clone())).map(Entry::setting_changes);
    changes.rfind(|changes| !changes.is_empty()).map(|changes| wording::setting_changes(arn, changes))
}

/// Rotation that could not be enabled. A key that lost the alias does not count.
fn rotation_error(region: &Region, journal: &Journal) -> Option<Failure> {
    let created = journal.created_keys(region);
    let lost: Vec<&KeyArn> =
        created.iter().filter(|created| created.alias == AliasState::Lost).map(|created| &created.key).collect();
    let is_lost = |entry: &&Entry| entry.key.as_ref().is_some_and(|key| lost.contains(&key));
    let subject = Subject::Key(region.clone());
    let mut entries = journal.entries_of(subject).filter(|entry| entry.step.name() == StepName::EnableRotation);
    entries.rfind(|entry| !is_lost(entry)).and_then(step_error)
}

/// Keys that may exist, and failures that are not the error of a trail.
fn unreported_failures(trails: &[TrailReport], journal: &Journal) -> Vec<Failure> {
    let is_unreported = |failure: &Failure| trails.iter().all(|trail| trail.error.as_ref() != Some(failure));
    let unconfirmed = journal.key_regions().flat_map(|region| {
        let steps = journal.steps(Subject::Key(region.clone())).into_iter();
        let creates = steps.filter(|entry| entry.step.name() == StepName::CreateKey);
        let unconfirmed = creates.filter(|entry| matches!(entry.result, StepResult::Unconfirmed { .. }));
        unconfirmed.filter_map(step_error).next_back().map(|failure| Failure { remedy: None, ..failure })
    });
    let rotation = journal.key_regions().filter_map(|region| rotation_error(region, journal));
    let arns = trails.iter().filter_map(|trail| trail.trail.as_ref().ok());
    let settings = arns.filter_map(|arn| setting_changes(arn, journal));
    unconfirmed.chain(rotation.chain(settings).filter(is_unreported)).collect()
}

/// In the order in which they are performed: the start of logging, the steps of every key that is listed under this trail,
/// the assignment of the key.
fn steps(arn: &TrailArn, plan: &TrailPlan, first: &TrailPlan, journal: &Journal) -> Vec<StepReport> {
    let report = |entry: &Entry| StepReport {
        step: entry.step.name(),
        status: entry.status(),
        detail: wording::detail(entry),
        effect: match entry.may_have_effect() {
            false => StepEffect::None,
            true if journal.is_on_new_key(entry) => StepEffect::NewKey,
            true => StepEffect::InUse,
        },
    };
    let own = journal.steps(Subject::Trail(arn.clone()));
    let (restarts, updates): (Vec<&Entry>, Vec<&Entry>) = own.iter().partition(|entry| entry.step == Step::Restart);
    let mut steps: Vec<StepReport> = restarts.into_iter().map(report).collect();
    let sealing_region = journal.sealing_region(arn);
    for region in journal.key_regions() {
        let Some(reporting) = journal.reporting_trail(region) else { continue };
        let key_steps = journal.steps(Subject::Key(region.clone())).into_iter().map(report);
        if reporting == arn {
            steps.extend(key_steps);
        } else if sealing_region == Some(region) {
            let listed = |step: StepReport| StepReport {
                status: StepStatus::NotNeeded,
                detail: wording::listed_under(reporting),
                effect: StepEffect::None,
                ..step
            };
            steps.extend(key_steps.map(listed));
        }
    }
    steps.extend(updates.into_iter().map(report));
    let is_settled = matches!(plan.disposition, Disposition::Compliant | Disposition::Note);
    if let (true, None, Some(_), Some(key)) = (is_settled, journal.assigned_key(arn), sealing_region, &plan.current_key)
        && first.current_key.as_ref() != Some(key)
    {
        let detail = wording::superseded(key);
        let (step, status) = (StepName::UpdateTrail, StepStatus::NotNeeded);
        steps.push(StepReport { step, status, detail, effect: StepEffect::None });
    }
    steps
}

//! What holds for every decision, by the guarantee that it defends.

use std::any::type_name;

use trailseal_core::iam::Document;
use trailseal_core::ids::KeyArn;
use trailseal_core::key_policy::{KeyAdministrator, KeyPolicy};
use trailseal_core::observation::Reading;
use trailseal_core::plan::{Disposition, KeyPlan, KeyStep, PolicyChange, StepName, TrailPlan};

use crate::case::{Access, Case, Kind, Place, Policy, State, Tags, TrailKey};
use crate::decision::{Decision, HERE};

/// An invariant.
pub(crate) struct Invariant {
    /// The path of its function.
    pub(crate) name: &'static str,
    pub(crate) holds: Box<dyn Fn(&Decision<'_>) -> bool>,
}

fn invariant<F: Fn(&Decision<'_>) -> bool + 'static>(holds: F) -> Invariant {
    Invariant { name: type_name::<F>(), holds: Box::new(holds) }
}

pub(crate) fn invariants() -> [Invariant; 22] {
    [
        invariant(a_trail_gets_only_a_usable_key),
        invariant(a_trail_gets_no_key_that_denies_cloudtrail),
        invariant(an_update_names_the_trail_as_it_was_read),
        invariant(a_usable_key_stays),
        invariant(a_key_that_cloudtrail_cannot_use_is_not_accepted),
        invariant(a_trail_without_a_key_is_encrypted_if_possible),
        invariant(a_changed_key_settles),
        invariant(only_trailseals_keys_are_changed),
        invariant(a_key_policy_only_gains_statements),
        invariant(a_policy_that_is_written_can_be_changed_again),
        invariant(only_a_key_that_is_off_is_restored),
        invariant(a_key_that_is_used_gets_what_its_policy_lacks),
        invariant(only_rotation_that_is_off_is_enabled),
        invariant(a_key_is_created_only_without_a_candidate),
        invariant(only_a_key_as_trailseal_creates_it_is_adopted),
        invariant(the_alias_is_created_for_a_key_without_it),
        invariant(every_extra_key_is_reported),
        invariant(the_mode_changes_no_decision),
        invariant(an_executed_plan_leaves_nothing_to_plan),
        invariant(a_failure_changes_nothing),
        invariant(a_key_is_planned_only_for_a_trail),
        invariant(every_change_has_a_finding),
    ]
}

// Guarantee: never degrades logging.

fn a_trail_gets_only_a_usable_key(it: &Decision<'_>) -> bool {
    let is_restored = it.plans(StepName::RestoreKey) && it.case.is_restorable();
    !it.assigns_this_key() || (it.case.is_fit() && (it.case.state == State::Enabled || is_restored))
}

fn a_trail_gets_no_key_that_denies_cloudtrail(it: &Decision<'_>) -> bool {
    let policy = it.case.policy;
    let access = if it.extension().is_some() { policy.cloudtrail_after_extension() } else { policy.cloudtrail() };
    let claims = it.trail_plan().update.as_ref().is_some_and(|update| update.access_verified);
    !it.assigns_this_key() || access == Access::Allowed || (access == Access::Unclear && !claims)
}

fn an_update_names_the_trail_as_it_was_read(it: &Decision<'_>) -> bool {
    let update = it.trail_plan().update.as_ref();
    update.is_none_or(|update| update.observed == it.trail.facts.settings && update.bucket_region.as_str() == HERE)
}

fn a_usable_key_stays(it: &Decision<'_>) -> bool {
    let Case { state, policy, rotates, .. } = it.case;
    let is_usable = it.case.is_fit() && state == State::Enabled && policy.cloudtrail() == Access::Allowed;
    // Nothing is added to a policy that no principal can change, and that is reported.
    let lacks_something = !rotates || policy.gains() || policy == Policy::Locked;
    let needs_nothing = !it.case.has_trailseals_tag() || !lacks_something;
    let is_unchanged = it.plan.keys.is_empty() && it.trail_plan().disposition == Disposition::Compliant;
    it.case.trail_key == TrailKey::None || !is_usable || !needs_nothing || is_unchanged
}

fn a_key_that_cloudtrail_cannot_use_is_not_accepted(it: &Decision<'_>) -> bool {
    let is_broken = !it.case.is_fit() || matches!(it.case.state, State::Disabled | State::PendingDeletion);
    let is_accepted = matches!(it.trail_plan().disposition, Disposition::Compliant | Disposition::Note);
    !is_broken || !is_accepted
}

fn a_trail_without_a_key_is_encrypted_if_possible(it: &Decision<'_>) -> bool {
    let is_possible = it.case.is_only_tagged() || it.case.can_seal();
    it.case.trail_key == TrailKey::This || it.trail_plan().update.is_some() == is_possible
}

fn a_changed_key_settles(it: &Decision<'_>) -> bool {
    let changes = |plan: &KeyPlan| plan.steps.iter().any(KeyStep::is_essential);
    it.key_plan().is_none_or(|plan| plan.settling || !changes(plan))
}

// Guarantee: never weakens or locks a key.

fn only_trailseals_keys_are_changed(it: &Decision<'_>) -> bool {
    let is_new = it.plans(StepName::CreateKey);
    it.case.is_maintained() || is_new || it.key_plan().is_none_or(|plan| plan.steps.is_empty())
}

fn a_key_policy_only_gains_statements(it: &Decision<'_>) -> bool {
    let Some(PolicyChange { before, extension, .. }) = it.extension() else { return true };
    let Some(Reading::Known(Ok(read))) = &it.key.policy else { return false };
    let raw = |document: &Document| -> Vec<String> {
        document.statements().iter().map(|statement| statement.raw().to_owned()).collect()
    };
    let (old, new) = (raw(read), raw(&extension.document));
    let changed = old.iter().zip(&new).filter(|(old, new)| old != new).count();
    let may_change = usize::from(it.case.policy == Policy::DeletedRole);
    let added = new.get(old.len()..).map(<[String]>::len);
    before == read && added == Some(extension.added.len()) && changed == may_change
}

fn a_policy_that_is_written_can_be_changed_again(it: &Decision<'_>) -> bool {
    let own = KeyPolicy::new(&it.world.enforce.config, &it.world.enforce.function_arn);
    it.extension().is_none_or(|PolicyChange { extension, administrator, .. }| {
        *administrator != KeyAdministrator::NoPrincipal
            && own.administrator(&extension.document) != KeyAdministrator::NoPrincipal
            && extension.fits()
    })
}

fn only_a_key_that_is_off_is_restored(it: &Decision<'_>) -> bool {
    match it.step(StepName::RestoreKey) {
        Some(KeyStep::Restore { pending_deletion, .. }) => {
            it.case.is_restorable() && *pending_deletion == (it.case.state == State::PendingDeletion)
        }
        _ => true,
    }
}

fn a_key_that_is_used_gets_what_its_policy_lacks(it: &Decision<'_>) -> bool {
    let is_used = it.key_plan().is_some_and(|plan| plan.key.as_ref() == Some(&it.world.arn));
    let gains = it.case.is_maintained() && it.case.policy.gains();
    !is_used || it.extension().is_some() == gains
}

fn only_rotation_that_is_off_is_enabled(it: &Decision<'_>) -> bool {
    let is_unfinished = it.plans(StepName::CreateKey) || it.plans(StepName::AdoptKey);
    let can_rotate = it.case.kind == Kind::Symmetric && !it.case.rotates && it.case.is_maintained();
    !it.plans(StepName::EnableRotation) || is_unfinished || can_rotate
}

// Guarantee: at most one trailseal key in use.

fn a_key_is_created_only_without_a_candidate(it: &Decision<'_>) -> bool {
    !it.plans(StepName::CreateKey) || (it.case.is_only_tagged() && !it.case.is_adoptable())
}

fn only_a_key_as_trailseal_creates_it_is_adopted(it: &Decision<'_>) -> bool {
    it.plans(StepName::AdoptKey) == (it.case.is_adoptable() && it.trail_plan().disposition == Disposition::Remediate)
}

fn the_alias_is_created_for_a_key_without_it(it: &Decision<'_>) -> bool {
    let lacks_it = it.plans(StepName::CreateKey)
        || it.plans(StepName::AdoptKey)
        || (it.case.place == Place::CreatedWithoutAlias && it.key_plan().is_some());
    it.plans(StepName::CreateAlias) == lacks_it
}

fn every_extra_key_is_reported(it: &Decision<'_>) -> bool {
    let Case { place, tags, state, trail_key, .. } = it.case;
    let is_extra = matches!(place, Place::Tag | Place::TagAndGrants)
        && tags == Tags::Trailseals
        && state != State::PendingDeletion
        && trail_key == TrailKey::None
        && !it.case.is_adoptable();
    let reported: Vec<&KeyArn> = it.plan.strays.iter().map(|stray| &stray.key).collect();
    reported == if is_extra { vec![&it.world.arn] } else { vec![] }
}

// Guarantee: dry-run reports what enforce does.

fn the_mode_changes_no_decision(it: &Decision<'_>) -> bool {
    it.plan == it.dry_run
}

// Guarantee: level-triggered.

fn an_executed_plan_leaves_nothing_to_plan(it: &Decision<'_>) -> bool {
    if it.key_plan().is_none() && it.trail_plan().update.is_none() {
        return true;
    }
    let next = it.next_plan();
    let trail = &next.trails[it.trail.arn()];
    let is_settled = matches!(trail.disposition, Disposition::Compliant | Disposition::Note);
    next.keys.is_empty() && is_settled && trail.steps().count() == 0
}

// Guarantee: reports what it did and why.

fn a_failure_changes_nothing(it: &Decision<'_>) -> bool {
    let TrailPlan { disposition, update, .. } = it.trail_plan();
    !matches!(disposition, Disposition::Failed(_)) || (update.is_none() && it.plan.keys.is_empty())
}

fn a_key_is_planned_only_for_a_trail(it: &Decision<'_>) -> bool {
    let TrailPlan { disposition, sealing_region, .. } = it.trail_plan();
    let is_remediated = *disposition == Disposition::Remediate;
    it.key_plan().is_some() == is_remediated && is_remediated == sealing_region.is_some()
}

fn every_change_has_a_finding(it: &Decision<'_>) -> bool {
    let TrailPlan { findings, .. } = it.trail_plan();
    !findings.is_empty() || (it.plan.keys.is_empty() && it.trail_plan().update.is_none())
}

//! Keys with trailseal's tag: which one is adopted, which are strays, and what is unknown about them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use trailseal_core::failure::Failure;
use trailseal_core::finding::{Finding, Warning};
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::journal::Journal;
use trailseal_core::observation::{KeyObservation, KeyState, KeyTags, KeyUse, Reading, StrayScan, TaggedKey};
use trailseal_core::plan::strays::find_strays;
use trailseal_core::plan::{Adoption, Disposition, KeyStep, Obstacle, Plan};
use trailseal_core::report::AccountReport;

#[expect(dead_code, reason = "each test uses some of it")]
mod scenario;

use scenario::{Account, Scenario, context, denied, key, region, unanswered};

const HERE: &str = "eu-west-1";

fn with_id(id: u8) -> KeyArn {
    format!("arn:aws:kms:{HERE}:123456789012:key/{id:08}-0000-4000-8000-000000000000").parse().unwrap()
}

fn here() -> Region {
    region(HERE)
}

/// A finished key that lost its alias, a day old, and no trail uses it.
fn tagged(id: u8) -> TaggedKey {
    let key = key(&with_id(id), &context(&[]));
    TaggedKey { key, aliases: vec![], has_grants: false, usage: KeyUse::Unused }
}

fn with(id: u8, change: impl FnOnce(&mut TaggedKey)) -> TaggedKey {
    let mut tagged = tagged(id);
    change(&mut tagged);
    tagged
}

fn unreadable() -> Failure {
    denied("kms:ListResourceTags", "read the tags of the key")
}

fn not_trailseals(tagged: &mut TaggedKey) {
    tagged.key.tags = Ok(KeyTags::default());
}

/// The keys, neither of which can be adopted unless `grants` is false.
fn account(tagged: Vec<TaggedKey>) -> Account {
    let mut account = Account::new([Scenario::new("audit", HERE, HERE)]);
    account.candidates.get_mut(&here()).unwrap().tagged = Ok(tagged);
    account
}

fn planned(tagged: Vec<TaggedKey>) -> Plan {
    let mut journal = Journal::default();
    account(tagged).begin_pass(&context(&[]), &mut journal);
    journal.plans()[0].clone()
}

fn adopted(tagged: Vec<TaggedKey>) -> Option<(KeyArn, Adoption)> {
    let plan = planned(tagged).keys.remove(&here()).unwrap();
    match plan.steps[0] {
        KeyStep::Adopt(adoption) => Some((plan.key.unwrap(), adoption)),
        _ => None,
    }
}

fn strays(tagged: &[TaggedKey]) -> Vec<KeyArn> {
    find_strays(tagged).into_iter().map(|stray| stray.key).collect()
}

#[test]
fn only_an_unclaimed_key_that_no_trail_uses_is_a_stray() {
    assert_eq!(strays(&[tagged(1), tagged(2)]), [with_id(1), with_id(2)]);
    assert_eq!(strays(&[with(1, |it| it.key.metadata.state = KeyState::Disabled)]), [with_id(1)]);
    let changes: [fn(&mut TaggedKey); 6] = [
        |it| it.key.metadata.state = KeyState::PendingDeletion,
        |it| it.key.metadata.recent = true,
        |it| it.aliases = vec!["alias/other".to_owned()],
        |it| it.usage = KeyUse::Used,
        |it| it.usage = KeyUse::Unknown(unreadable()),
        not_trailseals,
    ];
    for change in changes {
        assert_eq!(strays(&[with(1, change)]), []);
    }
}

#[test]
fn a_plan_reports_the_keys_that_it_does_not_use() {
    let grants = |id| with(id, |it| it.has_grants = true);
    let reported = |plan: &Plan| -> Vec<KeyArn> { plan.strays.iter().map(|stray| stray.key.clone()).collect() };
    assert_eq!(reported(&planned(vec![tagged(1), grants(2)])), [with_id(2)], "the first is adopted");
    assert_eq!(reported(&planned(vec![grants(1), grants(2)])), [with_id(1), with_id(2)]);
    // Another key has the alias: nothing is adopted now.
    let mut account = account(vec![]).with_sealing_key(key(&with_id(9), &context(&[])));
    account.candidates.get_mut(&here()).unwrap().tagged = Ok(vec![tagged(9), grants(2)]);
    let mut journal = Journal::default();
    account.begin_pass(&context(&[]), &mut journal);
    assert_eq!(reported(&journal.plans()[0]), [with_id(2)], "the sealing key is none");
    // The trail cannot be planned, and the next run adopts the first key.
    let mut account = self::account(vec![tagged(1), grants(2)]);
    account.scenarios[0].bucket.policy = Reading::Absent;
    let mut journal = Journal::default();
    account.begin_pass(&context(&[]), &mut journal);
    assert!(journal.plans()[0].keys.is_empty());
    assert_eq!(reported(&journal.plans()[0]), [with_id(2)]);
}

#[test]
fn a_key_in_use_is_adopted_then_the_oldest() {
    let aged = |id, created| with(id, |it| it.key.metadata.created = created);
    let used = with(3, |it| it.usage = KeyUse::Used);
    let key = |keys: Vec<TaggedKey>| adopted(keys).map(|(key, adoption)| (key, adoption.in_use));
    assert_eq!(key(vec![aged(1, Some(20)), aged(2, Some(10)), used]), Some((with_id(3), true)));
    assert_eq!(key(vec![aged(1, Some(20)), aged(2, Some(10)), aged(3, None)]), Some((with_id(2), false)));
    assert_eq!(key(vec![aged(2, Some(10)), aged(1, Some(10))]), Some((with_id(1), false)), "then the first by name");
}

#[test]
fn only_a_key_as_trailseal_creates_it_is_adopted() {
    assert!(adopted(vec![tagged(1)]).is_some());
    let changes: [fn(&mut TaggedKey); 9] = [
        |it| it.has_grants = true,
        |it| it.aliases = vec!["alias/other".to_owned()],
        |it| it.key.metadata.state = KeyState::Disabled,
        |it| it.key.metadata.spec = Some("RSA_2048".to_owned()),
        |it| it.key.metadata.origin = Some("EXTERNAL".to_owned()),
        |it| it.key.metadata.multi_region = true,
        |it| it.key.policy = Some(Reading::Absent),
        |it| it.key.tags = Ok(KeyTags { managed_by_trailseal: true, exempt: Some("SEC-42".to_owned()) }),
        not_trailseals,
    ];
    for change in changes {
        assert_eq!(adopted(vec![with(1, change)]), None);
    }
}

#[test]
fn only_the_one_recent_key_can_be_that_of_a_lost_response() {
    let created = |recent: [bool; 2]| {
        let key = |id: u8, recent| {
            with(id, |it| (it.key.metadata.recent, it.key.metadata.created) = (recent, Some(i64::from(id))))
        };
        adopted(vec![key(1, recent[0]), key(2, recent[1])]).unwrap().1.created_at_if_only_recent
    };
    assert_eq!(created([true, false]), Some(1));
    assert_eq!(created([true, true]), None);
    assert_eq!(created([false, true]), None);
}

/// The keys of which a plan says that they may be strays.
fn unknown_in_plan(tagged: Vec<TaggedKey>) -> Vec<KeyArn> {
    unknown(&planned(tagged).keys[&here()].warnings)
}

fn unknown(warnings: &[Warning]) -> Vec<KeyArn> {
    let key = |warning: &Warning| match warning {
        Warning::StrayUnknown { key, .. } => Some(key.clone()),
        _ => None,
    };
    warnings.iter().filter_map(key).collect()
}

#[test]
fn a_key_that_may_be_a_stray_is_a_warning() {
    let hidden = |it: &mut TaggedKey| it.key.tags = Err(unreadable());
    let unseen = |it: &mut TaggedKey| (it.usage, it.has_grants) = (KeyUse::Unknown(unreadable()), true);
    assert_eq!(unknown_in_plan(vec![with(1, hidden)]), [with_id(1)]);
    assert_eq!(unknown_in_plan(vec![with(1, unseen)]), [with_id(1)]);
    for change in [
        (|it| it.usage = KeyUse::Used) as fn(&mut TaggedKey),
        |it| it.aliases = vec!["alias/other".to_owned()],
        |it| it.key.metadata.state = KeyState::PendingDeletion,
    ] {
        assert_eq!(unknown_in_plan(vec![with(1, |it| (hidden(it), change(it)).1)]), []);
    }
    assert_eq!(unknown_in_plan(vec![with(1, |it| (unseen(it), not_trailseals(it)).1)]), []);
    let adoptable = with(1, |it| it.usage = KeyUse::Unknown(unreadable()));
    assert_eq!(unknown_in_plan(vec![adoptable]), [], "it is adopted");
    assert_eq!(unknown_in_plan(vec![tagged(1), with(2, hidden)]), [with_id(2)]);
}

#[test]
fn a_sweep_names_each_unknown_key_once() {
    let hidden = |id| with(id, |it| it.key.tags = Err(unreadable()));
    let report = |scan: &StrayScan, journal: &Journal| unknown(&AccountReport::new(vec![], scan, journal).warnings);
    let transient = unanswered("kms:DescribeKey", "read the key");
    let scan = StrayScan {
        keys: vec![hidden(1), with(2, |it| (it.key.tags, it.key.metadata.recent) = (Err(unreadable()), true))],
        unreadable_keys: vec![(with_id(3), unreadable()), (with_id(4), transient)],
        ..StrayScan::default()
    };
    let mut merged = StrayScan::default();
    merged.merge(scan.clone());
    assert_eq!(merged, scan);
    assert_eq!(report(&scan, &Journal::default()), [with_id(1), with_id(3)]);
    // A trail's report contains the first, and the run uses the second.
    let mut journal = Journal::default();
    account(vec![hidden(1)]).begin_pass(&context(&[]), &mut journal);
    assert_eq!(report(&scan, &journal), [with_id(3)]);
    let used = account(vec![]).with_sealing_key(key(&with_id(3), &context(&[])));
    let mut journal = Journal::default();
    used.begin_pass(&context(&[]), &mut journal);
    assert_eq!(report(&scan, &journal), [with_id(1)]);
}

/// What happens to a trail whose own key is this one.
fn disposition(own: KeyObservation, sealing_key: Option<KeyObservation>) -> (Disposition, Vec<Finding>) {
    let mut account = Account::new([Scenario::new("audit", HERE, HERE).with_key(own)]);
    if let Some(key) = sealing_key {
        account = account.with_sealing_key(key);
    }
    let mut journal = Journal::default();
    account.begin_pass(&context(&[]), &mut journal);
    let plan = journal.plans()[0].trails.values().next().unwrap().clone();
    (plan.disposition, plan.findings)
}

#[test]
fn only_a_sealing_keys_rotation_is_enabled() {
    let off = |id| KeyObservation { rotation: Some(Ok(false)), ..key(&with_id(id), &context(&[])) };
    let rotating = || key(&with_id(2), &context(&[]));
    assert_eq!(disposition(off(1), Some(off(1))).0, Disposition::Remediate);
    assert_eq!(disposition(off(1), Some(rotating())), (Disposition::Compliant, vec![]), "another key has the alias");
    let unused = KeyState::PendingDeletion;
    let mut broken = rotating();
    broken.metadata.state = unused;
    broken.policy = Some(Reading::Absent);
    assert_eq!(disposition(off(1), Some(broken)).0, Disposition::Compliant);
}

#[test]
fn reads_that_contradict_each_other_are_retried() {
    let off = KeyObservation { rotation: Some(Ok(false)), ..key(&with_id(1), &context(&[])) };
    let on = key(&with_id(1), &context(&[]));
    let Disposition::Failed(obstacle) = disposition(off, Some(on)).0 else { panic!("the reads differ") };
    assert_eq!(obstacle, Obstacle::Inconsistent(with_id(1)));
    assert!(
        obstacle.class()
            == Obstacle::NotRead("arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap()).class()
    );
    let failed = Obstacle::ReadFailed(unreadable());
    assert!(obstacle.class() != failed.class(), "a denied read is not retried");
    assert_eq!(Obstacle::ReadFailed(unanswered("kms:DescribeKey", "read the key")).class(), obstacle.class());
}

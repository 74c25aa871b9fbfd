//! The planner's decision about a sealing key, for every combination of what it depends on: nothing is sampled.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::thread;

mod case;
mod decision;
mod invariants;
#[expect(dead_code, reason = "each test uses some of it")]
#[path = "../scenario/mod.rs"]
mod scenario;

use trailseal_core::failure::Failure;
use trailseal_core::journal::Journal;
use trailseal_core::observation::{Candidates, Reading};
use trailseal_core::plan::StepName;

use case::{CASES, Case, PLACES, Place, cases};
use decision::{HERE, World};
use invariants::invariants;
use scenario::{Account, Scenario, context, denied, key, new_key, region, unanswered};

/// The cases that violate an invariant, by its name.
type Violations = BTreeMap<&'static str, Vec<Case>>;

fn check(place: Place) -> (usize, Violations) {
    let (world, cases, invariants) = (World::new(place), cases(place), invariants());
    let mut violations = Violations::new();
    for case in &cases {
        let decision = world.decision(*case);
        for violated in invariants.iter().filter(|invariant| !(invariant.holds)(&decision)) {
            violations.entry(violated.name).or_default().push(*case);
        }
    }
    (cases.len(), violations)
}

#[test]
fn every_decision_about_a_sealing_key_holds() {
    let checked: Vec<(usize, Violations)> = thread::scope(|scope| {
        let threads = PLACES.map(|place| scope.spawn(move || check(place)));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(checked.iter().map(|(count, _)| count).sum::<usize>(), CASES);
    let violations = checked.iter().flat_map(|(_, violations)| violations);
    let text = |(name, cases): (&&str, &Vec<Case>)| format!("{name}: {} cases, such as {:?}\n", cases.len(), cases[0]);
    let text: String = violations.map(text).collect();
    assert!(text.is_empty(), "violated invariants:\n{text}");
}

/// Every combination of reads that show, hide or fail to show a candidate: the named key, the tagged keys, the trail's
/// exempt tag and the Region of its bucket.
#[test]
fn a_key_is_created_only_if_no_read_can_hide_one() {
    let denied = || denied("kms:DescribeKey", "read the key");
    let throttled = || unanswered("kms:DescribeKey", "read the key");
    let malformed = || Failure::terminal("the response is malformed", "report it");
    let sealing_key = || key(&new_key(&region(HERE)), &context(&[]));
    let named =
        [Ok(Reading::Known(sealing_key())), Ok(Reading::Absent), Ok(Reading::Denied(denied())), Err(throttled())];
    let tagged = [Ok(vec![]), Err(denied()), Err(throttled()), Err(malformed())];
    let exempt_tags = [Ok(None), Ok(Some("SEC-42".to_owned())), Err(denied())];
    let mut created = Vec::new();
    let mut count = 0_usize;
    for (named_index, named) in named.iter().enumerate() {
        for (tagged_index, tagged) in tagged.iter().enumerate() {
            for (exempt_index, exempt_tag) in exempt_tags.iter().enumerate() {
                for (region_index, bucket_region) in [Ok(region(HERE)), Err(denied())].into_iter().enumerate() {
                    let mut scenario = Scenario::new("audit", HERE, HERE);
                    (scenario.exempt_tag, scenario.bucket_region) = (exempt_tag.clone(), bucket_region);
                    let candidates = Candidates { named: named.clone(), tagged: tagged.clone(), created: None };
                    let candidates = BTreeMap::from([(region(HERE), candidates)]);
                    let mut journal = Journal::default();
                    Account { scenarios: vec![scenario], candidates }.begin_pass(&context(&[]), &mut journal);
                    let steps: Vec<StepName> = journal.plans()[0].steps().map(|(_, step, _)| step.name()).collect();
                    if steps.contains(&StepName::CreateKey) {
                        created.push([named_index, tagged_index, exempt_index, region_index]);
                    }
                    assert!(steps.is_empty() || (exempt_index, region_index) == (0, 0), "{steps:?}");
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 4 * 4 * 3 * 2);
    // The alias does not exist, and the tag index is empty, or denied to the role for good.
    assert_eq!(created, [[1, 0, 0, 0], [1, 1, 0, 0]]);
}

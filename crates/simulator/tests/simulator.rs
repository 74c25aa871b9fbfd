//! The simulator itself: replay, shrinking, and the seeds that found a defect. `make simulate` runs many more seeds.

use trailseal_simulator::{Scenario, shrink, simulate};

#[test]
fn a_seed_replays_to_the_byte() {
    for seed in 0..8 {
        let [first, second] = [(); 2].map(|()| simulate(&Scenario::new(seed), true));
        assert!(first.timeline.len() > 10, "seed {seed}");
        assert_eq!(first.timeline, second.timeline, "seed {seed}");
    }
}

#[test]
fn recording_does_not_change_a_run() {
    for seed in 0..8 {
        let [silent, recorded] = [false, true].map(|records| simulate(&Scenario::new(seed), records));
        assert_eq!(silent.calls, recorded.calls, "seed {seed}");
    }
}

#[test]
fn a_scenario_shrinks_to_what_the_failure_needs() {
    let creates_key = |scenario: &Scenario| {
        simulate(scenario, true).timeline.iter().any(|line| line.contains("kms:CreateKey") && line.ends_with("→ 200"))
    };
    let seed = (0..).find(|seed| creates_key(&Scenario::new(*seed))).unwrap();
    let smallest = shrink(&Scenario::new(seed), creates_key);
    assert!(creates_key(&smallest));
    assert_eq!(smallest.elements(), (1, 0, 0), "one trail, and nothing that disturbs the last sweep");
}

/// An `UpdateTrail` took effect when the invocation's time had run out, and the retry found the trail compliant.
#[test]
fn a_change_that_outlasts_its_invocation_is_alerted() {
    assert_eq!(simulate(&Scenario::new(657), false).violations, []);
}

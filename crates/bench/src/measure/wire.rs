//! AWS calls and sequential rounds, as the fake AWS records them.

use std::{path::Path, time::Duration};

use fake_aws::{Call, rounds};

use super::{Binaries, Measured};
use crate::{
    event::update_event,
    figure::Figure,
    fixture::{Fixture, State, invoke},
};

/// Long enough for concurrent calls to overlap.
const LATENCY: Duration = Duration::from_millis(20);

/// Calls and rounds for a compliant trail: GetTrail and GetTrailStatus; DescribeKey, GetKeyPolicy and ListResourceTags.
const COMPLIANT: (usize, usize) = (5, 2);

/// Calls, with the alert, and rounds until an unencrypted trail is protected by a key that exists. A key's tags are always read
/// together with the key, which makes 11 calls instead of 10 and no further round.
const REMEDIATED: (usize, usize) = (11, 5);

/// Counts calls and rounds for a compliant trail and for an unencrypted one.
pub fn measure(binaries: &Binaries) -> Measured {
    let compliant = calls(&binaries.function, State::Compliant)?;
    let existing = calls(&binaries.function, State::KeyExists)?;
    let creating = calls(&binaries.function, State::NoKey)?;
    let protected = rounds_to_protection(&existing)?;
    let created = rounds_to_protection(&creating)?;
    let all = rounds(&compliant);
    Ok(vec![
        Figure::with_budget(
            "Calls and rounds, compliant trail",
            format!("≤ {} in ≤ {}", COMPLIANT.0, COMPLIANT.1),
            format!("{} in {all}", compliant.len()),
            compliant.len() <= COMPLIANT.0 && all <= COMPLIANT.1,
        ),
        Figure::information("Its rounds", in_rounds(&compliant)),
        Figure::with_budget(
            "Calls with the alert, rounds until protected: unencrypted trail, existing key",
            format!("≤ {}, ≤ {}", REMEDIATED.0, REMEDIATED.1),
            format!("{}, {protected}", existing.len()),
            existing.len() <= REMEDIATED.0 && protected <= REMEDIATED.1,
        ),
        Figure::information("Its rounds", in_rounds(&existing)),
        Figure::information("Calls, rounds until protected: new key", format!("{}, {created}", creating.len())),
        Figure::information("Its rounds", in_rounds(&creating)),
    ])
}

/// The calls of one cold process.
fn calls(binary: &Path, state: State) -> Result<Vec<Call>, String> {
    let fixture = Fixture::one_trail(state);
    fixture.aws.set_latency(LATENCY);
    let mut function = fixture.start(binary)?;
    invoke(&mut function, &update_event())?;
    if !fixture.is_encrypted() {
        return Err("the trail is not encrypted".into());
    }
    Ok(fixture.aws.calls())
}

/// The rounds up to `UpdateTrail`.
fn rounds_to_protection(calls: &[Call]) -> Result<usize, String> {
    let update = calls.iter().position(|call| call.operation == "UpdateTrail").ok_or("no `UpdateTrail`")?;
    Ok(rounds(&calls[..=update]))
}

/// The calls' names, grouped by round: `GetTrail + GetTrailStatus → DescribeKey`.
fn in_rounds(calls: &[Call]) -> String {
    let mut names: Vec<Vec<&str>> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        // Both `calls` and `rounds` follow the order in which calls start.
        names.resize(rounds(&calls[..=index]), Vec::new());
        names.last_mut().expect("a call is in a round").push(&call.operation);
    }
    for round in &mut names {
        round.sort_unstable();
    }
    names.iter().map(|round| round.join(" + ")).collect::<Vec<_>>().join(" → ")
}

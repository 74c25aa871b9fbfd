//! AWS calls, and how many of them had to wait for others, as the fake saw them.

use std::{path::Path, time::Duration};

use fake_aws::{Call, rounds};

use super::{Measured, Subjects};
use crate::{
    event::update_event,
    figure::Figure,
    scene::{Scene, State, answered},
};

/// Long enough for calls that are made together to overlap.
const LATENCY: Duration = Duration::from_millis(20);

/// Counts calls and rounds for a compliant trail and for an unencrypted one.
pub fn measure(subjects: &Subjects) -> Measured {
    let compliant = calls(&subjects.function, State::Compliant)?;
    let sealing = calls(&subjects.function, State::KeyExists)?;
    let creating = calls(&subjects.function, State::NoKey)?;
    let protected = rounds_to_protection(&sealing)?;
    let created = rounds_to_protection(&creating)?;
    let all = rounds(&compliant);
    Ok(vec![
        Figure::judged(
            "Calls and rounds, compliant trail",
            "≤ 4 in ≤ 2",
            format!("{} in {all}", compliant.len()),
            compliant.len() <= 4 && all <= 2,
        ),
        Figure::information("Its rounds", in_rounds(&compliant)),
        Figure::judged(
            "Calls with the alert, rounds until protected: unencrypted trail, key exists",
            "≤ 10, ≤ 5",
            format!("{}, {protected}", sealing.len()),
            sealing.len() <= 10 && protected <= 5,
        ),
        Figure::information("Its rounds", in_rounds(&sealing)),
        Figure::information(
            "Calls, rounds until protected: key to be created",
            format!("{}, {created}", creating.len()),
        ),
        Figure::information("Its rounds", in_rounds(&creating)),
    ])
}

/// What one cold process called.
fn calls(binary: &Path, state: State) -> Result<Vec<Call>, String> {
    let scene = Scene::one_trail(state);
    scene.aws.set_latency(LATENCY);
    let mut function = scene.start(binary)?;
    answered(&mut function, &update_event())?;
    if !scene.is_sealed() {
        return Err("the trail is not encrypted".into());
    }
    Ok(scene.aws.calls())
}

/// The rounds up to `UpdateTrail`.
fn rounds_to_protection(calls: &[Call]) -> Result<usize, String> {
    let update = calls.iter().position(|call| call.operation == "UpdateTrail").ok_or("no `UpdateTrail`")?;
    Ok(rounds(&calls[..=update]))
}

/// The calls' names, those of a round together: `GetTrail + GetTrailStatus → DescribeKey`.
fn in_rounds(calls: &[Call]) -> String {
    let mut names: Vec<Vec<&str>> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        // Calls come in the order of their start, in which `rounds` goes through them too.
        names.resize(rounds(&calls[..=index]), Vec::new());
        names.last_mut().expect("a call is in a round").push(&call.operation);
    }
    for round in &mut names {
        round.sort_unstable();
    }
    names.iter().map(|round| round.join(" + ")).collect::<Vec<_>>().join(" → ")
}

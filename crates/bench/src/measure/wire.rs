//! AWS calls and sequential rounds, as the fake AWS records them.

use std::{path::Path, time::Duration};

use fake_aws::{Call, rounds};

use super::Binaries;
use crate::{
    event::update_event,
    figure::Figure,
    fixture::{Fixture, State, invoke},
};

/// Long enough for concurrent calls to overlap.
const LATENCY: Duration = Duration::from_millis(20);

/// A trail to count calls for.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The trail, as a row of the page.
    pub trail: &'static str,
    /// The same, as the title of its rounds.
    pub title: &'static str,
    /// At most this many calls and rounds.
    pub budget: Option<(usize, usize)>,
    state: State,
}

/// The trails, in the order of the page. An unencrypted trail's calls include the alert, and its rounds end with `UpdateTrail`.
pub const CASES: [Case; 3] = [
    Case { trail: "compliant", title: "compliant", budget: Some((5, 2)), state: State::Compliant },
    Case {
        trail: "unencrypted, the sealing key exists",
        title: "the sealing key exists",
        budget: Some((11, 5)),
        state: State::KeyExists,
    },
    Case { trail: "unencrypted, with a new key", title: "new key", budget: None, state: State::NoKey },
];

/// What a case's trail costs.
#[derive(Clone, Debug)]
pub struct Count {
    /// The case.
    pub case: Case,
    /// How many calls.
    pub calls: usize,
    /// How many rounds until the trail is encrypted.
    pub rounds: usize,
    /// The calls' names by round: `GetTrail, GetTrailStatus → DescribeKey`.
    pub trace: String,
}

/// Counts calls and rounds of every case.
pub fn measure(binaries: &Binaries) -> Result<Vec<Count>, String> {
    CASES.into_iter().map(|case| count(&binaries.function, case)).collect()
}

fn count(binary: &Path, case: Case) -> Result<Count, String> {
    let calls = calls(binary, case.state)?;
    let rounds = if case.remediated() { rounds_to_protection(&calls)? } else { rounds(&calls) };
    Ok(Count { case, calls: calls.len(), rounds, trace: in_rounds(&calls) })
}

impl Case {
    /// Whether the trail is unencrypted at first.
    pub fn remediated(self) -> bool {
        self.state != State::Compliant
    }

    /// The budget in the words of the page.
    pub fn budget_text(self) -> String {
        match self.budget {
            Some((calls, rounds)) if self.remediated() => format!("{calls}, {rounds}"),
            Some((calls, rounds)) => format!("{calls} in {rounds}"),
            None => String::new(),
        }
    }
}

impl Count {
    /// Whether the case's budget is met; true without a budget.
    pub fn met(&self) -> bool {
        self.case.budget.is_none_or(|(calls, rounds)| self.calls <= calls && self.rounds <= rounds)
    }

    /// The lines of the table on the terminal.
    pub fn figures(&self) -> [Figure; 2] {
        let name = format!("Calls and rounds: {}", self.case.trail);
        let measured = format!("{} in {}", self.calls, self.rounds);
        let figure = match self.case.budget {
            Some(_) => Figure::with_budget(name, self.case.budget_text(), measured, self.met()),
            None => Figure::information(name, measured),
        };
        [figure, Figure::information("Its rounds", &self.trace)]
    }
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

/// The calls' names, grouped by round.
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
    names.iter().map(|round| round.join(", ")).collect::<Vec<_>>().join(" → ")
}

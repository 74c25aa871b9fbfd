//! A fleet's ordinary day and its roll-out: invocations, calls, CPU, cost, rates.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::Subjects;
use crate::{
    figure::Figure,
    fleet::{
        account::{BLOCK, Day},
        burst::burst,
        page::{self, Told},
        price::{self, number, total},
        run::Play,
        tally::Tally,
    },
};

/// How long a call takes where waiting is measured.
const LATENCY: Duration = Duration::from_millis(25);

/// How big the fleet is, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The accounts.
    pub accounts: usize,
    /// The time after which no further block of accounts is begun.
    pub time: Duration,
}

/// The lines of the report, and the part of the page.
pub type Measured = Result<(Vec<Figure>, String), String>;

/// Plays both days: the roll-out in about half of the time at most, the ordinary day in what is left.
pub fn measure(subjects: &Subjects, extent: Extent) -> Measured {
    let began = Instant::now();
    let play = Play {
        binary: &subjects.function,
        day: Day::Ordinary,
        accounts: extent.accounts,
        latency: Duration::ZERO,
        until: began + extent.time,
        at_once: thread::available_parallelism().map_or(1, usize::from).min(2),
    };
    // What waits needs no CPU, so that one block of it shows the waiting of all.
    let waiting = Play { accounts: extent.accounts.min(BLOCK), latency: LATENCY, ..play }.run()?;
    let roll_out = Play { day: Day::RollOut, until: Instant::now() + extent.time / 2, ..play }.run()?;
    let ordinary = play.run()?;
    let played = [ordinary.accounts, roll_out.accounts];
    let [cpu, _] = ordinary.times_for(extent.accounts);
    let [_, waited] = waiting.times_for(extent.accounts);
    let gb_seconds = price::gb_seconds(cpu, waited);
    let [day, first] = [&ordinary, &roll_out].map(|tally| tally.scaled_to(extent.accounts));
    let bill = price::bill(&day, gb_seconds);
    let told = Told { ordinary: &day, roll_out: &first, played, bill: &bill, latency: LATENCY.as_millis() };
    let section = page::section(&told);
    let mut figures = scene("Fleet's ordinary day", &day, played[0], cpu);
    figures.extend([
        Figure::information(
            "Its time on Lambda",
            format!(
                "{} GB-seconds: {:.0} s of CPU at 7 % of one, {:.0} s of waiting",
                number(gb_seconds),
                cpu.as_secs_f64(),
                waited.as_secs_f64()
            ),
        ),
        Figure::information("Its log", format!("{:.1} MB with Lambda's own lines", price::log_bytes(&day) / 1e6)),
        Figure::information(
            "A month of it at list prices, without keys, alarms and dashboards",
            format!("${:.2}, ${:.4} an account", total(&bill), total(&bill) / extent.accounts as f64),
        ),
    ]);
    figures.extend(scene("Fleet's roll-out", &first, played[1], roll_out.times_for(extent.accounts)[0]));
    figures.extend(at_once(subjects)?);
    eprintln!("the fleet took {:.0} s", began.elapsed().as_secs_f64());
    Ok((figures, section))
}

/// Events of one account that come at the same time.
fn at_once(subjects: &Subjects) -> super::Measured {
    let burst = |events, at_once| burst(&subjects.function, LATENCY, events, at_once);
    let in_turn = burst(30, 1)?;
    if in_turn.throttled + in_turn.left > 0 {
        return Err(format!("one process that had 30 events in turn did not keep to CloudTrail's rates: {in_turn}"));
    }
    let name = format!("30 events of other keys in one account at once, {} ms a call", LATENCY.as_millis());
    Ok(vec![
        Figure::information(name, burst(30, 30)?.to_string()),
        Figure::information("100 of them at once", burst(100, 100)?.to_string()),
        Figure::information("30 of them in turn, in one process", in_turn.to_string()),
    ])
}

/// The lines that both days have.
fn scene(name: &str, tally: &Tally, played: usize, cpu: Duration) -> Vec<Figure> {
    let count = |count: usize| number(count as f64);
    let scaled = if played == tally.accounts {
        String::new()
    } else {
        format!(" ({} of them run, the rest scaled up)", count(played))
    };
    let services: Vec<String> =
        tally.calls.iter().map(|(service, calls)| format!("{service} {}", count(*calls))).collect();
    vec![
        Figure::information(
            format!("{name}, {} accounts{scaled}", count(tally.accounts)),
            format!(
                "{} invocations, {} alerts, {} keys created, {} trails sealed at its end",
                count(tally.invoked()),
                count(tally.alerts),
                count(tally.writes_of("kms:CreateKey")),
                count(tally.trails)
            ),
        ),
        Figure::information(
            "Its AWS calls",
            format!("{}, {} of them writes: {}", count(tally.called()), count(tally.written()), services.join(", ")),
        ),
        Figure::information(
            "Its CPU, an invocation from the start of its process",
            format!("{}, {:.0} s in all", tally.cpu, cpu.as_secs_f64()),
        ),
    ]
}

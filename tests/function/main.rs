//! The real function's process, under a Runtime API, against a stateful AWS: exact calls, final
//! states, answers, alerts.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests may"
)]

mod adopting;
mod alerts;
mod answers;
mod central_key;
mod command;
mod configuration;
mod decisions;
mod failing;
mod keeping_away;
mod key_care;
mod key_races;
mod metrics;
mod moto;
mod permissions;
mod prohibitions;
mod races;
mod rate_limits;
mod readers;
mod role;
mod schema;
mod sealing;
mod support;
mod sweep_trouble;
mod sweeps;
#[path = "../template/mod.rs"]
mod template;
mod triggers;

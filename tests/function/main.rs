//! The function's process behind a Lambda Runtime API, against a stateful fake AWS: exact calls, final states,
//! answers and alerts.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests may"
)]

mod alerts;
mod aws_errors;
mod aws_responses;
mod bucket_access;
mod bucket_owner;
mod central_key;
mod configuration;
mod decisions;
mod denied_actions;
mod failures;
mod key_policy_writes;
mod key_races;
mod key_repair;
mod key_restore;
mod key_rotation;
mod lost_responses;
mod metrics;
mod moto;
mod out_of_scope;
mod outside_lambda;
mod permissions;
mod races;
mod rate_limits;
mod role;
mod sample_policies;
mod schema;
mod sealing;
mod support;
mod sweep_failures;
mod sweeps;
#[path = "../template/mod.rs"]
mod template;
mod triggers;
mod unfinished_keys;
mod verification;

//! A fleet of accounts, each with trailseal, and a day of theirs: a model that is played on the fake.
//!
//! The accounts come in blocks of [`account::BLOCK`], and each block is like the next: the same mix of accounts with
//! the same happenings. So a part of the fleet tells of all of it, to the call.

pub mod account;
pub mod burst;
pub mod day;
pub mod page;
pub mod price;
pub mod rates;
pub mod run;
pub mod tally;

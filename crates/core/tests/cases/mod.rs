//! How many cases a property is tested with: always the same ones, so that a failure has a cause in the code.
//! `PROPTEST_CASES` sets how many random ones are used instead.

use proptest::test_runner::{Config, RngSeed};

pub(crate) fn config(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().map(|cases| cases.parse().unwrap());
    let rng_seed = if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(20) };
    let config = Config::with_cases(asked.unwrap_or(cases));
    Config { failure_persistence: None, max_shrink_iters: 10_000, rng_seed, ..config }
}

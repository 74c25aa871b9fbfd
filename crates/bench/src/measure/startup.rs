//! From the start of the process to its first request for work.

use super::{Binaries, Measured};
use crate::{
    figure::Row,
    fixture::{Fixture, State},
    sample::Sample,
};

/// Starts the function and the baseline alternately, and compares their medians.
pub fn measure(binaries: &Binaries) -> Measured {
    let fixture = Fixture::one_trail(State::Compliant);
    let pair = [&binaries.function, &binaries.bare];
    let mut wall = [(); 2].map(|()| Sample::default());
    let mut cpu = wall.clone();
    // The first round fills the page cache and does not count.
    for round in 0..=binaries.runs {
        for (index, binary) in pair.into_iter().enumerate() {
            let function = fixture.start(binary)?;
            if round > 0 {
                wall[index].push(function.first_poll());
                cpu[index].push(function.init_cpu());
            }
        }
    }
    let compared = |[function, bare]: &[Sample; 2]| {
        let ratio = function.median() / bare.median();
        (ratio, format!("{function}, bare {bare}: {ratio:.2} ×"))
    };
    let (ratio, walls) = compared(&wall);
    Ok(vec![Row::START.compared(walls, ratio <= 1.2), Row::START_CPU.measured(compared(&cpu).1)])
}

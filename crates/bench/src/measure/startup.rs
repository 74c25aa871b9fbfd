//! From the start of the process to its first request for work.

use super::{Measured, Subjects};
use crate::{
    figure::Figure,
    sample::Sample,
    scene::{Scene, State},
};

/// Starts function and yardstick in turn, and compares their medians.
pub fn measure(subjects: &Subjects) -> Measured {
    let scene = Scene::one_trail(State::Compliant);
    let binaries = [&subjects.function, &subjects.bare];
    let mut wall = [(); 2].map(|()| Sample::default());
    let mut cpu = wall.clone();
    // The first round fills the page cache.
    for round in 0..=subjects.runs {
        for (subject, binary) in binaries.into_iter().enumerate() {
            let function = scene.start(binary)?;
            if round > 0 {
                wall[subject].push(function.first_poll());
                cpu[subject].push(function.init_cpu());
            }
        }
    }
    let compared = |[function, bare]: &[Sample; 2]| {
        let ratio = function.median() / bare.median();
        (ratio, format!("{function}, bare {bare}: {ratio:.2} ×"))
    };
    let (ratio, walls) = compared(&wall);
    Ok(vec![
        Figure::judged("Process start to the first request for work", "≤ 1.3 × bare", walls, ratio <= 1.3),
        Figure::information("The same, CPU time", compared(&cpu).1),
    ])
}

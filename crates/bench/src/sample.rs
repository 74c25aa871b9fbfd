//! Repeated measurements, reported as the median and the quartiles.

use std::{fmt, time::Duration};

/// Several measurements of the same value, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a measurement.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// The median, in milliseconds.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest value that this share of the measurements does not exceed.
    fn quantile(&self, share: f64) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }
}

/// `7.1 ms (6.9–7.4)`: the median and the quartiles.
impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| self.quantile(share));
        let digits = if median < 100.0 { 1 } else { 0 };
        write!(out, "{median:.digits$} ms ({low:.digits$}–{high:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles_are_printed() {
        let mut sample = Sample::default();
        for time in [5, 1, 4, 2, 3] {
            sample.push(Duration::from_millis(time));
        }
        assert_eq!(sample.median(), 3.0);
        assert_eq!(sample.to_string(), "3.0 ms (2.0–4.0)");
        sample = Sample::default();
        sample.push(Duration::from_micros(123_456));
        assert_eq!(sample.to_string(), "123 ms (123–123)");
    }
}

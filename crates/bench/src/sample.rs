//! Repeated measurements, and how they are told: the median, and the middle half around it.

use std::{fmt, time::Duration};

/// The same thing measured several times.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// One more measurement, in milliseconds.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// The middle measurement.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        Duration::from_secs_f64(self.0.iter().sum::<f64>() / 1e3)
    }

    /// Those of another sample, too.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
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
    fn median_and_quartiles_are_told() {
        let mut sample = Sample::default();
        for time in [5, 1, 4, 2, 3] {
            sample.push(Duration::from_millis(time));
        }
        assert_eq!(sample.median(), 3.0);
        assert_eq!(sample.total(), Duration::from_millis(15));
        assert_eq!(sample.to_string(), "3.0 ms (2.0–4.0)");
        sample = Sample::default();
        sample.push(Duration::from_micros(123_456));
        assert_eq!(sample.to_string(), "123 ms (123–123)");
    }
}

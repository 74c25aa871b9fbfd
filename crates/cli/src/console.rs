//! What a person sees at a terminal: colors, progress, and how much is shown.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use clap::{Args, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// How output is shown.
#[derive(Debug, Clone, Copy, Args)]
#[group(skip)]
pub(crate) struct Display {
    /// When to use colors; NO_COLOR is respected
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,

    /// Print results and errors only
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Output")]
    quiet: bool,

    /// Also print log lines
    #[arg(long, short, global = true, help_heading = "Output")]
    verbose: bool,
}

impl Display {
    /// Decides about colors, and prints log lines to standard error: each step when it was performed, and more if
    /// `verbose`.
    pub(crate) fn init(self) {
        let color = match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        color.write_global();
        let Self { quiet, verbose, .. } = self;
        if !quiet {
            BAR.set_style(bar_style());
            BAR.set_draw_target(ProgressDrawTarget::stderr());
        }
        let lines =
            tracing_subscriber::fmt::layer().without_time().with_level(false).with_target(false).with_ansi(false);
        let is_line = filter_fn(move |metadata| {
            let target = metadata.target();
            let is_logged = verbose && target.starts_with("trailseal") && target != trailseal::READ_TARGET;
            !quiet && (target == trailseal::STEP_TARGET || is_logged)
        });
        let lines = lines.with_writer(|| AboveBar).with_filter(is_line);
        let regions = RegionCounter::default().with_filter(filter_fn(|it| it.target() == trailseal::READ_TARGET));
        tracing_subscriber::registry().with(lines).with(regions).init();
    }
}

/// The bar at the terminal while Regions are read. It is hidden with `--quiet`, and where standard error is no terminal.
static BAR: LazyLock<ProgressBar> = LazyLock::new(ProgressBar::hidden);

/// Shows the bar until it is cleared or dropped.
pub(crate) struct Progress;

impl Progress {
    pub(crate) fn start() -> Self {
        BAR.set_message("reading trails");
        BAR.set_length(1);
        BAR.reset();
        Self
    }

    pub(crate) fn clear(&self) {
        BAR.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Counts the Regions whose trails are read, from the events of the library.
#[derive(Default)]
struct RegionCounter(Mutex<BTreeMap<String, u64>>);

impl RegionCounter {
    fn record(&self, region: String, remaining: u64, bar: &ProgressBar) {
        let mut regions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        regions.insert(region, remaining);
        let waiting: Vec<&str> = regions.iter().filter(|(_, left)| **left > 0).map(|(name, _)| name.as_str()).collect();
        let (all, read) = (regions.len(), regions.len().saturating_sub(waiting.len()));
        let now = match waiting.as_slice() {
            [] => "reading keys and buckets".to_owned(),
            names if names.len() > 3 => "reading trails".to_owned(),
            names => format!("waiting for {}", names.join(", ")),
        };
        bar.update(|state| {
            state.set_len(u64::try_from(all).unwrap_or_default());
            state.set_pos(u64::try_from(read).unwrap_or_default());
        });
        bar.set_message(format!("{read} of {all} Regions: {now}"));
    }
}

impl<S: Subscriber> Layer<S> for RegionCounter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != trailseal::READ_TARGET {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.record(fields.region, fields.remaining, &BAR);
    }
}

/// The fields of an event about a Region.
#[derive(Default)]
struct Fields {
    region: String,
    remaining: u64,
}

impl Visit for Fields {
    fn record_str(&mut self, _: &Field, value: &str) {
        value.clone_into(&mut self.region);
    }

    fn record_u64(&mut self, _: &Field, value: u64) {
        self.remaining = value;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// Standard error, with the bar below.
struct AboveBar;

impl Write for AboveBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        BAR.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn bar_style() -> ProgressStyle {
    let template = ProgressStyle::with_template("{bar:20} {msg}");
    template.unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_counts_when_its_last_trail_is_read() {
        let (bar, counter) = (ProgressBar::hidden(), RegionCounter::default());
        let mut shown = Vec::new();
        for (region, remaining) in
            [("a", 2), ("b", 1), ("c", 1), ("d", 1), ("a", 1), ("d", 0), ("c", 0), ("b", 0), ("a", 0)]
        {
            counter.record(region.to_owned(), remaining, &bar);
            shown.push((bar.position(), bar.length().unwrap(), bar.message()));
        }
        let last = |index: usize| (shown[index].0, shown[index].1, shown[index].2.as_str());
        assert_eq!(last(4), (0, 4, "0 of 4 Regions: reading trails"));
        assert_eq!(last(6), (2, 4, "2 of 4 Regions: waiting for a, b"));
        assert_eq!(last(8), (4, 4, "4 of 4 Regions: reading keys and buckets"));
    }
}

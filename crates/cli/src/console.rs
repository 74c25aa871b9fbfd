//! What a person sees at a terminal: colors, progress, and how much is shown.

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ColorChoice};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
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
        let lines =
            tracing_subscriber::fmt::layer().without_time().with_level(false).with_target(false).with_ansi(false);
        let shown = filter_fn(move |metadata| {
            let target = metadata.target();
            !quiet && (target == trailseal::STEP_TARGET || verbose && target.starts_with("trailseal"))
        });
        tracing_subscriber::registry().with(lines.with_writer(std::io::stderr)).with(shown).init();
    }
}

/// A line at the terminal while something is awaited.
pub(crate) struct Progress(bool);

impl Progress {
    /// Shows what is awaited, if standard error is a terminal.
    pub(crate) fn start(what: &str) -> Self {
        let is_shown = std::io::stderr().is_terminal();
        if is_shown {
            // If standard error is closed, there is no other place to show this.
            let _ = write!(std::io::stderr().lock(), "{what} ...");
        }
        Self(is_shown)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.0 {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

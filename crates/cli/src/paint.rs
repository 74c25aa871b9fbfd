//! Colors, which the streams of `anstream` remove where none are wanted.

use anstyle::{AnsiColor, Style};

/// The style of a level, such as `error`.
pub(crate) fn style(level: &str) -> Style {
    let color = match level {
        "error" => AnsiColor::Red,
        "warning" => AnsiColor::Yellow,
        _ => AnsiColor::Cyan,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

/// A report with colors for its labels.
pub(crate) fn paint(report: &str) -> String {
    let bold = Style::new().bold();
    let [red, yellow, cyan] = ["error", "warning", "hint"].map(style);
    let labels = [
        ("error:", red),
        ("Failed:", red),
        ("Finding:", yellow),
        ("Warning:", yellow),
        ("  hint:", cyan),
        ("  help:", cyan),
        ("Trail:", bold),
        ("What to do next:", bold),
    ];
    let paint_line = |line: &str| {
        let label = labels.iter().find_map(|(label, style)| Some((*label, *style, line.strip_prefix(label)?)));
        match label {
            Some((label, style, rest)) => format!("{style}{label}{style:#}{rest}"),
            None => line.to_owned(),
        }
    };
    report.split_inclusive('\n').map(paint_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_painted() {
        let text = "Trail: a\nFinding: x: Failed: y\n\nplain\n  hint: z";
        let painted = paint(text);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
        assert_eq!(painted.matches("\x1b[0m").count(), 3);
        assert!(painted.contains("\x1b[0m x: Failed: y\n"), "{painted:?}");
    }
}

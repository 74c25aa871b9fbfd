//! The table as a page to read.

use std::fmt::Write;

use super::table::{Group, Row, Table, Words};

const INTRODUCTION: &str = "\
# What trailseal decides

<!-- Made from tests/decisions.json: `UPDATE_DOCS=1 cargo test --test function decisions`. -->

Each line below is a trail as it was found and what becomes of it. A test plays every one of them with the real function,
once in dry-run and once enforcing, so this page is what happens, not what somebody meant to happen. Three things hold in
every line: a dry-run writes nothing but its alert; a key that is not trailseal's is never changed; and when the same
event comes again, nothing changes any more (what was refused is tried again).

How to read it: *Outcome* is that of a dry-run, then the one of enforcing, if they differ. The *steps* are those of
enforcing; a dry-run lists the same ones as planned. A step that says *failed* was tried; one that says *planned* was not
reached. *Again* is what the next run says, where that is neither `compliant` after `remediated` nor the same as before.
Where a line says nothing of the trail, it logs and no delivery failed; nothing of the bucket, it is plain; nothing of what
may be read or done, nothing is refused. *The sealing key* as a trail's own key is the very one of the next column. What the
other words mean stands [at the end](#the-words).
";

pub fn page(table: &Table) -> String {
    let mut page = INTRODUCTION.to_owned();
    table.groups.iter().for_each(|group| section(&mut page, group));
    legend(&mut page, &table.words);
    page
}

/// A column: its heading, and what it says of a row.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: [Column; 9] = [
    ("Trail", |row| if row.trail == "logs" { String::new() } else { row.trail.clone() }),
    ("Its key", |row| row.key.clone()),
    ("Sealing key", |row| row.sealing.clone()),
    ("Besides", |row| row.besides().join("<br>")),
    ("Outcome", outcome),
    ("Findings", |row| code(&row.findings)),
    ("Steps", steps),
    ("Warnings", |row| code(&row.warnings)),
    ("Why", |row| row.why.clone()),
];

/// One line a row; a column in which no row says anything is left out.
fn section(page: &mut String, group: &Group) {
    let Group { title, idea, rows } = group;
    let says = |column: &&Column| rows.iter().any(|row| !column.1(row).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(says).collect();
    let headings: Vec<&str> = columns.iter().map(|column| column.0).collect();
    writeln!(page, "\n## {title}\n\n{idea}\n\n| {} |\n|{}", headings.join(" | "), "---|".repeat(columns.len()))
        .unwrap();
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|column| column.1(row)).collect();
        writeln!(page, "| {} |", cells.join(" | ")).unwrap();
    }
}

fn outcome(row: &Row) -> String {
    let mut text = format!("`{}`", row.dry_run);
    if row.enforce != row.dry_run {
        write!(text, " → `{}`", row.enforce).unwrap();
    }
    if let Some(error) = &row.error {
        let named = error.split(' ').map(|part| format!("`{part}`")).collect::<Vec<_>>().join(" ");
        write!(text, " ({named})").unwrap();
    }
    if row.strays > 0 {
        write!(text, ", and a stray").unwrap();
    }
    if let Some(again) = &row.again {
        write!(text, "; again: `{again}`").unwrap();
    }
    if let Some(why) = &row.undelivered {
        write!(text, "; still not delivered: {why}").unwrap();
    }
    text
}

fn steps(row: &Row) -> String {
    let step = |(step, status): (&str, &str)| match status {
        "done" => format!("`{step}`"),
        status => format!("`{step}` *{status}*"),
    };
    row.steps().into_iter().map(step).collect::<Vec<_>>().join("<br>")
}

fn code(ids: &[String]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join("<br>")
}

fn legend(page: &mut String, words: &Words) {
    let Words { trail, key, place, bucket, read, write, configuration } = words;
    page.push_str("\n## The words\n");
    for (title, words) in [
        ("The trail", trail),
        ("A key: the trail's own, or the sealing key", key),
        ("Where the sealing key is", place),
        ("The bucket", bucket),
        ("What may be read", read),
        ("What may be done", write),
        ("What is configured", configuration),
    ] {
        writeln!(page, "\n### {title}\n\n| | |\n|---|---|").unwrap();
        words.iter().for_each(|(word, meaning)| writeln!(page, "| {word} | {meaning} |").unwrap());
    }
}

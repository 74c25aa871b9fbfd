//! The decision table as a Markdown page.

use std::fmt::Write;

use super::decision_table::{DecisionTable, Group, Row, Term, Terms};

const INTRODUCTION: &str = "\
# Decisions

<!-- Generated from tests/decisions.json by `UPDATE_DOCS=1 cargo test --test function decisions`. -->

For security engineers: what trailseal does in each situation. A test runs every row against the function, in dry-run mode
and in enforce mode. Each test also asserts that:

- dry-run mode writes nothing except alerts;
- a key that trailseal did not create is unchanged;
- the same event again changes nothing, except that calls that AWS denied are retried.

How to read a row:

- A blank cell is the normal case: the trail is `logging`, the bucket is `default`, parameters have their defaults, AWS
  denies nothing. Values that all rows of a table share are listed above the table.
- **Sealing key** is the key that trailseal assigns in the bucket's Region. **Trail's key** is `sealing key` if the trail
  already uses it.
- **Steps** are those of enforce mode. Dry-run mode plans the same steps. A *failed* step was tried. A *skipped* step was
  not: its status is `planned`.
- A call after `failed` is the call that AWS refused. The class of every failure is `terminal`.
- **Next run** is blank if the outcome is `compliant` after `remediated`, and otherwise unchanged.

The [terms](#terms) are defined at the end.
";

pub fn page(table: &DecisionTable) -> String {
    let mut page = INTRODUCTION.to_owned();
    table.groups.iter().for_each(|group| section(&mut page, group));
    definitions(&mut page, &table.terms);
    page
}

/// A column: its heading and its cell for a row.
type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: [Column; 12] = [
    ("Trail", |row| if row.trail == "logging" { String::new() } else { row.trail.clone() }),
    ("Trail's key", |row| row.trail_key.clone()),
    ("Sealing key", |row| row.sealing_key.clone()),
    ("Bucket", |row| if row.bucket == "default" { String::new() } else { row.bucket.clone() }),
    ("Parameters", |row| ids(&row.parameters)),
    ("Denied", |row| ids(&row.denied)),
    ("Findings", |row| ids(&row.findings)),
    ("Dry-run", |row| row.dry_run.clone()),
    ("Enforce", enforce),
    ("Next run", |row| row.next_run.clone().unwrap_or_default()),
    ("Steps", steps),
    ("Warnings", |row| ids(&row.warnings)),
];

const NOTE: Column = ("Note", note);

/// A column with one value in all rows is listed above the table, and an empty column is omitted.
fn section(page: &mut String, group: &Group) {
    let Group { title, summary, rows } = group;
    write!(page, "\n## {title}\n\n{summary}\n\n").unwrap();
    let (mut shared, mut columns) = (Vec::new(), Vec::new());
    for (heading, cell) in COLUMNS.into_iter().chain([NOTE]) {
        let cells: Vec<String> = rows.iter().map(cell).collect();
        match cells.first() {
            Some(first) if cells.iter().all(|cell| cell == first) => {
                shared.extend((!first.is_empty()).then(|| format!("{heading} = {first}")));
            }
            _ => columns.push((heading, cells)),
        }
    }
    if !shared.is_empty() {
        write!(page, "All rows: {}.\n\n", shared.join("; ")).unwrap();
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    table_row(page, &headings);
    table_row(page, &vec!["---"; columns.len()]);
    for index in 0..rows.len() {
        let cells: Vec<&str> = columns.iter().map(|(_, cells)| cells[index].as_str()).collect();
        table_row(page, &cells);
    }
}

fn table_row(page: &mut String, cells: &[&str]) {
    writeln!(page, "|{}|", cells.join("|")).unwrap();
}

fn enforce(row: &Row) -> String {
    let call = row.error.as_deref().and_then(|error| error.split_once(' '));
    let call = call.map(|(_, call)| format!(" `{call}`")).unwrap_or_default();
    let stray = if row.strays > 0 { ", 1 stray" } else { "" };
    format!("{}{call}{stray}", row.enforce)
}

fn steps(row: &Row) -> String {
    let step = |(step, status): (&str, &str)| match status {
        "done" => format!("`{step}`"),
        "planned" => format!("`{step}` *skipped*"),
        status => format!("`{step}` *{status}*"),
    };
    row.steps().into_iter().map(step).collect::<Vec<_>>().join("<br>")
}

fn note(row: &Row) -> String {
    let undelivered = row.undelivered.as_ref().map(|reason| format!("Delivery still fails: {reason}"));
    let note = Some(row.note.clone()).filter(|note| !note.is_empty());
    undelivered.into_iter().chain(note).collect::<Vec<_>>().join(". ")
}

fn ids(ids: &[String]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join("<br>")
}

fn definitions(page: &mut String, terms: &Terms) {
    let Terms { trail, key, key_attribute, location, bucket, parameter } = terms;
    page.push_str("\n## Terms\n");
    let columns: [(&str, &[Term]); 6] = [
        ("Trail", trail),
        ("Key", key),
        ("Attribute of a key", key_attribute),
        ("Location of the sealing key", location),
        ("Bucket", bucket),
        ("Parameter", parameter),
    ];
    for (heading, terms) in columns {
        page.push('\n');
        table_row(page, &[heading, "Meaning"]);
        table_row(page, &["---", "---"]);
        terms.iter().for_each(|(term, meaning)| table_row(page, &[term, meaning]));
    }
}

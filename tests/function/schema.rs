//! The documented JSON Schema of the answer. `support` validates every answer against the schema.

use std::path::Path;

use crate::support::answer_schema;

#[test]
fn the_documented_schema_matches_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/answer.schema.json");
    let current = format!("{:#}\n", answer_schema());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        documented == current,
        "docs/answer.schema.json is stale: run the tests with UPDATE_DOCS=1 and review the diff"
    );
}

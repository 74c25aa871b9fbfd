//! The answer's JSON Schema, which `support` holds every answer of these tests against.

use std::path::Path;

use crate::support::answer_schema;

#[test]
fn the_schema_in_docs_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/answer.schema.json");
    let current = format!("{:#}\n", answer_schema());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        documented == current,
        "docs/answer.schema.json is stale: run the tests with UPDATE_DOCS=1 and look at the difference"
    );
}

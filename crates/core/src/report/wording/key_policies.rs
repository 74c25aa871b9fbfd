//! What to change in a key policy, in words.

use serde_json::json;

use crate::key_policy::Extension;

/// The `Sid`s of the changed statements.
pub(super) fn changed_statements(extension: &Extension) -> String {
    quoted(&extension.sids())
}

/// What to change in a policy, with the exact statements.
pub(super) fn instruction(extension: &Extension) -> String {
    let Extension { added, rewritten, .. } = extension;
    let replace = || format!("replace the deleted role by the function's role in {}", quoted(rewritten));
    let replace = (!rewritten.is_empty()).then(replace);
    let add = (!added.is_empty()).then(|| format!("add {}", json!(added)));
    replace.into_iter().chain(add).collect::<Vec<String>>().join(" and ")
}

fn quoted(sids: &[impl AsRef<str>]) -> String {
    sids.iter().map(|sid| format!("`{}`", sid.as_ref())).collect::<Vec<String>>().join(", ")
}

//! What to change in a key policy, in words.

use serde_json::json;

use super::{joined, quoted};
use crate::access::KeyAccess;
use crate::key_policy::Extension;

/// The `Sid`s of the changed statements.
pub(super) fn changed_statements(extension: &Extension) -> String {
    quoted(extension.sids())
}

/// What to change in a policy, with the exact statements.
pub(super) fn instruction(extension: &Extension) -> String {
    let Extension { added, rewritten, .. } = extension;
    let replace = || format!("replace the deleted role with the function's role in {}", quoted(rewritten));
    let replace = (!rewritten.is_empty()).then(replace);
    let add = (!added.is_empty()).then(|| format!("add {}", json!(added)));
    replace.into_iter().chain(add).collect::<Vec<String>>().join(" and ")
}

/// What a policy denies CloudTrail, such as `encrypt or describe the key`, and why.
pub(super) fn denied_calls(access: &KeyAccess) -> (String, String) {
    let purpose = |call: &str| match call {
        "kms:DescribeKey" => "describe the key",
        "kms:Decrypt" => "decrypt",
        _ => "encrypt",
    };
    let denied = access.denied();
    let purposes: Vec<&str> = denied.iter().map(|(call, _)| purpose(call)).collect();
    let purposes = match purposes.as_slice() {
        [rest @ .., last] if rest.len() > 1 => format!("{}, or {last}", rest.join(", ")),
        few => few.join(" or "),
    };
    (purposes, joined(denied.into_iter().map(|(call, decision)| format!("`{call}`: {decision}"))))
}

//! Keys of ours that nothing uses.

use serde::Serialize;

use crate::ids::KeyArn;
use crate::progress::Aliased;

const OLD_LOGS: &str = "no trail uses it now, and it has no alias; if it has one by then, it is in use, and if it encrypted log files before, nobody can read them any more without it";

const FINISHED: &str = "the next run that needs a key finishes this one, and then it has an alias and is in use";

/// A key of ours without the alias that nothing uses, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stray {
    /// The key.
    pub key_arn: String,
    /// The command that removes it.
    pub command: String,
    /// What to think of first, if anything.
    pub caution: Option<&'static str>,
    /// Whether it is known to be one: nobody may have said who has the alias.
    #[serde(skip)]
    pub certain: bool,
}

impl Stray {
    /// A key of an earlier run's that no trail uses now.
    pub(crate) fn unused(key: &KeyArn) -> Self {
        Self { key_arn: key.to_string(), command: removal(key), caution: Some(OLD_LOGS), certain: true }
    }

    /// A key of which it is not known whether it is in use is only removed if it turns out not to be.
    pub(crate) fn of(key: &KeyArn, aliased: Aliased) -> Option<Self> {
        let (command, caution) = match aliased {
            Aliased::Yes => return None,
            Aliased::Lost => (removal(key), None),
            Aliased::NotYet => (removal(key), Some(FINISHED)),
            Aliased::Open => (unless_aliased(key), None),
        };
        Some(Self { key_arn: key.to_string(), command, caution, certain: aliased == Aliased::Lost })
    }
}

/// Whoever has the alias when the command is run may be in use. Stops where the look-up itself fails.
fn unless_aliased(key: &KeyArn) -> String {
    let aliases = format!(
        "aws kms list-aliases --region {} --key-id {key} --query 'Aliases[].AliasName' --output text",
        key.region()
    );
    format!("aliases=$({aliases}) && test -z \"$aliases\" && {}", removal(key))
}

fn removal(key: &KeyArn) -> String {
    format!("aws kms schedule-key-deletion --region {} --key-id {key} --pending-window-in-days 7", key.region())
}

//! What the caller may do with keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::World;
use crate::glob;
use crate::policy::{self, Caller, Question, Verdict};

/// The caller's IAM policy, as far as it is about keys. It counts where a key's policy delegates to
/// the account. Actions may have wildcards, like `kms:Describe*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallerIam {
    /// Actions allowed on every key of the account.
    pub on_every_key: BTreeSet<String>,
    /// Actions allowed on a key that carries an alias (`alias/…`), as by `kms:ResourceAliases`.
    pub behind_alias: BTreeMap<String, BTreeSet<String>>,
}

impl CallerIam {
    /// A policy that allows these actions on every key.
    pub fn on_every_key(actions: &[&str]) -> CallerIam {
        let on_every_key = actions.iter().map(|&action| action.to_owned()).collect();
        CallerIam { on_every_key, behind_alias: BTreeMap::new() }
    }

    /// And these on the keys that carry an alias.
    #[must_use]
    pub fn behind_alias(mut self, alias: &str, actions: &[&str]) -> CallerIam {
        let actions = actions.iter().map(|&action| action.to_owned()).collect();
        self.behind_alias.insert(alias.to_owned(), actions);
        self
    }
}

impl World {
    /// Whether the key's policy, with the caller's IAM policy where it delegates, lets the caller do this.
    pub(crate) fn caller_may(&self, action: &str, key_arn: &str) -> bool {
        if self.caller_iam.is_none() {
            return true;
        }
        let Some(key) = self.keys.get(key_arn) else {
            return false;
        };
        match policy::ask(&key.policy, &self.callers_question(action, key_arn)) {
            Verdict::Allowed => true,
            Verdict::Delegated => self.iam_allows(action, key_arn),
            Verdict::Silent | Verdict::Denied(_) => false,
        }
    }

    /// Whether the caller's IAM policy allows this, for a key that delegates to it.
    pub(crate) fn iam_allows(&self, action: &str, key_arn: &str) -> bool {
        let Some(iam) = &self.caller_iam else {
            return false;
        };
        let allows =
            |actions: &BTreeSet<String>| actions.iter().any(|pattern| glob::matches_ignoring_case(pattern, action));
        let carried = self.aliases.iter().filter(|(_, alias)| alias.target == key_arn);
        let names: Vec<&str> = carried.filter_map(|(arn, _)| arn.splitn(6, ':').last()).collect();
        allows(&iam.on_every_key)
            || iam.behind_alias.iter().any(|(name, actions)| names.contains(&name.as_str()) && allows(actions))
    }

    /// A question that the caller's own request puts to a policy.
    pub(crate) fn callers_question(&self, action: &str, resource: &str) -> Question {
        let caller = Caller::Principal(self.caller_role_arn.clone());
        Question::new(caller, action, resource)
            .with("aws:PrincipalArn", &self.caller_role_arn)
            .with("aws:PrincipalAccount", &self.account)
            .with("kms:CallerAccount", &self.account)
            .with("kms:BypassPolicyLockoutSafetyCheck", "false")
            .with("aws:SecureTransport", "true")
            .with("aws:PrincipalIsAWSService", "false")
            .without(&["kms:ViaService", "aws:SourceArn", "aws:SourceAccount"])
    }
}

//! The state of AWS after the first run in enforce mode: the effects of the row's steps and nothing else.

use fake_aws::{AliasEntry, Key, KeyState, World};
use serde_json::{Value, json};

use super::comparable;
use super::decision_table::Row;
use super::fixtures::{BUCKET_REGION, Fixture, statements};
use crate::support::{ACCOUNT, ALIAS};

pub struct FinalState<'a> {
    pub row: &'a Row,
    pub fixture: &'a Fixture,
    pub after: &'a World,
}

impl FinalState<'_> {
    /// The write calls of the steps, in order. `start-logging` is first.
    pub fn writes(&self) -> Vec<String> {
        let sealing_key = self.fixture.sealing_key.as_ref().and_then(|arn| self.fixture.world.keys.get(arn));
        let pending_deletion = sealing_key.is_some_and(|key| key.state == KeyState::PendingDeletion);
        let mut calls = Vec::new();
        let mut steps = self.row.steps();
        steps.sort_by_key(|(step, _)| *step != "start-logging");
        for (step, status) in steps {
            let tried = status == "done" || status == "failed";
            let operations: &[&str] = match step {
                _ if !tried => &[],
                "create-key" => &["kms:CreateKey"],
                "adopt-key" => &[],
                "restore-key" if pending_deletion && status == "failed" => &["kms:CancelKeyDeletion"],
                "restore-key" if pending_deletion => &["kms:CancelKeyDeletion", "kms:EnableKey"],
                "restore-key" => &["kms:EnableKey"],
                "extend-key-policy" => &["kms:PutKeyPolicy"],
                "enable-rotation" => &["kms:EnableKeyRotation"],
                "create-alias" => &["kms:CreateAlias"],
                "update-trail" => &["cloudtrail:UpdateTrail"],
                "start-logging" => &["cloudtrail:StartLogging"],
                step => panic!("unknown step `{step}`"),
            };
            calls.extend(operations.iter().map(ToString::to_string));
        }
        calls
    }

    /// The sealing key of the bucket's Region.
    fn sealing_key(&self) -> Option<String> {
        if !self.row.completes("create-key") {
            return self.fixture.sealing_key.clone();
        }
        let new: Vec<&String> =
            self.after.keys.keys().filter(|key| !self.fixture.world.keys.contains_key(*key)).collect();
        assert_eq!(new.len(), 1, "one key is created");
        Some(new[0].clone())
    }

    pub fn trail_key(&self) -> Option<String> {
        match self.row.completes("update-trail") {
            true => self.sealing_key(),
            false => self.fixture.trail_key().cloned(),
        }
    }

    /// The differences between the state and the effects of the steps.
    pub fn problems(&self) -> Vec<String> {
        let mut expected = comparable(self.fixture.world.clone());
        let mut problems = Vec::new();
        expected.published.clone_from(&self.after.published);
        if let (Some(trail), Some(now)) =
            (expected.trails.get_mut(self.fixture.trail), self.after.trails.get(self.fixture.trail))
        {
            trail.kms_key_id = self.trail_key();
            if self.row.completes("start-logging") {
                (trail.logging, trail.started_at) = (true, now.started_at);
            }
            // Delivery works again.
            if self.row.enforce == "remediated" {
                trail.latest_delivery_error.clone_from(&now.latest_delivery_error);
                trail.latest_digest_delivery_error.clone_from(&now.latest_digest_delivery_error);
                trail.latest_delivery_at = now.latest_delivery_at;
            }
        }
        if let Some(key) = self.sealing_key() {
            problems.extend(self.key_problems(&key, &mut expected));
        }
        for (arn, key) in &expected.keys {
            if self.after.keys.get(arn) != Some(key) {
                problems.push(format!("key: expected {}, got {}", json!(key), json!(self.after.keys.get(arn))));
            }
        }
        for (arn, trail) in &expected.trails {
            if self.after.trails.get(arn) != Some(trail) {
                problems.push(format!("trail: expected {}, got {}", json!(trail), json!(self.after.trails.get(arn))));
            }
        }
        expected.keys_made = self.after.keys_made;
        if problems.is_empty() && expected != *self.after {
            problems.push("something else changed".to_owned());
        }
        problems.extend(self.undelivered());
        problems
    }

    /// Applies the steps to the sealing key in `expected`.
    fn key_problems(&self, arn: &str, expected: &mut World) -> Vec<String> {
        let row = self.row;
        let mut problems = Vec::new();
        let Some(now) = self.after.keys.get(arn) else { return problems };
        if row.completes("create-key") {
            let as_specified = now.region == BUCKET_REGION
                && now.is_usable()
                && now.is_symmetric()
                && !now.multi_region
                && now.tags.get("managed-by").is_some_and(|tag| tag == "trailseal");
            problems.extend((!as_specified).then(|| format!("unexpected new key: {}", json!(now))));
            let rotation_days = row.completes("enable-rotation").then_some(365);
            expected.keys.insert(arn.to_owned(), Key { rotation_days, ..now.clone() });
        } else if let Some(key) = expected.keys.get_mut(arn) {
            let is_ours = key.tags.get("managed-by").is_some_and(|tag| tag == "trailseal") && !self.fixture.supplied;
            let edited = row
                .steps()
                .iter()
                .any(|(step, status)| !["update-trail", "start-logging"].contains(step) && *status == "done");
            problems.extend((edited && !is_ours).then(|| "the row edits a key that is not trailseal's".to_owned()));
            if row.completes("restore-key") {
                (key.state, key.deletion_date) = (KeyState::Enabled, None);
            }
            if row.completes("enable-rotation") {
                key.rotation_days = Some(365);
            }
            if row.completes("extend-key-policy") {
                let (before, after) = (statements(&key.policy), statements(&now.policy));
                problems.extend(
                    (!after.starts_with(&before) || after == before).then(|| changed_statements(&before, &after)),
                );
                key.policy.clone_from(&now.policy);
            }
        }
        if row.completes("create-alias") {
            let alias = AliasEntry { target: arn.to_owned(), created: expected.now, hidden_calls: 0 };
            expected.aliases.insert(format!("arn:aws:kms:{BUCKET_REGION}:{ACCOUNT}:{ALIAS}"), alias);
        }
        problems
    }

    /// After `remediated` CloudTrail delivers, or the row contains the reason.
    fn undelivered(&self) -> Option<String> {
        let delivers = self.after.check_delivery(self.fixture.trail);
        match (self.row.enforce == "remediated", &delivers, &self.row.undelivered) {
            (true, Err(why), None) => {
                Some(format!("the outcome is `remediated`, but CloudTrail cannot deliver: {why}"))
            }
            (_, Ok(()), Some(why)) => {
                Some(format!("CloudTrail delivers, but the row contains a reason why not: {why}"))
            }
            _ => None,
        }
    }
}

fn changed_statements(before: &[Value], after: &[Value]) -> String {
    format!("the policy must only gain statements: {} became {}", json!(before), json!(after))
}

//! What a row's steps leave behind, and nothing else.

use fake_aws::{AliasEntry, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use super::scenery::{BUCKET_REGION, Scenery, statements};
use super::settled;
use super::table::Row;
use crate::support::{ACCOUNT, ALIAS};

pub struct Ending<'a> {
    pub row: &'a Row,
    pub scenery: &'a Scenery,
    pub after: &'a World,
}

impl Ending<'_> {
    /// The calls that the steps are made of, in order: logging starts before anything else.
    pub fn writes(&self) -> Vec<String> {
        let doomed =
            self.before(self.scenery.sealing.as_ref()).is_some_and(|key| key.state == KeyState::PendingDeletion);
        let mut calls = Vec::new();
        let mut steps = self.row.steps();
        steps.sort_by_key(|(step, _)| *step != "start-logging");
        for (step, status) in steps {
            let tried = status == "done" || status == "failed";
            let made: &[&str] = match step {
                _ if !tried => &[],
                "create-key" => &["kms:CreateKey"],
                "adopt-key" => &[],
                "restore-key" if doomed && status == "failed" => &["kms:CancelKeyDeletion"],
                "restore-key" if doomed => &["kms:CancelKeyDeletion", "kms:EnableKey"],
                "restore-key" => &["kms:EnableKey"],
                "extend-key-policy" => &["kms:PutKeyPolicy"],
                "enable-rotation" => &["kms:EnableKeyRotation"],
                "create-alias" => &["kms:CreateAlias"],
                "update-trail" => &["cloudtrail:UpdateTrail"],
                "start-logging" => &["cloudtrail:StartLogging"],
                step => panic!("there is no step `{step}`"),
            };
            calls.extend(made.iter().map(ToString::to_string));
        }
        calls
    }

    fn before(&self, key: Option<&String>) -> Option<&Key> {
        self.scenery.world.keys.get(key?)
    }

    /// The sealing key of the bucket's Region afterwards.
    fn sealing(&self) -> Option<String> {
        if !self.row.takes("create-key") {
            return self.scenery.sealing.clone();
        }
        let new: Vec<&String> =
            self.after.keys.keys().filter(|key| !self.scenery.world.keys.contains_key(*key)).collect();
        assert_eq!(new.len(), 1, "one key is created");
        Some(new[0].clone())
    }

    /// The trail's key afterwards.
    pub fn key(&self) -> Option<String> {
        match self.row.takes("update-trail") {
            true => self.sealing(),
            false => self.trail().and_then(|trail| trail.kms_key_id.clone()),
        }
    }

    /// The trail as it was.
    fn trail(&self) -> Option<&Trail> {
        self.scenery.world.trails.get(self.scenery.trail)
    }

    /// Where the world is not what the steps make of it.
    pub fn problems(&self) -> Vec<String> {
        let mut expected = settled(self.scenery.world.clone());
        let mut problems = Vec::new();
        expected.published.clone_from(&self.after.published);
        if let (Some(trail), Some(now)) =
            (expected.trails.get_mut(self.scenery.trail), self.after.trails.get(self.scenery.trail))
        {
            trail.kms_key_id = self.key();
            if self.row.takes("start-logging") {
                (trail.logging, trail.started_at) = (true, now.started_at);
            }
            // What is mended ends a failing delivery.
            if self.row.enforce == "remediated" {
                trail.latest_delivery_error.clone_from(&now.latest_delivery_error);
                trail.latest_digest_delivery_error.clone_from(&now.latest_digest_delivery_error);
                trail.latest_delivery_at = now.latest_delivery_at;
            }
        }
        if let Some(key) = self.sealing() {
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
            problems.push("something else was changed".to_owned());
        }
        problems.extend(self.undelivered());
        problems
    }

    /// Puts into `expected` what the steps make of the sealing key.
    fn key_problems(&self, arn: &str, expected: &mut World) -> Vec<String> {
        let row = self.row;
        let mut problems = Vec::new();
        let Some(now) = self.after.keys.get(arn) else { return problems };
        if row.takes("create-key") {
            let sound = now.region == BUCKET_REGION
                && now.is_usable()
                && now.is_symmetric()
                && !now.multi_region
                && now.tags.get("managed-by").is_some_and(|tag| tag == "trailseal");
            problems.extend((!sound).then(|| format!("an odd new key: {}", json!(now))));
            let rotation_days = row.takes("enable-rotation").then_some(365);
            expected.keys.insert(arn.to_owned(), Key { rotation_days, ..now.clone() });
        } else if let Some(key) = expected.keys.get_mut(arn) {
            let is_ours = key.tags.get("managed-by").is_some_and(|tag| tag == "trailseal") && !self.scenery.supplied;
            let touched = row
                .steps()
                .iter()
                .any(|(step, status)| !["update-trail", "start-logging"].contains(step) && *status == "done");
            problems.extend((touched && !is_ours).then(|| "the row changes another's key".to_owned()));
            if row.takes("restore-key") {
                (key.state, key.deletion_date) = (KeyState::Enabled, None);
            }
            if row.takes("enable-rotation") {
                key.rotation_days = Some(365);
            }
            if row.takes("extend-key-policy") {
                let (before, after) = (statements(&key.policy), statements(&now.policy));
                problems.extend((!after.starts_with(&before) || after == before).then(|| lost(&before, &after)));
                key.policy.clone_from(&now.policy);
            }
        }
        if row.takes("create-alias") {
            let alias = AliasEntry { target: arn.to_owned(), created: expected.now, hidden_calls: 0 };
            expected.aliases.insert(format!("arn:aws:kms:{BUCKET_REGION}:{ACCOUNT}:{ALIAS}"), alias);
        }
        problems
    }

    /// After `remediated` CloudTrail delivers, or the row says why not.
    fn undelivered(&self) -> Option<String> {
        let delivers = self.after.check_delivery(self.scenery.trail);
        match (self.row.enforce == "remediated", &delivers, &self.row.undelivered) {
            (true, Err(why), None) => Some(format!("it was remediated, and CloudTrail cannot deliver: {why}")),
            (_, Ok(()), Some(why)) => Some(format!("CloudTrail delivers, and the row says why it could not: {why}")),
            _ => None,
        }
    }
}

fn lost(before: &[Value], after: &[Value]) -> String {
    format!("the policy did not only gain statements: {} became {}", json!(before), json!(after))
}

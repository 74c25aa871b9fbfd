//! What happens in an account in a day, what the function is handed of it and what it must answer.

use std::collections::BTreeMap;

use fake_aws::{Bucket, Call, KeyState, Trail, World};
use serde_json::{Value, json};

use super::account::{Account, Day, Kind};
use crate::{
    event::{api_call, settings},
    scene::{REGION, bucket_policy},
};

/// Events of keys that no trail uses, an account and day.
pub const OTHER_KEYS: usize = 10;

/// Something that starts the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The schedule's.
    Sweep,
    /// `PutKeyPolicy` on a key that no trail uses.
    OtherKey,
    /// `UpdateTrail` or `StartLogging` that leaves the trail sealed.
    Harmless,
    /// `CreateTrail` without a key.
    NewTrail,
    /// `UpdateTrail` that takes the key away.
    KeyTaken,
    /// `StopLogging`; the function reports it.
    Stopped,
    /// `DisableKey` on the key of the trail.
    KeyDisabled,
    /// `PutKeyPolicy` on the key of the trail that leaves CloudTrail in.
    KeyPolicy,
    /// What the function itself changed.
    Echo,
}

/// What is so before the event arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that the function looks at changed.
    None,
    /// A second trail, without a key.
    NewTrail,
    /// The trail has no key any more.
    TakeKey,
    /// The trail was stopped.
    Stop,
    /// The trail was started again.
    Start,
    /// The trail's key was disabled.
    DisableKey,
}

/// What the function must answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// How many trails have each outcome; none: the event is ignored.
    pub summary: BTreeMap<&'static str, u64>,
    /// How many alerts are sent.
    pub alerts: u64,
}

/// One of a day's happenings.
#[derive(Clone, Debug)]
pub struct Happening {
    /// What it is.
    pub what: What,
    /// What it is about.
    pub change: Change,
    /// What the function is handed.
    pub payload: Value,
    /// What it must answer.
    pub expected: Expected,
    /// How often the event is delivered.
    pub deliveries: usize,
}

impl Change {
    /// Makes it so.
    pub fn apply(self, account: Account, world: &mut World) {
        let arn = account.trail("audit");
        let now = world.now;
        let trail = world.trails.get_mut(&arn);
        match (self, trail) {
            (Self::NewTrail, _) => {
                let bucket = new_bucket(account);
                world.add_bucket(Bucket::new(&bucket, REGION).policy(&bucket_policy(&account.id(), &bucket)));
                world.add_trail(Trail::new("project", REGION, &bucket).multi_region());
            }
            (Self::TakeKey, Some(trail)) => trail.kms_key_id = None,
            (Self::Stop, Some(trail)) => (trail.logging, trail.stopped_at) = (false, Some(now)),
            (Self::Start, Some(trail)) => (trail.logging, trail.started_at) = (true, Some(now)),
            (Self::DisableKey, Some(trail)) => {
                let key = trail.kms_key_id.clone().and_then(|key| world.keys.get_mut(&key));
                key.expect("the trail has a key").state = KeyState::Disabled;
            }
            (Self::None, _) => {}
            (change, None) => panic!("{change:?} in an account without a trail"),
        }
    }
}

/// The bucket of the second trail.
fn new_bucket(account: Account) -> String {
    format!("logs-{}-project", account.id())
}

fn outcomes(summary: &[(&'static str, u64)], alerts: u64) -> Expected {
    Expected { summary: summary.iter().copied().collect(), alerts }
}

/// What happens in an account in a day, in order. What the function itself causes is not among it: [`echoes`].
pub fn happenings(account: Account, day: Day) -> Vec<Happening> {
    let mut day_of = DayOf { account, happenings: Vec::new() };
    day_of.sweep(day);
    if day == Day::Ordinary {
        day_of.other_keys();
        if account.kind() != Kind::Member {
            day_of.harmless();
        }
        if account.kind() == Kind::One {
            day_of.incident();
        }
    }
    day_of.happenings
}

struct DayOf {
    account: Account,
    happenings: Vec<Happening>,
}

impl DayOf {
    fn sweep(&mut self, day: Day) {
        let (kind, seen) = (self.account.kind(), ("out-of-scope", 1));
        let expected = match (day, kind) {
            (_, Kind::Member) => outcomes(&[seen], 0),
            (Day::Ordinary, Kind::One) => outcomes(&[seen, ("compliant", 1)], 0),
            (Day::Ordinary, Kind::Regional) => outcomes(&[seen, ("compliant", 5)], 0),
            (Day::Ordinary, Kind::Neglected) => outcomes(&[seen, ("compliant", 1), ("remediated", 1)], 1),
            (Day::RollOut, Kind::One) => outcomes(&[seen, ("remediated", 1)], 1),
            (Day::RollOut, Kind::Regional) => outcomes(&[seen, ("remediated", 5)], 1),
            (Day::RollOut, Kind::Neglected) => outcomes(&[seen, ("remediated", 2)], 1),
        };
        let payload = json!({ "sweep": {} });
        self.happenings.push(Happening { what: What::Sweep, change: Change::None, payload, expected, deliveries: 1 });
    }

    fn other_keys(&mut self) {
        for number in 0..OTHER_KEYS {
            let id = self.account.id();
            let key = format!("arn:aws:kms:{REGION}:{id}:key/11111111-0000-4000-8000-{number:012x}");
            self.event(What::OtherKey, Change::None, "PutKeyPolicy", &key, Expected::default());
            // EventBridge, and Lambda's queue, deliver at least once.
            if number == 0 && [7, 17].contains(&self.account.seat()) {
                self.happenings.last_mut().expect("it was added").deliveries = 2;
            }
        }
    }

    fn harmless(&mut self) {
        let name = if self.account.seat().is_multiple_of(2) { "StartLogging" } else { "UpdateTrail" };
        self.event(What::Harmless, Change::None, name, &self.account.trail("audit"), outcomes(&[("compliant", 1)], 0));
    }

    fn incident(&mut self) {
        let account = self.account;
        let trail = account.trail("audit");
        // The first key of an account's world.
        let key = format!("arn:aws:kms:{REGION}:{}:key/00000000-0000-4000-8000-000000000001", account.id());
        let (well, mended) = (outcomes(&[("compliant", 1)], 0), outcomes(&[("remediated", 1)], 1));
        match account.seat() {
            0 => self.event(What::NewTrail, Change::NewTrail, "CreateTrail", &account.trail("project"), mended),
            1 => self.event(What::KeyTaken, Change::TakeKey, "UpdateTrail", &trail, mended),
            2 => {
                self.event(What::Stopped, Change::Stop, "StopLogging", &trail, outcomes(&[("noted", 1)], 1));
                // Its owner reads the alert.
                self.event(What::Harmless, Change::Start, "StartLogging", &trail, well);
            }
            3 => self.event(What::KeyDisabled, Change::DisableKey, "DisableKey", &key, mended),
            _ => self.event(What::KeyPolicy, Change::None, "PutKeyPolicy", &key, well),
        }
    }

    fn event(&mut self, what: What, change: Change, name: &str, about: &str, expected: Expected) {
        let payload = event(self.account, name, about, self.happenings.len());
        self.happenings.push(Happening { what, change, payload, expected, deliveries: 1 });
    }
}

/// The event of a call about a trail or a key, by its ARN.
fn event(account: Account, name: &str, about: &str, number: usize) -> Value {
    let (service, parameters, answer) = match name {
        "CreateTrail" => {
            let bucket = new_bucket(account);
            let trail = about.rsplit('/').next();
            let parameters = json!({ "name": trail, "s3BucketName": bucket, "isMultiRegionTrail": true });
            ("cloudtrail", parameters, settings(about, &bucket))
        }
        "UpdateTrail" => {
            let bucket = format!("logs-{}-{REGION}", account.id());
            ("cloudtrail", json!({ "name": about, "kmsKeyId": "", "snsTopicName": "" }), settings(about, &bucket))
        }
        "StartLogging" | "StopLogging" => ("cloudtrail", json!({ "name": about }), Value::Null),
        "PutKeyPolicy" => {
            ("kms", json!({ "keyId": about, "policyName": "default", "policy": "{}" }), json!({ "keyId": about }))
        }
        "DisableKey" => ("kms", json!({ "keyId": about }), Value::Null),
        _ => panic!("`{name}` passes no rule"),
    };
    api_call(&account.id(), service, name, (account.number * 1000 + number) as u64, &parameters, &answer)
}

/// The events of what the function itself did in its own Region, as far as they pass the rules.
pub fn echoes(account: Account, calls: &[Call]) -> Vec<Happening> {
    let made = calls.iter().filter(|call| call.region == REGION && call.status == 200);
    let echo = |call: &Call| {
        let field = match call.name().as_str() {
            "cloudtrail:UpdateTrail" | "cloudtrail:StartLogging" => "Name",
            "kms:PutKeyPolicy" => "KeyId",
            _ => return None,
        };
        let about = call.input[field].as_str().expect("a call that names what it is about");
        Some(Happening {
            what: What::Echo,
            change: Change::None,
            payload: event(account, &call.operation, about, 500 + call.number),
            expected: outcomes(&[("compliant", 1)], 0),
            deliveries: 1,
        })
    };
    made.filter_map(echo).collect()
}

impl Expected {
    /// Why the answer is not that.
    pub fn differs(&self, answer: &Value) -> Option<String> {
        let ignored = !answer["ignored"].is_null();
        let summary = json!(self.summary);
        let alerts = json!({ "sent": self.alerts, "failed": 0 });
        let as_expected = ignored == self.summary.is_empty()
            && answer["summary"] == summary
            && answer["alerts"] == alerts
            && answer["error"].is_null()
            && answer["strays"] == json!([])
            && answer["warnings"] == json!([]);
        (!as_expected).then(|| format!("expected {summary} with alerts {alerts}, got {answer}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::account::BLOCK, *};

    fn block(number: usize, day: Day) -> BTreeMap<What, usize> {
        let mut counts = BTreeMap::new();
        for seat in 0..BLOCK {
            for happening in happenings(Account { number: number * BLOCK + seat }, day) {
                *counts.entry(happening.what).or_default() += happening.deliveries;
            }
        }
        counts
    }

    #[test]
    fn a_block_has_the_day_that_the_page_tells_of() {
        let expected = [
            (What::Sweep, 20),
            (What::OtherKey, 202),
            (What::Harmless, 8),
            (What::NewTrail, 1),
            (What::KeyTaken, 1),
            (What::Stopped, 1),
            (What::KeyDisabled, 1),
            (What::KeyPolicy, 1),
        ];
        assert_eq!(block(0, Day::Ordinary), expected.into());
        assert_eq!(block(49, Day::Ordinary), expected.into());
        assert_eq!(block(7, Day::RollOut), [(What::Sweep, 20)].into());
    }

    #[test]
    fn no_two_events_of_a_day_have_one_id() {
        let mut ids = std::collections::BTreeSet::new();
        let events = (0..3 * BLOCK).flat_map(|number| happenings(Account { number }, Day::Ordinary));
        let mut events = events.filter(|happening| happening.what != What::Sweep);
        assert!(events.all(|event| ids.insert(event.payload["detail"]["eventID"].to_string())));
    }

    #[test]
    fn a_change_makes_the_account_need_the_function() {
        for (seat, unwell) in [(0, true), (1, true), (2, true), (3, true), (4, false)] {
            let account = Account { number: seat };
            let mut world = account.world(Day::Ordinary);
            let mut happened = happenings(account, Day::Ordinary);
            happened.retain(|happening| !matches!(happening.change, Change::Start));
            happened.iter().for_each(|happening| happening.change.apply(account, &mut world));
            assert_eq!(super::super::account::trouble(&world).is_some(), unwell, "{account:?}");
        }
    }

    #[test]
    fn an_answer_is_compared_whole() {
        let expected = outcomes(&[("remediated", 1)], 1);
        let mut answer = json!({
            "ignored": null, "summary": { "remediated": 1 }, "alerts": { "sent": 1, "failed": 0 },
            "error": null, "strays": [], "warnings": []
        });
        assert_eq!(expected.differs(&answer), None);
        answer["alerts"]["failed"] = json!(1);
        assert!(expected.differs(&answer).is_some());
    }
}

//! From words to a world: one match arm a word.

use fake_aws::{Bucket, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use super::table::Row;
use crate::support::{ACCOUNT, ALIAS, AUDIT, Setting, account, sealing_policy};

const BUCKET: &str = "audit-logs";
pub const BUCKET_REGION: &str = "eu-central-1";
const OTHER: &str = "210987654321";
const OWNER: &str = "999999999999";
const READER: &str = "arn:aws:iam::210987654321:role/siem";
const ORGANIZATION_TRAIL: &str = "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization";

/// Long ago, so that nothing is taken for young, whatever the clock says.
const LONG_AGO: u64 = 1_500_000_000;

/// What a row describes.
pub struct Scenery {
    pub world: World,
    /// The trail that the row is about.
    pub trail: &'static str,
    /// The event that names it.
    pub event: &'static str,
    /// The sealing key that is there, if it is, whether or not it exists.
    pub sealing: Option<String>,
    /// Whether the sealing key is supplied.
    pub supplied: bool,
    variables: Vec<(&'static str, String)>,
}

impl Scenery {
    pub fn of(row: &Row) -> Self {
        let mut world = account();
        world.trails.clear();
        let mut scenery = Self {
            world,
            trail: AUDIT,
            event: "update-trail-by-name",
            sealing: None,
            supplied: false,
            variables: vec![],
        };
        scenery.world.add_bucket(bucket(&row.bucket));
        if row.bucket == "missing" {
            scenery.world.buckets.clear();
        }
        scenery.place(row);
        let key = match row.key.as_str() {
            "none" => None,
            "the sealing key" => scenery.sealing.clone(),
            word => Some(scenery.key(word)),
        };
        scenery.trail(&row.trail, key);
        scenery.read(&row.read);
        scenery.write(&row.write);
        row.configuration.iter().for_each(|word| scenery.configure(word));
        scenery
    }

    pub fn setting(&self) -> Setting {
        let setting = Setting::new(self.world.clone());
        self.variables.iter().fold(setting, |setting, (name, value)| setting.with(name, value))
    }

    /// The key that the trail has at first.
    pub fn own_key(&self) -> Option<&String> {
        self.world.trails.get(self.trail)?.kms_key_id.as_ref()
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    /// Puts the sealing key in its place.
    fn place(&mut self, row: &Row) {
        let Some((place, word)) = row.sealing_key() else { return };
        let key = self.key(word);
        match place {
            "alias" => {
                self.world.alias(BUCKET_REGION, ALIAS, &key);
            }
            "supplied" => {
                self.supplied = true;
                self.set("TRAILSEAL_KEY_ARNS", &key);
            }
            "unfinished" => {}
            "unfinished, in use" => {
                self.world.add_trail(Trail::new("second", "eu-west-1", BUCKET).encrypted_with(&key));
            }
            word => panic!("nothing builds the place `{word}`"),
        }
        self.sealing = Some(key);
    }

    fn trail(&mut self, word: &str, key: Option<String>) {
        let audit = Trail::new("audit", "eu-west-1", BUCKET).multi_region();
        let trail = match word {
            "logs" => audit,
            "delivery fails, perhaps for its key" => audit.failing("AccessDenied"),
            "digest delivery fails, perhaps for its key" => {
                Trail { latest_digest_delivery_error: Some("AccessDenied".into()), ..audit }
            }
            "delivery fails for another reason" => audit.failing("NoSuchBucket"),
            "stopped" => audit.stopped(LONG_AGO),
            "never started" => audit.never_started(),
            "exempt" => exempt(audit),
            "exempt, stopped" => exempt(audit.stopped(LONG_AGO)),
            "exempt, its delivery fails" => exempt(audit.failing("AccessDenied")),
            "the organization's" => {
                (self.trail, self.event) = (ORGANIZATION_TRAIL, "update-trail-organization");
                Trail::new("organization", "us-east-1", BUCKET).organization(OWNER)
            }
            "gone" => return,
            word => panic!("nothing builds the trail `{word}`"),
        };
        self.world.add_trail(Trail { kms_key_id: key, ..trail });
    }

    /// A key in the bucket's Region, unless the word says otherwise.
    fn key(&mut self, word: &str) -> String {
        let here = || Key::new(BUCKET_REGION).created(LONG_AGO);
        let ours = || here().policy(&sealing_policy()).tag("managed-by", "trailseal");
        let documented = self.world.cloudtrail_key_policy();
        let anothers = || here().policy(&documented);
        let key = match word {
            "ours" => ours(),
            "ours, disabled" => ours().state(KeyState::Disabled),
            "ours, being deleted" => doomed(ours()),
            "ours, stripped" => ours().policy(&stripped()),
            "ours, disabled and stripped" => ours().policy(&stripped()).state(KeyState::Disabled),
            "ours, without Decrypt" => ours().policy(&without(&sealing_policy(), "CloudTrailDecryptsForBucketKeys")),
            "ours, with a former reader" => ours().policy(&with(&sealing_policy(), reader_account("333333333333"))),
            "ours, with a Deny" => ours().policy(&with(&sealing_policy(), deny(Value::Null))),
            "ours, disabled, with a Deny" => {
                ours().policy(&with(&sealing_policy(), deny(Value::Null))).state(KeyState::Disabled)
            }
            "ours, with an unclear Deny" => {
                let elsewhere =
                    json!({ "StringLike": { "kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::elsewhere*" } });
                ours().policy(&with(&sealing_policy(), deny(elsewhere)))
            }
            "ours, with a foreign statement" => {
                let root = json!({ "AWS": "arn:aws:iam::666666666666:root" });
                let foreign = json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*" });
                ours().policy(&with(&sealing_policy(), foreign))
            }
            "ours, exempt" => exempt_key(ours()),
            "ours, exempt and disabled" => exempt_key(ours()).state(KeyState::Disabled),
            "ours, exempt and stripped" => exempt_key(ours()).policy(&stripped()),
            "another's" => anothers(),
            "another's, disabled" => anothers().state(KeyState::Disabled),
            "another's, being deleted" => doomed(anothers()),
            "another's, waiting for material" => {
                Key { origin: "EXTERNAL".into(), ..anothers().state(KeyState::PendingImport) }
            }
            "another's, asymmetric" => anothers().spec("RSA_2048", "SIGN_VERIFY"),
            "another's, with a gap" => here(),
            "another's, with a Deny" => anothers().policy(&with(&documented, deny(Value::Null))),
            "another's, disabled, with a gap" => here().state(KeyState::Disabled),
            "another's, without Decrypt" => {
                anothers().policy(&without(&documented, "Allow CloudTrail to decrypt for bucket keys"))
            }
            "another's, for one bucket" => {
                let bucket =
                    json!({ "StringLike": { "kms:EncryptionContext:aws:s3:arn": format!("arn:aws:s3:::{BUCKET}*") } });
                anothers().policy(&only_where(&documented, "Allow CloudTrail to encrypt logs", &bucket))
            }
            "another's, for one VPC" => {
                let vpc = json!({ "StringEquals": { "aws:SourceVpc": "vpc-1" } });
                anothers().policy(&only_where(&documented, "Allow CloudTrail to describe key", &vpc))
            }
            "another's, of another Region" => Key { region: "us-east-1".into(), ..anothers() },
            "another account's" => elsewhere(anothers()),
            "another account's, with a gap" => here().of_account(OTHER),
            "another account's, to be seen" => to_be_seen(anothers()),
            "another account's, to be seen, disabled" => to_be_seen(anothers()).state(KeyState::Disabled),
            "AWS's" => here().managed_by_aws(),
            "missing" => {
                return format!("arn:aws:kms:{BUCKET_REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-00000000dead");
            }
            // One look is two calls: DescribeKey and GetKeyPolicy.
            "missing for a moment" => Key { hidden_calls: 2, ..anothers() },
            word => panic!("nothing builds the key `{word}`"),
        };
        self.world.key(key)
    }

    fn read(&mut self, word: &str) {
        let refused: &[&str] = match word {
            "everything" => &[],
            "not the trail" => &["cloudtrail:GetTrail"],
            "not the trail's status" => &["cloudtrail:GetTrailStatus"],
            "not the trail's tags" => &["cloudtrail:ListTags"],
            "not the key" => &["kms:DescribeKey"],
            "not the key's policy" => &["kms:GetKeyPolicy"],
            "not the key's tags" => &["kms:ListResourceTags"],
            "not the key's aliases" => &["kms:ListAliases"],
            "not the bucket's policy and replication" => &["s3:GetBucketPolicy", "s3:GetBucketReplication"],
            "not the tag index" => &["tagging:GetResources"],
            "not the list of trails" => &["cloudtrail:ListTrails"],
            word => panic!("nothing refuses to read `{word}`"),
        };
        self.refuse(refused);
    }

    fn write(&mut self, word: &str) {
        let refused: &[&str] = match word {
            "everything" => &[],
            "not create a key" => &["kms:CreateKey"],
            "not create an alias" => &["kms:CreateAlias"],
            "not switch rotation on" => &["kms:EnableKeyRotation"],
            "not restore a key" => &["kms:EnableKey", "kms:CancelKeyDeletion"],
            "not put a key's policy" => &["kms:PutKeyPolicy"],
            "not update the trail" => &["cloudtrail:UpdateTrail"],
            "not start logging" => &["cloudtrail:StartLogging"],
            word => panic!("nothing refuses to `{word}`"),
        };
        self.refuse(refused);
    }

    fn refuse(&mut self, operations: &[&str]) {
        self.world.denied.extend(operations.iter().map(|&operation| operation.to_owned()));
    }

    fn configure(&mut self, word: &str) {
        match word {
            "the reader" => self.set("TRAILSEAL_LOG_READERS", READER),
            "hold" => self.set("TRAILSEAL_READERS_LOCKED_OUT", "hold"),
            "restart" => self.set("TRAILSEAL_RESTART_LOGGING", "true"),
            "the organization's owner" => {
                self.world.delegated_admin = true;
                self.set("TRAILSEAL_ORG_TRAIL_OWNER", OWNER);
            }
            word => panic!("nothing configures `{word}`"),
        }
    }
}

fn bucket(word: &str) -> Bucket {
    let bucket = Bucket::new(BUCKET, BUCKET_REGION);
    let uploads_not = |header: &str, value: &str| {
        let condition = json!({ "StringNotEquals": { (header): value } });
        policy(&json!([{ "Sid": "Uploads", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{BUCKET}/*"), "Condition": condition }]))
    };
    match word {
        "plain" | "missing" => bucket,
        "refuses the key" => {
            let other = format!("arn:aws:kms:{BUCKET_REGION}:{ACCOUNT}:key/another");
            bucket.policy(&uploads_not("s3:x-amz-server-side-encryption-aws-kms-key-id", &other))
        }
        "refuses every key" => bucket.policy(&uploads_not("s3:x-amz-server-side-encryption", "AES256")),
        "insists on KMS" => bucket.policy(&uploads_not("s3:x-amz-server-side-encryption", "aws:kms")),
        "unclear" => bucket.policy(&uploads_not("aws:SourceVpce", "vpce-1")),
        "a foreign reader" => bucket.policy(&policy(&json!([{ "Sid": "Reads", "Effect": "Allow", "Principal": { "AWS": READER },
            "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*") }]))),
        "another account's" => bucket.of_account(OTHER),
        "a replication that stops" => bucket.replication(&replication("")),
        "a replication that goes on" => bucket.replication(&replication(
            "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>",
        )),
        "with a Bucket Key" => bucket.with_bucket_key(),
        word => panic!("nothing builds the bucket `{word}`"),
    }
}

fn replication(more: &str) -> String {
    format!(
        r#"<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>arn:aws:iam::{ACCOUNT}:role/r</Role><Rule><ID>archive</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>{more}<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::archive</Bucket></Destination></Rule></ReplicationConfiguration>"#
    )
}

fn exempt(trail: Trail) -> Trail {
    trail.tag("trailseal:exempt", "SEC-42")
}

fn exempt_key(key: Key) -> Key {
    key.tag("trailseal:exempt", "SEC-7")
}

fn doomed(key: Key) -> Key {
    Key { deletion_date: Some(1_900_000_000), ..key.state(KeyState::PendingDeletion) }
}

/// Another account's, whose policy leaves to that account what it left to this one.
fn elsewhere(key: Key) -> Key {
    let policy = key.policy.replace(&format!(":iam::{ACCOUNT}:"), &format!(":iam::{OTHER}:"));
    key.of_account(OTHER).policy(&policy)
}

fn to_be_seen(key: Key) -> Key {
    let caller = json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") });
    let seen =
        json!({ "Sid": "Seen", "Effect": "Allow", "Principal": caller, "Action": "kms:DescribeKey", "Resource": "*" });
    let key = elsewhere(key);
    let policy = with(&key.policy, seen);
    key.policy(&policy)
}

fn policy(statements: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

pub fn statements(policy: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(policy).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

fn with(text: &str, more: Value) -> String {
    let mut statements = statements(text);
    statements.push(more);
    policy(&json!(statements))
}

fn without(text: &str, sid: &str) -> String {
    let mut statements = statements(text);
    statements.retain(|statement| statement["Sid"] != sid);
    policy(&json!(statements))
}

/// The policy with a condition more on that statement.
fn only_where(text: &str, sid: &str, condition: &Value) -> String {
    let mut statements = statements(text);
    let statement = statements.iter_mut().find(|statement| statement["Sid"] == sid).unwrap();
    for (operator, keys) in condition.as_object().unwrap() {
        for (key, value) in keys.as_object().unwrap() {
            statement["Condition"][operator][key] = value.clone();
        }
    }
    policy(&json!(statements))
}

/// A statement of somebody else's, then the account's own administration.
fn stripped() -> String {
    let theirs = json!({ "Sid": "Their own", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        "Action": ["kms:TagResource"], "Resource": "*" });
    policy(&json!([theirs, statements(&sealing_policy())[0]]))
}

fn deny(condition: Value) -> Value {
    let mut deny = json!({ "Sid": "NobodyAtAll", "Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey*", "Resource": "*" });
    if !condition.is_null() {
        deny["Condition"] = condition;
    }
    deny
}

fn reader_account(account: &str) -> Value {
    json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
        "Action": "kms:Decrypt", "Resource": "*", "Condition": { "StringLike": { "kms:ViaService": "s3.*" } } })
}

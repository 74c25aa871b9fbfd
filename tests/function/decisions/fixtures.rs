//! From a row's terms to a world: one match arm per term.

use fake_aws::{Bucket, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use super::decision_table::Row;
use crate::support::{ACCOUNT, ALIAS, AUDIT, Scenario, ScenarioBuilder, account, event, now, sealing_policy};

const BUCKET: &str = "audit-logs";
pub const BUCKET_REGION: &str = "eu-central-1";
const OTHER_ACCOUNT: &str = "210987654321";
const MANAGEMENT_ACCOUNT: &str = "999999999999";
const READER: &str = "arn:aws:iam::210987654321:role/siem";
const ORGANIZATION_TRAIL: &str = "arn:aws:cloudtrail:us-east-1:999999999999:trail/organization";

/// Older than every age limit, whatever the clock says.
const LONG_AGO: u64 = 1_500_000_000;

/// A row's situation.
pub struct Fixture {
    pub world: World,
    /// The ARN of the row's trail.
    pub trail: &'static str,
    /// The event that names the trail, or a sweep.
    pub input: Value,
    /// The ARN of the sealing key, which may be missing.
    pub sealing_key: Option<String>,
    /// Whether `TRAILSEAL_KEY_ARNS` supplies the sealing key.
    pub supplied: bool,
    variables: Vec<(&'static str, String)>,
}

impl Fixture {
    pub fn new(row: &Row) -> Self {
        let mut world = account();
        world.trails.clear();
        let mut fixture = Self {
            world,
            trail: AUDIT,
            input: event("update-trail-by-name"),
            sealing_key: None,
            supplied: false,
            variables: vec![],
        };
        fixture.world.add_bucket(bucket(&row.bucket));
        if row.bucket == "missing" {
            fixture.world.buckets.clear();
        }
        fixture.add_sealing_key(row);
        let key = match row.trail_key.as_str() {
            "none" => None,
            "sealing key" => fixture.sealing_key.clone(),
            terms => Some(fixture.add_key(terms)),
        };
        fixture.add_trail(&row.trail, key);
        if [&row.trail_key, &row.sealing_key].iter().any(|key| key.contains("rotation off")) {
            fixture.input = json!({ "sweep": {} });
        }
        row.denied.iter().for_each(|action| fixture.deny(action));
        row.parameters.iter().for_each(|parameter| fixture.configure(parameter));
        fixture
    }

    pub fn scenario(&self) -> ScenarioBuilder {
        let builder = Scenario::builder(self.world.clone());
        self.variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    /// The trail's key before the first run.
    pub fn trail_key(&self) -> Option<&String> {
        self.world.trails.get(self.trail)?.kms_key_id.as_ref()
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    fn add_sealing_key(&mut self, row: &Row) {
        let Some((location, terms)) = row.sealing_key() else { return };
        let key = self.add_key(terms);
        match location {
            "alias" => {
                self.world.alias(BUCKET_REGION, ALIAS, &key);
            }
            "KeyArns" => {
                self.supplied = true;
                self.set("TRAILSEAL_KEY_ARNS", &key);
            }
            "no alias" => {}
            "no alias, in use" => {
                self.world.add_trail(Trail::new("second", "eu-west-1", BUCKET).encrypted_with(&key));
            }
            term => panic!("no fixture for the location `{term}`"),
        }
        self.sealing_key = Some(key);
    }

    fn add_trail(&mut self, terms: &str, key: Option<String>) {
        let audit = Trail::new("audit", "eu-west-1", BUCKET).multi_region();
        let trail = terms.split(", ").try_fold(audit, |trail, term| {
            Some(match term {
                "logging" => trail,
                "delivery AccessDenied" => trail.failing("AccessDenied"),
                "delivery NoSuchBucket" => trail.failing("NoSuchBucket"),
                "digest AccessDenied" => Trail { latest_digest_delivery_error: Some("AccessDenied".into()), ..trail },
                "stopped" => trail.stopped(LONG_AGO),
                "never started" => trail.never_started(),
                "exempt" => trail.tag("trailseal:exempt", "SEC-42"),
                "organization" => {
                    (self.trail, self.input) = (ORGANIZATION_TRAIL, event("update-trail-organization"));
                    Trail::new("organization", "us-east-1", BUCKET).organization(MANAGEMENT_ACCOUNT)
                }
                "deleted" => return None,
                term => panic!("no fixture for the trail `{term}`"),
            })
        });
        if let Some(trail) = trail {
            self.world.add_trail(Trail { kms_key_id: key, ..trail });
        }
    }

    /// A key with its attributes, in the bucket's Region unless an attribute says otherwise.
    fn add_key(&mut self, terms: &str) -> String {
        let mut terms = terms.split(", ");
        let owner = terms.next().unwrap_or_default();
        let key = Key::new(BUCKET_REGION).created(LONG_AGO);
        let documented = self.world.cloudtrail_key_policy();
        let key = match owner {
            "trailseal" => {
                Key { rotation_days: Some(365), ..key }.policy(&sealing_policy()).tag("managed-by", "trailseal")
            }
            "customer" => key.policy(&documented),
            // The policy delegates to its own account what the documented one delegates to this account.
            "cross-account" => key
                .of_account(OTHER_ACCOUNT)
                .policy(&documented.replace(&format!(":iam::{ACCOUNT}:"), &format!(":iam::{OTHER_ACCOUNT}:"))),
            "AWS managed" => key.managed_by_aws(),
            "missing" => {
                return format!("arn:aws:kms:{BUCKET_REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-00000000dead");
            }
            term => panic!("no fixture for the key `{term}`"),
        };
        let key = terms.fold(key, |key, attribute| with_attribute(key, owner, attribute));
        self.world.key(key)
    }

    fn deny(&mut self, action: &str) {
        // Some IAM actions do not have the name of their operation.
        let operation = match action {
            "s3:GetReplicationConfiguration" => "s3:GetBucketReplication",
            "s3:ListAllMyBuckets" => "s3:ListBuckets",
            "tag:GetResources" => "tagging:GetResources",
            action => action,
        };
        self.world.denied.insert(operation.to_owned());
    }

    fn configure(&mut self, parameter: &str) {
        match parameter {
            "LogReaders" => self.set("TRAILSEAL_LOG_READERS", READER),
            "ReadersLockedOut=hold" => self.set("TRAILSEAL_READERS_LOCKED_OUT", "hold"),
            "RestartLogging=true" => self.set("TRAILSEAL_RESTART_LOGGING", "true"),
            "OrgTrailOwner" => {
                self.world.delegated_admin = true;
                self.set("TRAILSEAL_ORG_TRAIL_OWNER", MANAGEMENT_ACCOUNT);
            }
            term => panic!("no fixture for the parameter `{term}`"),
        }
    }
}

fn with_attribute(key: Key, owner: &str, attribute: &str) -> Key {
    let policy = key.policy.clone();
    match attribute {
        "disabled" => key.state(KeyState::Disabled),
        "pending deletion" => Key { deletion_date: Some(1_900_000_000), ..key.state(KeyState::PendingDeletion) },
        "pending import" => Key { origin: "EXTERNAL".into(), ..key.state(KeyState::PendingImport) },
        "CloudHSM store disconnected" => {
            key.in_key_store("AWS_CLOUDHSM", "cks-1234567890abcdef0").state(KeyState::Unavailable)
        }
        "external store disconnected" => {
            key.in_key_store("EXTERNAL_KEY_STORE", "cks-0fedcba0987654321").state(KeyState::Unavailable)
        }
        "rotation off" => Key { rotation_days: None, ..key },
        "creating" => key.state(KeyState::Creating),
        "expires soon" => key.imported_until(now() + 29 * 86_400),
        "expires later" => key.imported_until(now() + 31 * 86_400),
        "asymmetric" => key.spec("RSA_2048", "SIGN_VERIFY"),
        "policy gap" if owner == "trailseal" => key.policy(&replaced_policy()),
        // KMS's default policy.
        "policy gap" => key.policy(""),
        "no Decrypt" if owner == "trailseal" => key.policy(&without(&policy, "CloudTrailDecryptsForBucketKeys")),
        "no Decrypt" => key.policy(&without(&policy, "Allow CloudTrail to decrypt for bucket keys")),
        "no DescribeKey" if owner == "trailseal" => key.policy(&without(&policy, "CloudTrailDescribes")),
        "no DescribeKey" => key.policy(&without(&policy, "Allow CloudTrail to describe key")),
        "Deny DescribeKey" => {
            let mut deny = deny(Value::Null);
            deny["Action"] = json!("kms:Describe*");
            deny["Principal"] = json!({ "Service": "cloudtrail.amazonaws.com" });
            key.policy(&with(&policy, deny))
        }
        "Deny" => key.policy(&with(&policy, deny(Value::Null))),
        "conditional Deny" => {
            let context = json!({ "StringLike": { "kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::elsewhere*" } });
            key.policy(&with(&policy, deny(context)))
        }
        "bucket condition" => {
            let bucket =
                json!({ "StringLike": { "kms:EncryptionContext:aws:s3:arn": format!("arn:aws:s3:::{BUCKET}*") } });
            key.policy(&with_condition(&policy, "Allow CloudTrail to encrypt logs", &bucket))
        }
        "network condition" => {
            let network = json!({ "IpAddress": { "aws:SourceIp": "203.0.113.0/24" } });
            key.policy(&with_condition(&policy, "Allow CloudTrail to encrypt logs", &network))
        }
        "locked" => {
            let deny = json!({ "Sid": "Locked", "Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*" });
            key.policy(&with(&policy, deny))
        }
        "read-only" => {
            let mut statements = statements(&policy);
            statements[0]["Action"] = json!(["kms:Describe*", "kms:Get*", "kms:List*"]);
            statements.retain(|statement| statement["Sid"] != "TrailsealFinishesCreation");
            key.policy(&self::policy(&json!(statements)))
        }
        "removed reader" => key.policy(&with(&policy, reader_statement("333333333333"))),
        "unknown statement" => {
            let root = json!({ "AWS": "arn:aws:iam::666666666666:root" });
            let statement = json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow", "Principal": root,
                "Action": "kms:*", "Resource": "*" });
            key.policy(&with(&policy, statement))
        }
        "exempt" => key.tag("trailseal:exempt", "SEC-7"),
        "describable" => {
            let caller = json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") });
            let statement = json!({ "Sid": "OtherAccountDescribes", "Effect": "Allow", "Principal": caller,
                "Action": "kms:DescribeKey", "Resource": "*" });
            key.policy(&with(&policy, statement))
        }
        "other Region" => Key { region: "us-east-1".into(), ..key },
        // The first read makes at least two calls for the key: DescribeKey and GetKeyPolicy.
        "eventually consistent" => Key { hidden_calls: 2, ..key },
        term => panic!("no fixture for the key attribute `{term}`"),
    }
}

fn bucket(term: &str) -> Bucket {
    let bucket = Bucket::new(BUCKET, BUCKET_REGION);
    let with = |statement: Value| World::new(ACCOUNT).bucket_policy(BUCKET, &[statement]);
    let deny_uploads = |condition: Value| {
        with(json!({ "Sid": "Uploads", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{BUCKET}/*"), "Condition": condition }))
    };
    let deny_uploads_unless =
        |header: &str, value: &str| deny_uploads(json!({ "StringNotEquals": { (header): value } }));
    let allow = |principal: Value, condition: Value| {
        let statement = |action: &str, resource: String, condition: &Value| {
            json!({ "Sid": action.replace("s3:", ""), "Effect": "Allow", "Principal": principal, "Action": action,
                "Resource": resource, "Condition": condition })
        };
        let bucket = format!("arn:aws:s3:::{BUCKET}");
        policy(&json!([
            statement("s3:GetBucketAcl", bucket.clone(), &json!({})),
            statement("s3:PutObject", format!("{bucket}/*"), &condition),
        ]))
    };
    let allow_service = |condition: Value| allow(json!({ "Service": "cloudtrail.amazonaws.com" }), condition);
    match term {
        "default" | "missing" => bucket,
        "denies this key" => {
            let other = format!("arn:aws:kms:{BUCKET_REGION}:{ACCOUNT}:key/another");
            bucket.policy(&deny_uploads_unless("s3:x-amz-server-side-encryption-aws-kms-key-id", &other))
        }
        "requires AES256" => bucket.policy(&deny_uploads_unless("s3:x-amz-server-side-encryption", "AES256")),
        "requires aws:kms" => bucket.policy(&deny_uploads_unless("s3:x-amz-server-side-encryption", "aws:kms")),
        "VPC endpoint Deny" => bucket.policy(&deny_uploads_unless("aws:SourceVpce", "vpce-1")),
        "TLS Deny" => bucket.policy(&deny_uploads(json!({ "NumericLessThan": { "s3:TlsVersion": "1.3" } }))),
        "KMS network Deny" => bucket.policy(&deny_uploads(json!({ "NotIpAddress": { "aws:SourceIp": "203.0.113.0/24" },
            "StringEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } }))),
        "no policy" => bucket.without_policy(),
        "PrincipalOrgID" => {
            bucket.policy(&allow_service(json!({ "StringEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } })))
        }
        "another trail" => {
            let other = format!("arn:aws:cloudtrail:eu-west-1:{ACCOUNT}:trail/other");
            bucket.policy(&allow_service(json!({ "StringEquals": { "aws:SourceArn": other } })))
        }
        "former account" => {
            bucket.policy(&allow(json!({ "AWS": "arn:aws:iam::859597730677:root" }), json!({})))
        }
        "external reader" => bucket.policy(&with(json!({ "Sid": "Reads", "Effect": "Allow", "Principal": { "AWS": READER },
            "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*") }))),
        "cross-account" => bucket.of_account(OTHER_ACCOUNT),
        "cross-account, 405" => Bucket { method_not_allowed: true, ..bucket.of_account(OTHER_ACCOUNT) },
        "replication without SSE-KMS" => bucket.replication(&replication("")),
        "replication with SSE-KMS" => bucket.replication(&replication(
            "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>",
        )),
        "S3 Bucket Key" => bucket.with_bucket_key(),
        term => panic!("no fixture for the bucket `{term}`"),
    }
}

fn replication(source_selection: &str) -> String {
    format!(
        r#"<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>arn:aws:iam::{ACCOUNT}:role/r</Role><Rule><ID>archive</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>{source_selection}<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::archive</Bucket></Destination></Rule></ReplicationConfiguration>"#
    )
}

fn policy(statements: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

pub fn statements(policy: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(policy).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

fn with(text: &str, statement: Value) -> String {
    let mut statements = statements(text);
    statements.push(statement);
    policy(&json!(statements))
}

fn without(text: &str, sid: &str) -> String {
    let mut statements = statements(text);
    statements.retain(|statement| statement["Sid"] != sid);
    policy(&json!(statements))
}

/// The policy with an additional condition on that statement.
fn with_condition(text: &str, sid: &str, condition: &Value) -> String {
    let mut statements = statements(text);
    let statement = statements.iter_mut().find(|statement| statement["Sid"] == sid).unwrap();
    for (operator, keys) in condition.as_object().unwrap() {
        for (key, value) in keys.as_object().unwrap() {
            statement["Condition"][operator][key] = value.clone();
        }
    }
    policy(&json!(statements))
}

/// A policy that the customer wrote over trailseal's: a statement of their own, then the account root's.
fn replaced_policy() -> String {
    let theirs = json!({ "Sid": "Their own", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        "Action": ["kms:TagResource"], "Resource": "*" });
    policy(&json!([theirs, statements(&sealing_policy())[0]]))
}

fn deny(condition: Value) -> Value {
    let mut deny = json!({ "Sid": "DenyEveryone", "Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey*", "Resource": "*" });
    if !condition.is_null() {
        deny["Condition"] = condition;
    }
    deny
}

fn reader_statement(account: &str) -> Value {
    json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
        "Action": "kms:Decrypt", "Resource": "*", "Condition": { "StringLike": { "kms:ViaService": "s3.*" } } })
}

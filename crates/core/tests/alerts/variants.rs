//! The text of each variant of a warning, a finding and an obstacle.

use trailseal_core::access::{DecryptBarrier, KeyAccess, LockedOutReader, LogFiles};
use trailseal_core::finding::{DeliveryError, Finding, KeyOwner, UnreadTrails, Warning};
use trailseal_core::iam::{Decision, Document, Reason, StatementId};
use trailseal_core::ids::TrailArn;
use trailseal_core::journal::Journal;
use trailseal_core::key_policy::{KeyAdministrator, KeyPolicy, UnrevokedReader};
use trailseal_core::observation::{Expiry, ReplicationRule};
use trailseal_core::plan::{Disposition, KeySource, Obstacle, Plan, TrailPlan, UnusableKey};
use trailseal_core::report::{AccountReport, Alert, Answer, alerts};
use trailseal_core::trigger::{Origin, SWEEP};

use super::scenario::{denied, region};
use super::{ACCOUNT_ONLY, HERE, assert_alerts, context, with_id};

/// A trail with a plan that no scenario makes.
fn typed(name: &str, disposition: Disposition) -> (TrailArn, TrailPlan) {
    let plan = TrailPlan {
        findings: vec![],
        warnings: vec![],
        current_key: None,
        logging: Some(true),
        disposition,
        sealing_region: None,
        restart: None,
        update: None,
    };
    (format!("arn:aws:cloudtrail:{HERE}:123456789012:trail/{name}").parse().unwrap(), plan)
}

/// The digest about these trails.
fn digest(trails: impl IntoIterator<Item = (TrailArn, TrailPlan)>) -> Vec<Alert> {
    let context = context(&[]);
    let mut journal = Journal::default();
    journal.begin_pass(Plan { trails: trails.into_iter().collect(), ..Plan::default() });
    let origin = Origin { kind: SWEEP.into(), ..Origin::default() };
    alerts(&Answer::compose(&context, &origin, &journal, AccountReport::default()), &origin, &context)
}

fn no_allow() -> Decision {
    Decision::ImplicitDeny(vec![])
}

fn allowed() -> Decision {
    Decision::Allowed(StatementId { index: 0, sid: None })
}

fn uncertain() -> Decision {
    let statement = Some(StatementId { index: 0, sid: Some("OfficeOnly".into()) });
    Decision::Unknown(vec![Reason { statement, why: "the value of `aws:SourceVpce` is unknown".into() }])
}

fn explicit_deny() -> Decision {
    Decision::ExplicitDeny(StatementId { index: 1, sid: None })
}

fn access(decision: Decision) -> KeyAccess {
    KeyAccess { generate_data_key: decision.clone(), describe_key: decision, decrypt: allowed() }
}

#[test]
fn every_warning() {
    let key = || with_id(7);
    let bucket = || "logs-eu-west-1".to_owned();
    let failure = || denied("kms:DescribeKey", &format!("read key `{}`", with_id(7)));
    let malformed = || Document::parse("[]").unwrap_err();
    let reader = |reader: &str, log_reader: Option<&str>, certain| LockedOutReader {
        reader: reader.into(),
        log_reader: log_reader.map(Into::into),
        statement: StatementId { index: 0, sid: Some("Readers".into()) },
        reads_certainly: true,
        barrier: DecryptBarrier::ImplicitDeny,
        certain,
    };
    let same = |name, certain| reader(name, Some(name), certain);
    let readers = vec![same("210987654321", true), same("o-abcdefghij", false)];
    let named_otherwise = vec![
        reader("arn:aws:iam::210987654321:root", Some("210987654321"), true),
        reader("arn:aws:iam::*:role/siem-*", None, true),
        reader("o-abcdefghij", Some("o-abcdefghij"), false),
        reader("*", None, false),
    ];
    let unrevoked = UnrevokedReader { sid: "LogReadersDecrypt".into(), reader: "o-abcdefghij".into() };
    let rule = ReplicationRule {
        id: None,
        enabled: true,
        prefix: String::new(),
        filters_by_tag: false,
        destination: "arn:aws:s3:::logs-archive".into(),
        replicates_sse_kms: false,
        role: "arn:aws:iam::123456789012:role/replicate".into(),
    };
    let policy_denied = |owner| Warning::BucketPolicyDenied {
        bucket: bucket(),
        failure: denied("s3:GetBucketPolicy", "read the policy of bucket `logs-eu-west-1` in `eu-west-1`"),
        owner,
    };
    let warnings = vec![
        Warning::ReadersLockedOut { bucket: bucket(), readers, owner: KeyOwner::Trailseal },
        Warning::ReadersLockedOut { bucket: bucket(), readers: named_otherwise, owner: KeyOwner::Trailseal },
        Warning::BucketOwnerLockedOut { bucket: bucket(), owner: KeyOwner::Trailseal },
        Warning::BucketOwnerLockedOut { bucket: bucket(), owner: KeyOwner::Another },
        policy_denied(None),
        policy_denied(Some(denied(
            "s3:ListAllMyBuckets",
            "find out whether this account owns bucket `logs-eu-west-1`",
        ))),
        Warning::BucketPolicyForeign { bucket: bucket(), owner: None },
        Warning::BucketPolicyForeign { bucket: bucket(), owner: Some(KeyOwner::Trailseal) },
        Warning::BucketPolicyForeign { bucket: bucket(), owner: Some(KeyOwner::Another) },
        Warning::BucketPolicyMalformed { bucket: bucket(), error: malformed() },
        Warning::BucketPolicyUnclear { bucket: bucket(), decision: uncertain() },
        Warning::ReplicationWillStop { bucket: bucket(), rule: rule.clone() },
        Warning::ReplicationNeedsDecrypt {
            bucket: bucket(),
            rule: ReplicationRule { replicates_sse_kms: true, ..rule },
            key: None,
            region: "eu-west-1".parse().unwrap(),
            owner: KeyOwner::Trailseal,
        },
        Warning::ReplicationUnreadable { bucket: bucket(), failure: failure() },
        Warning::DescribeKeyMissing { key: key(), decision: no_allow() },
        Warning::BucketKeyNeedsDecrypt { key: key(), decision: no_allow() },
        Warning::KeyMaterialExpires { key: key(), expiry: Expiry { at: "2027-01-31T09:30:00Z".into(), days_left: 12 } },
        Warning::KeyPolicyUnclear { key: key(), access: access(uncertain()) },
        Warning::KeyPolicyMalformed { key: key(), error: malformed() },
        Warning::KeyPolicyMissing(key()),
        Warning::KeyDenied { key: key().to_string(), failure: failure() },
        Warning::KeyNameUnresolved { key: "alias/logs".into(), region: region(HERE) },
        Warning::KeyPolicyDenied { key: key(), failure: Some(failure()) },
        Warning::KeyPolicyDenied { key: key(), failure: None },
        Warning::KeyTagsDenied { key: key(), failure: failure() },
        Warning::KeyRotationDenied { key: key(), failure: failure() },
        Warning::KeyStateUnknown { key: key(), state: "Migrating".into() },
        Warning::StrayUnknown { key: key(), failure: failure(), unused: true },
        Warning::StrayUnknown { key: key(), failure: failure(), unused: false },
        Warning::KeyUseUnknown {
            key: key(),
            trails: UnreadTrails::Regions(vec![region(HERE), region("us-east-1")]),
            failure: failure(),
        },
        Warning::KeyUseUnknown { key: key(), trails: UnreadTrails::Listed(vec!["o dd".into()]), failure: failure() },
        Warning::StraysUnknown { regions: vec![region(HERE), region("us-east-1")], failure: failure() },
        Warning::UnfinishedKeyUnknown { region: region(HERE), failure: failure() },
        Warning::ReaderNotRevoked { key: key(), reader: unrevoked },
        Warning::NoLoggingTrail,
    ];
    let (arn, plan) = typed("audit", Disposition::Note);
    assert_alerts("every_warning", digest([(arn, TrailPlan { warnings, ..plan })]));
}

#[test]
fn every_finding() {
    let key = || with_id(7);
    let unavailable = |state: &str, key_store: Option<&str>| Finding::KeyUnavailable {
        key: key(),
        state: state.into(),
        key_store: key_store.map(Into::into),
    };
    let delivery_error = |code: &str| DeliveryError { files: "log", code: code.into() };
    let extension = KeyPolicy::new(&context(&[]).config, &context(&[]).function_arn)
        .extension(&Document::parse(ACCOUNT_ONLY).unwrap())
        .unwrap();
    let gap = |access, statements: Option<&str>, administrator| Finding::CloudTrailDenied {
        key: key(),
        access,
        statements: statements.map(Into::into),
        administrator,
    };
    let findings = vec![
        Finding::NoCmk,
        Finding::KeyNotCustomerManaged(key()),
        Finding::KeyNotSymmetric { key: key(), found: "RSA_2048".into() },
        Finding::KeyDisabled(key()),
        Finding::KeyPendingDeletion(key()),
        unavailable("Unavailable", Some("cks-1234567890abcdef0")),
        unavailable("Unavailable", None),
        unavailable("PendingImport", None),
        unavailable("Creating", None),
        Finding::KeyMissing(key().to_string()),
        gap(access(explicit_deny()), None, KeyAdministrator::Account),
        gap(access(no_allow()), Some("[…]"), KeyAdministrator::Account),
        gap(access(no_allow()), Some("[…]"), KeyAdministrator::NoPrincipal),
        gap(KeyAccess { generate_data_key: allowed(), ..access(no_allow()) }, Some("[…]"), KeyAdministrator::Account),
        Finding::PolicyIncomplete {
            key: key(),
            extension: extension.clone(),
            administrator: KeyAdministrator::Account,
        },
        Finding::PolicyIncomplete { key: key(), extension, administrator: KeyAdministrator::NoPrincipal },
        Finding::KeyRotationOff(key()),
        Finding::LoggingStopped,
        Finding::DeliveryFailing(vec![delivery_error("KMS.DisabledException"), delivery_error("SlowDown")]),
    ];
    let (arn, plan) = typed("audit", Disposition::Note);
    assert_alerts("every_finding", digest([(arn, TrailPlan { findings, ..plan })]));
}

#[test]
fn every_obstacle() {
    let key = || with_id(7);
    let alias = || KeySource::Alias("alias/trailseal".parse().unwrap());
    let audit: TrailArn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
    let unusable = |source, findings, state: Option<&str>, unreadable_tags| {
        let unknown_state = state.map(Into::into);
        Obstacle::SealingKeyUnusable(UnusableKey {
            key: key(),
            source,
            findings,
            unknown_state,
            administrator: KeyAdministrator::Account,
            exempt: None,
            unreadable_tags,
        })
    };
    let key_denied = |access: KeyAccess, owner, administrator| Obstacle::SealingKeyDenied {
        key: key(),
        trail: audit.clone(),
        statements: access.denied().iter().any(|(_, it)| **it == no_allow()).then(|| "[…]".into()),
        access,
        owner,
        administrator,
    };
    let not_allowed = |unmet| Obstacle::BucketNotAllowed {
        bucket: "logs-eu-west-1".into(),
        trail: audit.clone(),
        unmet,
        statements: LogFiles::new("logs-eu-west-1", Some("audit"), &audit).cloudtrail_statements().to_string(),
    };
    let owner_held = |key, owner| Obstacle::BucketOwnerHeld {
        bucket: "logs-eu-west-1".into(),
        trail: audit.clone(),
        key,
        region: region(HERE),
        owner,
    };
    let unmet = Reason {
        statement: Some(StatementId { index: 1, sid: Some("AWSCloudTrailWrite20150319".into()) }),
        why: "its condition `StringEquals` on `aws:PrincipalOrgID` requires `\"o-aa111bb222\"` and the request does not have the key".into(),
    };
    let extension = KeyPolicy::new(&context(&[]).config, &context(&[]).function_arn)
        .extension(&Document::parse(ACCOUNT_ONLY).unwrap())
        .unwrap();
    let tags_denied = denied("kms:ListResourceTags", &format!("read the tags of key `{}`", with_id(7)));
    let not_symmetric = Finding::KeyNotSymmetric { key: key(), found: "RSA_2048".into() };
    let disconnected = Finding::KeyUnavailable {
        key: key(),
        state: "Unavailable".into(),
        key_store: Some("cks-1234567890abcdef0".into()),
    };
    let obstacles = [
        unusable(alias(), vec![Finding::KeyPendingDeletion(key())], None, Some(tags_denied)),
        unusable(alias(), vec![not_symmetric.clone()], None, None),
        unusable(KeySource::Supplied, vec![not_symmetric.clone()], None, None),
        unusable(KeySource::Tag, vec![not_symmetric], None, None),
        unusable(KeySource::Supplied, vec![disconnected], None, None),
        unusable(KeySource::Supplied, vec![], Some("Migrating"), None),
        key_denied(access(explicit_deny()), KeyOwner::Another, KeyAdministrator::Account),
        key_denied(
            KeyAccess { describe_key: explicit_deny(), ..access(no_allow()) },
            KeyOwner::Another,
            KeyAdministrator::Account,
        ),
        key_denied(access(no_allow()), KeyOwner::Exempt, KeyAdministrator::Account),
        key_denied(access(explicit_deny()), KeyOwner::Another, KeyAdministrator::NoPrincipal),
        Obstacle::PolicyTooLong { key: key(), extension },
        Obstacle::BucketDenied {
            bucket: "logs-eu-west-1".into(),
            trail: audit.clone(),
            key: Some(key()),
            placeholder: key(),
            call: "s3:PutObject",
            statement: StatementId { index: 0, sid: None },
            tests_encryption: true,
        },
        Obstacle::BucketDenied {
            bucket: "logs-eu-west-1".into(),
            trail: audit.clone(),
            key: None,
            placeholder: key(),
            call: "s3:PutObject",
            statement: StatementId { index: 2, sid: Some("OnlyFromOurVpc".into()) },
            tests_encryption: false,
        },
        not_allowed(None),
        not_allowed(Some(("s3:GetBucketAcl", vec![]))),
        not_allowed(Some(("s3:PutObject", vec![unmet]))),
        owner_held(None, KeyOwner::Trailseal),
        owner_held(Some(key()), KeyOwner::Another),
    ];
    let trails = obstacles.into_iter().enumerate();
    let trails = trails.map(|(number, it)| typed(&format!("obstacle-{number}"), Disposition::Failed(it)));
    assert_alerts("every_obstacle", digest(trails));
}

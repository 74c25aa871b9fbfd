//! What to do next, where the obvious action cannot work or would be undone.

use serde_json::json;
use trailseal_core::failure::Failure;
use trailseal_core::journal::StepResult;
use trailseal_core::key_policy::KeyPolicy;
use trailseal_core::observation::{KeyObservation, KeyState, StrayScan};
use trailseal_core::plan::StepName;
use trailseal_core::report::Alert;
use trailseal_core::trigger::DeploymentTool;

use super::scenario::{Account, Scenario, done, key};
use super::{
    ACCOUNT_ONLY, DRY_RUN, HERE, Run, assert_alerts, audit, context, except, except_denied, foreign_key, key_policy,
    stopped, with_id,
};

impl Run {
    /// The same run, started by infrastructure as code.
    fn deployed_with(mut self, tool: DeploymentTool, kind: &str) -> Self {
        self.origin.deployed_with = Some(tool);
        self.origin.kind = kind.into();
        self
    }
}

#[test]
fn terraform_keeps_the_key_in_its_code() {
    let context = context(&[]);
    let account = Account::new([audit()]).with_sealing_key(key(&with_id(1), &context));
    let run = Run::new(context, &account, done).deployed_with(DeploymentTool::Terraform, "UpdateTrail");
    assert_alerts("remediated_terraform", run.alerts());
}

#[test]
fn a_dry_run_with_a_new_key_shows_the_argument() {
    let run = Run::new(context(&[DRY_RUN]), &Account::new([audit()]), done);
    assert_alerts("planned_terraform", run.deployed_with(DeploymentTool::Terraform, "CreateTrail").alerts());
}

#[test]
fn cloudformation_keeps_the_key_in_its_code() {
    let context = context(&[DRY_RUN]);
    let account = Account::new([audit()]).with_sealing_key(key(&with_id(1), &context));
    let run = Run::new(context, &account, done).deployed_with(DeploymentTool::CloudFormation, "CreateTrail");
    assert_alerts("planned_cloudformation", run.alerts());
}

#[test]
fn each_tool_has_its_argument() {
    let arn = with_id(1);
    for (tool, argument) in [
        (DeploymentTool::Terraform, format!("`kms_key_id = \"{arn}\"` in `aws_cloudtrail`")),
        (DeploymentTool::OpenTofu, format!("`kms_key_id = \"{arn}\"` in `aws_cloudtrail`")),
        (DeploymentTool::CloudFormation, format!("`KMSKeyId: {arn}` in `AWS::CloudTrail::Trail`")),
        (DeploymentTool::Cdk, format!("`encryptionKey: kms.Key.fromKeyArn(this, 'TrailKey', '{arn}')`")),
        (DeploymentTool::Pulumi, format!("`kmsKeyId: \"{arn}\"` in `aws.cloudtrail.Trail`")),
        (DeploymentTool::Ansible, format!("`kms_key_id: \"{arn}\"` in `amazon.aws.cloudtrail`")),
    ] {
        for variables in [&[][..], &[DRY_RUN]] {
            let context = context(variables);
            let account = Account::new([audit()]).with_sealing_key(key(&arn, &context));
            let [alert] = &Run::new(context, &account, done).deployed_with(tool, "UpdateTrail").alerts()[..] else {
                panic!("{tool:?}")
            };
            let (_, next) = alert.message.split_once("What to do next: ").unwrap();
            assert!(next.contains(&argument) && next.contains("the next deployment removes it again"), "{next}");
        }
    }
}

#[test]
fn stopped_by_pulumi() {
    let context = context(&[("TRAILSEAL_RESTART_LOGGING", "true")]);
    let account = Account::new([stopped(audit().with_key(foreign_key(&context)))]);
    let run = Run::new(context, &account, done).deployed_with(DeploymentTool::Pulumi, "StopLogging");
    assert_alerts("remediated_stopped_by_pulumi", run.alerts());
}

#[test]
fn failed_terraform() {
    let result = except_denied(StepName::CreateKey, "kms:CreateKey", "create a key in `eu-west-1`");
    let run = Run::new(context(&[]), &Account::new([audit()]), result);
    assert_alerts("failed_terraform", run.deployed_with(DeploymentTool::Terraform, "CreateTrail").alerts());
}

#[test]
fn sweep_that_finds_a_key_removed() {
    let context = context(&[]);
    let account = Account::new([audit()]).with_sealing_key(key(&with_id(1), &context));
    let run = Run::new(context, &account, done).in_sweep(vec![], &StrayScan::default());
    assert_alerts("sweep_existing_key", run.alerts());
}

/// Delivery fails because another principal overwrote the key's policy.
fn overwritten(policy: &str) -> Scenario {
    let mut scenario = audit().with_key(key_policy(foreign_key(&context(&[])), policy));
    scenario.facts.status.delivery_error = Some("KMS.AccessDeniedException".into());
    scenario
}

#[test]
fn moved_off_a_key() {
    let account = Account::new([overwritten(ACCOUNT_ONLY)]).with_sealing_key(key(&with_id(1), &context(&[])));
    let run = Run::new(context(&[]), &account, done);
    assert_alerts(
        "remediated_policy_overwritten",
        run.deployed_with(DeploymentTool::Terraform, "PutKeyPolicy").alerts(),
    );
}

#[test]
fn a_plan_names_the_key_of_older_files() {
    let context = context(&[DRY_RUN]);
    let mut disabled = foreign_key(&context);
    disabled.metadata.state = KeyState::Disabled;
    let account = Account::new([audit().with_key(disabled)]).with_sealing_key(key(&with_id(1), &context));
    assert_alerts("planned_other_key_disabled", Run::new(context, &account, done).alerts());
}

#[test]
fn control_tower_in_dry_run() {
    let trail = Scenario::new("aws-controltower-BaselineCloudTrail", HERE, HERE);
    let run = Run::new(context(&[DRY_RUN]), &Account::new([trail]), done);
    assert_alerts("planned_control_tower", run.deployed_with(DeploymentTool::CloudFormation, "CreateTrail").alerts());
}

/// A disabled key of trailseal's whose policy names a deleted user and no one else.
fn unmanageable() -> KeyObservation {
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "AIDACKCEVSQ6C2EXAMPLE" }, "Action": "kms:*", "Resource": "*" }] });
    let mut key = key_policy(key(&with_id(1), &context(&[])), &policy.to_string());
    key.metadata.state = KeyState::Disabled;
    key
}

#[test]
fn no_administrator() {
    let account = Account::new([audit().with_key(unmanageable())]).with_sealing_key(unmanageable());
    let alerts = Run::new(context(&[]), &account, done).alerts();
    let failures = |alerts: &[Alert]| -> Vec<String> {
        alerts.iter().map(|alert| alert.message.split_once("Failed: ").unwrap().1.to_owned()).collect()
    };
    let dry_run = Run::new(context(&[DRY_RUN]), &account, done).alerts();
    assert_eq!(failures(&dry_run), failures(&alerts), "dry-run mode promises no more");
    assert_alerts("failed_no_administrator", alerts);
}

/// Lets principals of the account read a key and enable it, but not change its policy.
fn read_only(policy: &str) -> String {
    let read = r#"["kms:Describe*","kms:Get*","kms:List*","kms:EnableKey"]"#;
    policy.replace(r#""kms:*""#, read).replace("kms:PutKeyPolicy", "kms:TagResource")
}

#[test]
fn a_noted_gap_without_an_administrator() {
    let locked = key_policy(foreign_key(&context(&[])), &read_only(ACCOUNT_ONLY));
    let run = Run::new(context(&[]), &Account::new([audit().with_key(locked.clone())]), done);
    assert_alerts("noted_no_administrator", run.alerts());
    let mut moved = audit().with_key(locked);
    moved.facts.status.delivery_error = Some("AccessDenied".into());
    let account = Account::new([moved]).with_sealing_key(key(&with_id(1), &context(&[])));
    assert_alerts("remediated_no_administrator", Run::new(context(&[]), &account, done).alerts());
}

#[test]
fn an_own_key_that_cannot_be_extended_is_noted() {
    let policy = KeyPolicy::new(&context(&[]).config, &context(&[]).function_arn);
    let locked = key_policy(key(&with_id(1), &context(&[])), &read_only(&policy.text()));
    for mode in [&[][..], &[DRY_RUN]] {
        let account = Account::new([audit().with_key(locked.clone())]).with_sealing_key(locked.clone());
        let run = Run::new(context(mode), &account, done);
        let [alert] = &run.alerts()[..] else { panic!() };
        assert!(alert.attributes.contains(&("outcome", "noted".into())), "{}", alert.message);
        assert!(alert.message.contains("contact AWS Support") && !alert.message.contains("Steps"), "{}", alert.message);
    }
}

#[test]
fn only_the_role_may_change_the_policy() {
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "kms:*", "Resource": "*",
        "Principal": { "AWS": "arn:aws:iam::123456789012:role/trailseal" } }] });
    let own = key_policy(key(&with_id(1), &context(&[])), &policy.to_string());
    let account = Account::new([audit().with_key(own.clone())]).with_sealing_key(own);
    let attempt = format!("write the policy of key `{}`", with_id(1));
    let result = except_denied(StepName::ExtendKeyPolicy, "kms:PutKeyPolicy", &attempt);
    let [alert] = &Run::new(context(&[]), &account, result).alerts()[..] else { panic!() };
    assert!(
        !alert.message.contains("administrator") && alert.message.contains("What to do next: allow"),
        "{}",
        alert.message
    );
}

#[test]
fn a_policy_that_kms_refuses_needs_no_administrator() {
    for code in ["LimitExceededException", "MalformedPolicyDocumentException"] {
        let own = key_policy(key(&with_id(1), &context(&[])), ACCOUNT_ONLY);
        let account = Account::new([audit().with_key(own.clone())]).with_sealing_key(own);
        let failure =
            Failure { code: Some(code.into()), ..Failure::terminal("cannot write the policy", "shorten the policy") };
        let result = except(StepName::ExtendKeyPolicy, StepResult::Failed(failure));
        let [alert] = &Run::new(context(&[]), &account, result).alerts()[..] else { panic!("{code}") };
        assert!(alert.message.ends_with("What to do next: shorten the policy.\n"), "{}", alert.message);
    }
}

#[test]
fn policy_too_long() {
    let filler: Vec<String> =
        (0..300).map(|number| format!("arn:aws:iam::123456789012:role/{number}-{}", "x".repeat(80))).collect();
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" }, "Action": "kms:*", "Resource": "*" },
        { "Effect": "Allow", "Principal": { "AWS": filler }, "Action": "kms:DescribeKey", "Resource": "*" }] });
    let own = key_policy(key(&with_id(1), &context(&[])), &policy.to_string());
    let account = Account::new([audit().with_key(own.clone())]).with_sealing_key(own);
    assert_alerts("failed_policy_too_long", Run::new(context(&[]), &account, done).alerts());
}

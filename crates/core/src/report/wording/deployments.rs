//! How to keep a change in the infrastructure as code that deploys the trail. Otherwise, its next deployment undoes the
//! change, and trailseal makes it again.

use super::list_updates;
use crate::config::Mode;
use crate::finding::FindingId;
use crate::plan::StepName;
use crate::report::answer::{Obstruction, Outcome, TrailReport};
use crate::trigger::{DeploymentTool, Origin, REQUEST, SWEEP};

/// What to set in the code that deploys the trail, if the code may undo what was done, or would be. Each is a sentence
/// without its period.
pub(super) fn keep_in_code(trail: &TrailReport, origin: &Origin, mode: Mode) -> Vec<String> {
    // AWS Control Tower deploys its trail with code of its own.
    if trail.outcome == Outcome::OutOfScope || trail.obstructions.contains(&Obstruction::ControlTower) {
        return Vec::new();
    }
    match origin.deployed_with {
        Some(tool) => with_tool(trail, tool, origin),
        // Nothing shows who changes a trail that a sweep or a request finds.
        None if [SWEEP, REQUEST].contains(&origin.kind.as_str()) => with_any(trail, mode),
        None => Vec::new(),
    }
}

fn with_tool(trail: &TrailReport, tool: DeploymentTool, origin: &Origin) -> Vec<String> {
    let name = tool_name(tool);
    // Who changes a key does not necessarily deploy the trail.
    let deploys = match origin.is_trail_event() {
        true => format!("{name} deploys this trail, so"),
        false => format!("if {name} also deploys this trail,"),
    };
    let mut actions = Vec::new();
    if trail.steps.iter().any(|step| step.step == StepName::UpdateTrail) {
        let key = trail.key_arn.as_deref().filter(|_| trail.performs(StepName::UpdateTrail));
        actions.push(match key {
            Some(key) => format!(
                "{deploys} set the key in its code, because otherwise the next deployment removes it again: {}",
                key_argument(tool, key)
            ),
            None => format!(
                "{deploys} set the key in its code once the trail has it, because otherwise the next deployment removes it again: {}. The alert about that change names the ARN",
                key_argument(tool, "ARN OF THE KEY")
            ),
        });
    }
    if trail.has(FindingId::LoggingStopped) {
        actions.push(format!(
            "{deploys} turn logging on in its code, because otherwise the next deployment stops it again: {}",
            logging_argument(tool)
        ));
    }
    if origin.kind == "PutKeyPolicy" && trail.has(FindingId::KeyPolicyGap) {
        actions.push(format!(
            "{name} deploys the key policy, so add the missing statements in its code, because otherwise the next deployment removes them again"
        ));
    }
    actions
}

fn with_any(trail: &TrailReport, mode: Mode) -> Vec<String> {
    let Some(key) = trail.key_arn.as_deref().filter(|_| trail.performs(StepName::UpdateTrail)) else {
        return Vec::new();
    };
    let mut actions = vec![format!(
        "if infrastructure as code deploys this trail, set the key there, because otherwise the next deployment removes it again: `kms_key_id` (Terraform, OpenTofu, Ansible), `KMSKeyId` (CloudFormation), `encryptionKey` (AWS CDK) or `kmsKeyId` (Pulumi) = `{key}`"
    )];
    let is_new = |step: StepName| matches!(step, StepName::CreateKey | StepName::AdoptKey);
    let existed = !trail.steps.iter().any(|step| is_new(step.step));
    if let (Mode::Enforce, true, true, Ok(arn)) = (mode, existed, trail.has(FindingId::NoCmk), &trail.trail) {
        actions.push(format!(
            "the key existed before this run, so a deployment may have removed it from the trail. To see which principals changed trails in the last 90 days, run {}",
            list_updates(arn.region())
        ));
    }
    actions
}

fn tool_name(tool: DeploymentTool) -> &'static str {
    match tool {
        DeploymentTool::Terraform => "Terraform (or OpenTofu)",
        DeploymentTool::OpenTofu => "OpenTofu",
        DeploymentTool::CloudFormation => "CloudFormation",
        DeploymentTool::Cdk => "the AWS CDK",
        DeploymentTool::Pulumi => "Pulumi",
        DeploymentTool::Ansible => "Ansible",
    }
}

/// Sources: <https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/cloudtrail>,
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudtrail-trail.html>,
/// <https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_cloudtrail.Trail.html>,
/// <https://www.pulumi.com/registry/packages/aws/api-docs/cloudtrail/trail/>,
/// <https://docs.ansible.com/projects/ansible/latest/collections/amazon/aws/cloudtrail_module.html>.
fn key_argument(tool: DeploymentTool, key: &str) -> String {
    let cdk = format!("`encryptionKey: kms.Key.fromKeyArn(this, 'TrailKey', '{key}')` in `cloudtrail.Trail`");
    match tool {
        DeploymentTool::Terraform | DeploymentTool::OpenTofu => {
            format!("`kms_key_id = \"{key}\"` in `aws_cloudtrail`")
        }
        DeploymentTool::CloudFormation => {
            format!("`KMSKeyId: {key}` in `AWS::CloudTrail::Trail`, or with the AWS CDK {cdk}")
        }
        DeploymentTool::Cdk => cdk,
        DeploymentTool::Pulumi => format!("`kmsKeyId: \"{key}\"` in `aws.cloudtrail.Trail`"),
        DeploymentTool::Ansible => format!("`kms_key_id: \"{key}\"` in `amazon.aws.cloudtrail`"),
    }
}

fn logging_argument(tool: DeploymentTool) -> &'static str {
    match tool {
        DeploymentTool::Terraform | DeploymentTool::OpenTofu => "`enable_logging = true` in `aws_cloudtrail`",
        DeploymentTool::CloudFormation | DeploymentTool::Cdk => "`IsLogging: true` in `AWS::CloudTrail::Trail`",
        DeploymentTool::Pulumi => "`enableLogging: true` in `aws.cloudtrail.Trail`",
        DeploymentTool::Ansible => "`enable_logging: true` in `amazon.aws.cloudtrail`",
    }
}

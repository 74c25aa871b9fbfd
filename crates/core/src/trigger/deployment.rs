//! Which infrastructure as code made a call, as far as the event shows it.

/// A tool that deploys infrastructure as code. Its next deployment undoes every change that its code does not contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentTool {
    /// Terraform.
    Terraform,
    /// OpenTofu. Its AWS provider is Terraform's, whose user agent names Terraform.
    OpenTofu,
    /// CloudFormation, also for the AWS CDK and AWS SAM.
    CloudFormation,
    /// The AWS CDK, where it makes calls itself.
    Cdk,
    /// Pulumi.
    Pulumi,
    /// Ansible.
    Ansible,
}

impl DeploymentTool {
    /// The tool that one of these texts names: the user agent, the source address, or the service that made the call
    /// for the caller. Such as `APN/1.0 HashiCorp/1.0 Terraform/1.13.0 terraform-provider-aws/6.20.0`,
    /// `APN/1.0 Pulumi/1.0 PulumiAws/7.0`, `APN/1.0 Ansible/2.18.0`, or `cloudformation.amazonaws.com`.
    pub(super) fn named_in<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        // Pulumi's provider contains Terraform's.
        const NAMES: [(&str, DeploymentTool); 7] = [
            ("cloudformation.amazonaws.com", DeploymentTool::CloudFormation),
            ("pulumi", DeploymentTool::Pulumi),
            ("opentofu", DeploymentTool::OpenTofu),
            ("terraform", DeploymentTool::Terraform),
            ("aws-cdk/", DeploymentTool::Cdk),
            ("ansible/", DeploymentTool::Ansible),
            ("ansible-", DeploymentTool::Ansible),
        ];
        let texts: Vec<String> = texts.into_iter().map(str::to_ascii_lowercase).collect();
        NAMES.into_iter().find(|(name, _)| texts.iter().any(|text| text.contains(name))).map(|(_, tool)| tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agents_name_their_tool() {
        use DeploymentTool::{Ansible, Cdk, CloudFormation, OpenTofu, Pulumi, Terraform};
        for (agent, tool) in [
            (
                "APN/1.0 HashiCorp/1.0 Terraform/1.13.0 (+https://www.terraform.io) terraform-provider-aws/6.20.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.39.2 os/linux",
                Some(Terraform),
            ),
            ("HashiCorp Terraform/0.12.31 aws-sdk-go/1.44.300", Some(Terraform)),
            ("[terraform-provider-aws/3.76.1]", Some(Terraform)),
            ("APN/1.0 HashiCorp/1.0 OpenTofu/1.10.6 terraform-provider-aws/6.20.0", Some(OpenTofu)),
            ("APN/1.0 Pulumi/1.0 PulumiAws/7.8.0 terraform-provider-aws/6.14.1", Some(Pulumi)),
            ("APN/1.0 Pulumi/3.0 PulumiAwsNative/1.12", Some(Pulumi)),
            ("cloudformation.amazonaws.com", Some(CloudFormation)),
            ("aws-cdk/2.1030.0 aws-sdk-js/3.900.0", Some(Cdk)),
            ("APN/1.0 Ansible/2.18.6 amazon.aws/10.1.0 Boto3/1.40.1", Some(Ansible)),
            ("Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux", None),
            ("aws-cli/2.31.0 md/command#cloudtrail.update-trail", None),
            ("console.amazonaws.com", None),
            ("AWS Internal", None),
            ("", None),
        ] {
            assert_eq!(DeploymentTool::named_in([agent]), tool, "{agent}");
        }
    }
}

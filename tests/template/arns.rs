//! Names and ARNs that AWS gives to the template's resources.

use super::resolve::Resolver;
use super::{Deployment, text};

/// Type, naming property, service, and the prefix of the ARN's resource part.
const NAMING: [(&str, &str, &str, &str); 9] = [
    ("AWS::CloudWatch::Alarm", "AlarmName", "cloudwatch", "alarm:"),
    ("AWS::Events::EventBus", "Name", "events", "event-bus/"),
    ("AWS::Events::Rule", "Name", "events", "rule/"),
    ("AWS::IAM::Role", "RoleName", "iam", "role"),
    ("AWS::Lambda::Function", "FunctionName", "lambda", "function:"),
    ("AWS::Logs::LogGroup", "LogGroupName", "logs", "log-group:"),
    ("AWS::Scheduler::Schedule", "Name", "scheduler", "schedule/"),
    ("AWS::SNS::Topic", "TopicName", "sns", ""),
    ("AWS::SQS::Queue", "QueueName", "sqs", ""),
];

impl Resolver<'_> {
    /// The value of `Ref` for a resource.
    pub fn resource_ref(&self, id: &str) -> String {
        let Deployment { account, region, .. } = self.deployment;
        match self.kind(id) {
            "AWS::SNS::Topic" => self.arn(id),
            "AWS::SQS::Queue" => {
                let suffix = text(&self.resolve_ref("AWS::URLSuffix").unwrap());
                format!("https://sqs.{region}.{suffix}/{account}/{}", self.name(id))
            }
            _ => self.name(id),
        }
    }

    /// The value of `Fn::GetAtt`.
    pub fn attribute(&self, id: &str, attribute: &str) -> String {
        match (self.kind(id), attribute) {
            // The attribute includes the log streams.
            ("AWS::Logs::LogGroup", "Arn") => format!("{}:*", self.arn(id)),
            ("AWS::SNS::Topic", "TopicArn") | (_, "Arn") => self.arn(id),
            ("AWS::SNS::Topic", "TopicName") | ("AWS::SQS::Queue", "QueueName") => self.name(id),
            (kind, attribute) => panic!("unsupported attribute {attribute} of {kind}"),
        }
    }

    fn arn(&self, id: &str) -> String {
        let Deployment { account, partition, region, .. } = self.deployment;
        let &(_, _, service, prefix) = self.naming(id);
        let name = self.name(id);
        match service {
            "iam" => {
                let path = self.property(id, "Path").unwrap_or_else(|| "/".into());
                format!("arn:{partition}:{service}::{account}:{prefix}{path}{name}")
            }
            "scheduler" => {
                let group = self.property(id, "GroupName").unwrap_or_else(|| "default".into());
                format!("arn:{partition}:{service}:{region}:{account}:{prefix}{group}/{name}")
            }
            _ => format!("arn:{partition}:{service}:{region}:{account}:{prefix}{name}"),
        }
    }

    /// The name in the template, or one in the format that CloudFormation generates.
    fn name(&self, id: &str) -> String {
        let (_, property, ..) = self.naming(id);
        self.property(id, property).unwrap_or_else(|| format!("{}-{id}-0123456789AB", self.deployment.stack))
    }

    fn property(&self, id: &str, name: &str) -> Option<String> {
        let property = self.template["Resources"][id]["Properties"].get(name)?;
        self.resolve(property).as_ref().map(text)
    }

    fn naming(&self, id: &str) -> &'static (&'static str, &'static str, &'static str, &'static str) {
        let kind = self.kind(id);
        NAMING.iter().find(|(known, ..)| *known == kind).unwrap_or_else(|| panic!("unsupported resource type {kind}"))
    }

    fn kind(&self, id: &str) -> &str {
        let kind = self.template["Resources"][id]["Type"].as_str();
        kind.unwrap_or_else(|| panic!("the template has no parameter or resource {id}"))
    }
}

//! Names and ARNs of the template's resources, as AWS makes them.

use super::resolve::Resolver;
use super::{Deployment, text};

/// The property that names a resource, and the beginning of its ARN's last part. What is global has no
/// Region in its ARN.
const NAMED: [(&str, &str, &str, &str); 9] = [
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
    /// What `Ref` of a resource comes to.
    pub fn referred(&self, id: &str) -> String {
        let Deployment { account, region, .. } = self.deployment;
        match self.kind(id) {
            "AWS::SNS::Topic" => self.arn(id),
            "AWS::SQS::Queue" => {
                let suffix = text(&self.reference("AWS::URLSuffix").unwrap());
                format!("https://sqs.{region}.{suffix}/{account}/{}", self.name(id))
            }
            _ => self.name(id),
        }
    }

    /// What `Fn::GetAtt` comes to.
    pub fn attribute(&self, id: &str, attribute: &str) -> String {
        match (self.kind(id), attribute) {
            // As IAM wants it: the streams in it are meant, too.
            ("AWS::Logs::LogGroup", "Arn") => format!("{}:*", self.arn(id)),
            ("AWS::SNS::Topic", "TopicArn") | (_, "Arn") => self.arn(id),
            ("AWS::SNS::Topic", "TopicName") | ("AWS::SQS::Queue", "QueueName") => self.name(id),
            (kind, attribute) => panic!("the attribute {attribute} of {kind} is not known here"),
        }
    }

    fn arn(&self, id: &str) -> String {
        let Deployment { account, partition, region, .. } = self.deployment;
        let &(_, _, service, beginning) = self.naming(id);
        let name = self.name(id);
        match service {
            "iam" => {
                let path = self.property(id, "Path").unwrap_or_else(|| "/".into());
                format!("arn:{partition}:{service}::{account}:{beginning}{path}{name}")
            }
            "scheduler" => {
                let group = self.property(id, "GroupName").unwrap_or_else(|| "default".into());
                format!("arn:{partition}:{service}:{region}:{account}:{beginning}{group}/{name}")
            }
            _ => format!("arn:{partition}:{service}:{region}:{account}:{beginning}{name}"),
        }
    }

    /// The name that the template gives, or one like those that CloudFormation makes up.
    fn name(&self, id: &str) -> String {
        let (_, property, ..) = self.naming(id);
        self.property(id, property).unwrap_or_else(|| format!("{}-{id}-0123456789AB", self.deployment.stack))
    }

    fn property(&self, id: &str, name: &str) -> Option<String> {
        let property = self.template["Resources"][id]["Properties"].get(name)?;
        self.resolved(property).as_ref().map(text)
    }

    fn naming(&self, id: &str) -> &'static (&'static str, &'static str, &'static str, &'static str) {
        let kind = self.kind(id);
        NAMED
            .iter()
            .find(|(known, ..)| *known == kind)
            .unwrap_or_else(|| panic!("how AWS names a resource of type {kind} is not known here"))
    }

    fn kind(&self, id: &str) -> &str {
        let kind = self.template["Resources"][id]["Type"].as_str();
        kind.unwrap_or_else(|| panic!("the template has no parameter and no resource {id}"))
    }
}

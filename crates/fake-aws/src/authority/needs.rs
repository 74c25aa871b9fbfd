//! What a call asks of the policies: actions, resources, condition values.

use serde_json::Value;

use crate::World;
use crate::names;
use crate::policy::{Question, listed};
use crate::request::Request;

/// Everything that must be allowed for a call; nothing where AWS answers before it asks.
pub(super) fn of(world: &World, request: &Request) -> Vec<Question> {
    let asked = Asked { world, region: &request.region, operation: &request.operation, input: &request.input };
    let questions = match request.service.as_str() {
        "cloudtrail" => asked.of_trails(),
        "kms" => asked.of_keys(),
        "s3" => asked.of_buckets(),
        "sns" => asked.of_topics(),
        "tagging" => vec![asked.anywhere("tag")],
        service => vec![asked.anywhere(service)],
    };
    let region = &request.region;
    questions.into_iter().map(|question| question.with("aws:RequestedRegion", region)).collect()
}

/// How IAM begins the names of a service's actions.
pub(super) fn prefix(service: &str) -> &str {
    if service == "tagging" { "tag" } else { service }
}

struct Asked<'a> {
    world: &'a World,
    region: &'a str,
    operation: &'a str,
    input: &'a Value,
}

impl Asked<'_> {
    fn text(&self, name: &str) -> &str {
        self.input[name].as_str().unwrap_or_default()
    }

    /// For an action that knows no resources.
    fn anywhere(&self, service: &str) -> Question {
        self.world.question(&format!("{service}:{}", self.operation), "*")
    }

    fn of_trails(&self) -> Vec<Question> {
        let action = format!("cloudtrail:{}", self.operation);
        let named = |name: &str| match name.starts_with("arn:") {
            true => name.to_owned(),
            false => self.world.trail_arn(self.region, name),
        };
        let trails: Vec<String> = match self.operation {
            "DescribeTrails" | "ListTrails" => return vec![self.anywhere("cloudtrail")],
            "ListTags" => {
                let ids = listed(&self.input["ResourceIdList"]);
                ids.into_iter().map(|id| named(id.as_str().unwrap_or_default())).collect()
            }
            "AddTags" => vec![named(self.text("ResourceId"))],
            _ => vec![named(self.text("Name"))],
        };
        let writes = ["UpdateTrail", "StartLogging"].contains(&self.operation);
        let organizations = trails.iter().any(|arn| self.world.trails.get(arn).is_some_and(|trail| trail.organization));
        let mut questions: Vec<Question> = trails.iter().map(|arn| self.world.question(&action, arn)).collect();
        if writes && organizations {
            questions.extend(self.of_organization());
        }
        questions
    }

    /// CloudTrail asks these of whoever changes an organization trail.
    fn of_organization(&self) -> [Question; 3] {
        let role = format!(
            "arn:{}:iam::{}:role/aws-service-role/cloudtrail.amazonaws.com/AWSServiceRoleForCloudTrail",
            self.world.partition, self.world.account
        );
        [
            self.world.question("iam:GetRole", &role),
            self.world.question("organizations:ListAWSServiceAccessForOrganization", "*"),
            self.world.question("organizations:DescribeOrganization", "*"),
        ]
    }

    fn of_keys(&self) -> Vec<Question> {
        let behind = |name: &str| self.world.alias_target(self.region, name).map(str::to_owned);
        let alias = self.text("AliasName");
        let of_alias = || {
            let arn = self.world.arn("kms", self.region, alias);
            self.world.question(&format!("kms:{}", self.operation), &arn)
        };
        let of = |keys: Vec<Option<String>>| keys.into_iter().flatten().map(|key| self.of_key(&key));
        match self.operation {
            "CreateKey" => self.of_new_key(),
            "ListAliases" | "ListKeys" => vec![self.anywhere("kms")],
            "CreateAlias" => {
                let key = of(vec![self.key(self.text("TargetKeyId"))]);
                std::iter::once(of_alias()).chain(key).collect()
            }
            "UpdateAlias" => {
                let keys = of(vec![behind(alias), self.key(self.text("TargetKeyId"))]);
                std::iter::once(of_alias()).chain(keys).collect()
            }
            "DeleteAlias" => std::iter::once(of_alias()).chain(of(vec![behind(alias)])).collect(),
            _ => of(vec![self.key(self.text("KeyId"))]).collect(),
        }
    }

    fn of_key(&self, arn: &str) -> Question {
        let question = self.world.question(&format!("kms:{}", self.operation), arn);
        let id = self.text("KeyId");
        let question = match id.contains("alias/") {
            true => question.with("kms:RequestAlias", id.rsplit(':').next().unwrap_or(id)),
            false => question,
        };
        match self.operation {
            "PutKeyPolicy" => self.bypassing(question),
            "TagResource" => self.tagging(question),
            _ => question,
        }
    }

    /// A new key has no ARN yet, and no policy: only the caller's own count.
    fn of_new_key(&self) -> Vec<Question> {
        let or = |name: &str, default: &str| self.input[name].as_str().unwrap_or(default).to_owned();
        let multi_region = self.input["MultiRegion"] == true;
        let create = self
            .world
            .question("kms:CreateKey", "*")
            .with("kms:KeySpec", &or("KeySpec", &or("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT")))
            .with("kms:KeyUsage", &or("KeyUsage", "ENCRYPT_DECRYPT"))
            .with("kms:KeyOrigin", &or("Origin", "AWS_KMS"))
            .with("kms:MultiRegion", &multi_region.to_string());
        let create = self.tagging(self.bypassing(create));
        let tag = self.world.question("kms:TagResource", &self.world.arn("kms", self.region, "key/*"));
        match listed(&self.input["Tags"]).is_empty() {
            true => vec![create],
            false => vec![create, self.tagging(tag)],
        }
    }

    fn bypassing(&self, question: Question) -> Question {
        let bypassed = self.input["BypassPolicyLockoutSafetyCheck"] == true;
        question.with("kms:BypassPolicyLockoutSafetyCheck", &bypassed.to_string())
    }

    fn tagging(&self, question: Question) -> Question {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tags = listed(&self.input["Tags"]);
        let tags: Vec<_> = tags.into_iter().map(|tag| (text(&tag["TagKey"]), text(&tag["TagValue"]))).collect();
        let question = question.with_all("aws:TagKeys", tags.iter().map(|(key, _)| key.as_str()));
        tags.iter().fold(question, |question, (key, value)| question.with(&format!("aws:RequestTag/{key}"), value))
    }

    /// The key that an id, alias or ARN means, if it exists and is seen by now. (Of what does not exist, KMS
    /// says that.)
    fn key(&self, id: &str) -> Option<String> {
        let arn = match id {
            _ if id.starts_with("arn:") => id.to_owned(),
            _ if id.starts_with("alias/") => self.world.arn("kms", self.region, id),
            _ => self.world.arn("kms", self.region, &format!("key/{id}")),
        };
        let arn = match self.world.aliases.get(&arn) {
            Some(alias) => (alias.hidden_calls == 0).then(|| alias.target.clone())?,
            None => arn,
        };
        self.world.keys.get(&arn).filter(|key| key.hidden_calls == 0).map(|_| arn)
    }

    /// Nothing where the bucket is not: S3 sends everybody on to its Region.
    fn of_buckets(&self) -> Vec<Question> {
        let Some(bucket) = self.world.buckets.get(self.text("Bucket")).filter(|bucket| bucket.region == self.region)
        else {
            return Vec::new();
        };
        let action = match self.operation {
            "HeadBucket" | "ListObjects" => "ListBucket",
            "GetBucketReplication" => "GetReplicationConfiguration",
            operation => operation,
        };
        let mut resource = format!("arn:{}:s3:::{}", self.world.partition, bucket.name);
        if let Some(key) = self.input["Key"].as_str() {
            resource.extend(["/", key]);
        }
        vec![self.world.question(&format!("s3:{action}"), &resource)]
    }

    /// Of a topic that is encrypted with a customer's key, SNS uses that in the publisher's name.
    fn of_topics(&self) -> Vec<Question> {
        let arn = self.text("TopicArn");
        let mut questions = vec![self.world.question(&format!("sns:{}", self.operation), arn)];
        let key = self.world.topics.get(arn).and_then(|topic| topic.key_arn.as_ref());
        let via = format!("sns.{}.amazonaws.com", names::region_of(arn));
        questions.extend(key.into_iter().flat_map(|key| {
            ["kms:GenerateDataKey", "kms:Decrypt"].map(|action| {
                self.world
                    .question(action, key)
                    .with("kms:ViaService", &via)
                    .with("kms:EncryptionContext:aws:sns:topicArn", arn)
                    .with_all("kms:EncryptionContextKeys", ["aws:sns:topicArn"])
            })
        }));
        questions
    }
}

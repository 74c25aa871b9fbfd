//! The access that a call requires: actions, resources and condition keys.

use serde_json::Value;

use crate::World;
use crate::names;
use crate::policy::{AccessRequest, as_list};
use crate::request::Request;

/// Everything that the policies must allow. Empty where AWS responds before it authorizes.
pub(super) fn access_requests(world: &World, request: &Request) -> Vec<AccessRequest> {
    let call = Call { world, region: &request.region, operation: &request.operation, input: &request.input };
    let requests = match request.service.as_str() {
        "cloudtrail" => call.for_trails(),
        "kms" => call.for_keys(),
        "s3" if request.operation == "ListBuckets" => vec![world.access_request("s3:ListAllMyBuckets", "*")],
        "s3" => call.for_bucket(),
        "sns" => call.for_topic(),
        // Needs no permission: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>.
        "sts" if request.operation == "GetCallerIdentity" => vec![],
        "tagging" => vec![call.for_any_resource("tag")],
        service => vec![call.for_any_resource(service)],
    };
    let region = &request.region;
    requests.into_iter().map(|request| request.with("aws:RequestedRegion", region)).collect()
}

/// The prefix of the service's actions in IAM.
pub(super) fn prefix(service: &str) -> &str {
    if service == "tagging" { "tag" } else { service }
}

struct Call<'a> {
    world: &'a World,
    region: &'a str,
    operation: &'a str,
    input: &'a Value,
}

impl Call<'_> {
    fn text(&self, name: &str) -> &str {
        self.input[name].as_str().unwrap_or_default()
    }

    /// For an action without resource-level permissions.
    fn for_any_resource(&self, service: &str) -> AccessRequest {
        self.world.access_request(&format!("{service}:{}", self.operation), "*")
    }

    fn for_trails(&self) -> Vec<AccessRequest> {
        let action = format!("cloudtrail:{}", self.operation);
        let arn = |name: &str| match name.starts_with("arn:") {
            true => name.to_owned(),
            false => self.world.trail_arn(self.region, name),
        };
        let trails: Vec<String> = match self.operation {
            "DescribeTrails" | "ListTrails" => return vec![self.for_any_resource("cloudtrail")],
            "ListTags" => {
                let ids = as_list(&self.input["ResourceIdList"]);
                ids.into_iter().map(|id| arn(id.as_str().unwrap_or_default())).collect()
            }
            "AddTags" => vec![arn(self.text("ResourceId"))],
            _ => vec![arn(self.text("Name"))],
        };
        let writes = ["UpdateTrail", "StartLogging"].contains(&self.operation);
        let of_organization =
            trails.iter().any(|arn| self.world.trails.get(arn).is_some_and(|trail| trail.organization));
        let mut requests: Vec<AccessRequest> =
            trails.iter().map(|arn| self.world.access_request(&action, arn)).collect();
        if writes && of_organization {
            requests.extend(self.for_organization());
        }
        requests
    }

    /// CloudTrail also requires these to change an organization trail.
    fn for_organization(&self) -> [AccessRequest; 3] {
        let role = format!(
            "arn:{}:iam::{}:role/aws-service-role/cloudtrail.amazonaws.com/AWSServiceRoleForCloudTrail",
            self.world.partition, self.world.account
        );
        [
            self.world.access_request("iam:GetRole", &role),
            self.world.access_request("organizations:ListAWSServiceAccessForOrganization", "*"),
            self.world.access_request("organizations:DescribeOrganization", "*"),
        ]
    }

    fn for_keys(&self) -> Vec<AccessRequest> {
        let target = |name: &str| self.world.alias_target(self.region, name).map(str::to_owned);
        let alias = self.text("AliasName");
        let for_alias = || {
            let arn = self.world.arn("kms", self.region, alias);
            self.world.access_request(&format!("kms:{}", self.operation), &arn)
        };
        let for_each = |keys: Vec<Option<String>>| keys.into_iter().flatten().map(|key| self.for_key(&key));
        match self.operation {
            "CreateKey" => self.for_new_key(),
            "ListAliases" | "ListKeys" => vec![self.for_any_resource("kms")],
            "CreateAlias" => {
                let key = for_each(vec![self.key(self.text("TargetKeyId"))]);
                std::iter::once(for_alias()).chain(key).collect()
            }
            "UpdateAlias" => {
                let keys = for_each(vec![target(alias), self.key(self.text("TargetKeyId"))]);
                std::iter::once(for_alias()).chain(keys).collect()
            }
            "DeleteAlias" => std::iter::once(for_alias()).chain(for_each(vec![target(alias)])).collect(),
            _ => for_each(vec![self.key(self.text("KeyId"))]).collect(),
        }
    }

    fn for_key(&self, arn: &str) -> AccessRequest {
        let request = self.world.access_request(&format!("kms:{}", self.operation), arn);
        let id = self.text("KeyId");
        let request = match id.contains("alias/") {
            true => request.with("kms:RequestAlias", id.rsplit(':').next().unwrap_or(id)),
            false => request,
        };
        match self.operation {
            "PutKeyPolicy" => self.with_lockout_bypass(request),
            "TagResource" => self.with_request_tags(request),
            _ => request,
        }
    }

    /// A new key has no ARN and no policy yet, so only the caller's policies count.
    fn for_new_key(&self) -> Vec<AccessRequest> {
        let text_or = |name: &str, default: &str| self.input[name].as_str().unwrap_or(default).to_owned();
        let multi_region = self.input["MultiRegion"] == true;
        let create = self
            .world
            .access_request("kms:CreateKey", "*")
            .with("kms:KeySpec", &text_or("KeySpec", &text_or("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT")))
            .with("kms:KeyUsage", &text_or("KeyUsage", "ENCRYPT_DECRYPT"))
            .with("kms:KeyOrigin", &text_or("Origin", "AWS_KMS"))
            .with("kms:MultiRegion", &multi_region.to_string());
        let create = self.with_request_tags(self.with_lockout_bypass(create));
        let tag = self.world.access_request("kms:TagResource", &self.world.arn("kms", self.region, "key/*"));
        match as_list(&self.input["Tags"]).is_empty() {
            true => vec![create],
            false => vec![create, self.with_request_tags(tag)],
        }
    }

    fn with_lockout_bypass(&self, request: AccessRequest) -> AccessRequest {
        let bypass = self.input["BypassPolicyLockoutSafetyCheck"] == true;
        request.with("kms:BypassPolicyLockoutSafetyCheck", &bypass.to_string())
    }

    fn with_request_tags(&self, request: AccessRequest) -> AccessRequest {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tags = as_list(&self.input["Tags"]);
        let tags: Vec<_> = tags.into_iter().map(|tag| (text(&tag["TagKey"]), text(&tag["TagValue"]))).collect();
        let request = request.with_all("aws:TagKeys", tags.iter().map(|(key, _)| key.as_str()));
        tags.iter().fold(request, |request, (key, value)| request.with(&format!("aws:RequestTag/{key}"), value))
    }

    /// The ARN of the key that an ID, alias or ARN names, if it exists and is visible. KMS reports a missing
    /// key before it authorizes.
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

    /// Empty in a Region other than the bucket's: S3 redirects every caller.
    fn for_bucket(&self) -> Vec<AccessRequest> {
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
        vec![self.world.access_request(&format!("s3:{action}"), &resource)]
    }

    /// SNS uses the customer managed key of an encrypted topic on the publisher's behalf.
    fn for_topic(&self) -> Vec<AccessRequest> {
        let arn = self.text("TopicArn");
        let mut requests = vec![self.world.access_request(&format!("sns:{}", self.operation), arn)];
        let key = self.world.topics.get(arn).and_then(|topic| topic.key_arn.as_ref());
        let via = format!("sns.{}.amazonaws.com", names::region_of(arn));
        requests.extend(key.into_iter().flat_map(|key| {
            ["kms:GenerateDataKey", "kms:Decrypt"].map(|action| {
                self.world
                    .access_request(action, key)
                    .with("kms:ViaService", &via)
                    .with("kms:EncryptionContext:aws:sns:topicArn", arn)
                    .with_all("kms:EncryptionContextKeys", ["aws:sns:topicArn"])
            })
        }));
        requests
    }
}

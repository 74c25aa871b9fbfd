"""The AWS account that the demo plays with: what is set up in it, what happens to it, and what is read back from it."""

import json
import uuid
from datetime import datetime

import boto3
from botocore.config import Config

from local import ACCOUNT

HOME = "eu-west-1"
ELSEWHERE = "eu-central-1"
OWNERS_KEY_ALIAS = "alias/owners-key"
# Who reads one of the buckets from another account, and what copies it elsewhere.
READER = "arn:aws:iam::210987654321:role/siem"
REPLICATION_RULE = "to-the-archive"
# The statement that KMS itself gives to a key.
ADMINISTRATION = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
# What somebody leaves of a key's policy: that one, and one of their own.
LEFT_OVER = [
    ADMINISTRATION,
    {
        "Sid": "Mallory looks after this key",
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{ACCOUNT}:user/mallory"]},
        "Action": ["kms:DescribeKey", "kms:TagResource"],
        "Resource": "*",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": ["true"]}},
    },
]


class Account:
    def __init__(self, env: dict[str, str]):
        self.env = env

    def client(self, service: str, region: str = HOME):
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            # The function answers within its own time-out of three minutes; a repeated Invoke would be a second event.
            config=Config(
                read_timeout=200, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}
            ),
        )

    # What is set up

    def make_bucket(self, name: str, region: str, reader: str | None = None) -> None:
        s3 = self.client("s3", region)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
        cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
        reads = {
            "Sid": "Read",
            "Effect": "Allow",
            "Principal": {"AWS": reader},
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        s3.put_bucket_policy(
            Bucket=name,
            Policy=json.dumps({
                "Version": "2012-10-17",
                "Statement": [
                    cloudtrail | {"Sid": "AclCheck", "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{name}"},
                    cloudtrail
                    | {
                        "Sid": "Write",
                        "Action": "s3:PutObject",
                        "Resource": f"arn:aws:s3:::{name}/AWSLogs/{ACCOUNT}/*",
                        "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
                    },
                    *([reads] if reader else []),
                ],
            }),
        )

    def replicate(self, bucket: str, copy: str, key: str | None = None) -> None:
        """Has one rule copy everything to another bucket: what is encrypted with a KMS key only with a key for the copies."""
        rule = {
            "ID": REPLICATION_RULE,
            "Priority": 1,
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "DeleteMarkerReplication": {"Status": "Disabled"},
            "Destination": {"Bucket": f"arn:aws:s3:::{copy}"},
        }
        if key:
            rule["SourceSelectionCriteria"] = {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
            rule["Destination"]["EncryptionConfiguration"] = {"ReplicaKmsKeyID": key}
        for name in (bucket, copy):
            # S3 replicates between versioned buckets only.
            self.client("s3", self.region_of(name)).put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        self.client("s3", self.region_of(bucket)).put_bucket_replication(
            Bucket=bucket,
            ReplicationConfiguration={"Role": f"arn:aws:iam::{ACCOUNT}:role/replication", "Rules": [rule]},
        )

    def make_owners_key(self) -> str:
        """A customer-managed key as CloudTrail's console makes it."""
        kms = self.client("kms")
        cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Resource": "*"}
        key = kms.create_key(
            Description="made by the account's owner",
            Policy=json.dumps({
                "Version": "2012-10-17",
                "Statement": [
                    ADMINISTRATION,
                    cloudtrail
                    | {
                        "Sid": "Allow CloudTrail to encrypt logs",
                        "Action": "kms:GenerateDataKey*",
                        "Condition": {
                            "StringLike": {
                                "kms:EncryptionContext:aws:cloudtrail:arn": f"arn:aws:cloudtrail:*:{ACCOUNT}:trail/*"
                            }
                        },
                    },
                    cloudtrail | {"Sid": "Allow CloudTrail to describe key", "Action": "kms:DescribeKey"},
                ],
            }),
        )["KeyMetadata"]["Arn"]
        kms.create_alias(AliasName=OWNERS_KEY_ALIAS, TargetKeyId=key)
        return key

    def make_trail(self, name: str, bucket: str, key: str | None = None) -> str:
        cloudtrail = self.client("cloudtrail")
        arn = cloudtrail.create_trail(Name=name, S3BucketName=bucket, **({"KmsKeyId": key} if key else {}))["TrailARN"]
        cloudtrail.start_logging(Name=arn)
        return arn

    def listen(self, topic: str) -> str:
        """Subscribes a queue to the alerts, in the place of somebody's mailbox."""
        sqs = self.client("sqs")
        queue = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return queue

    # What happens

    def break_key(self, key: str) -> None:
        """What somebody does behind trailseal's back."""
        kms = self.client("kms", key.split(":")[3])
        kms.put_key_policy(
            KeyId=key, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": LEFT_OVER})
        )
        kms.disable_key(KeyId=key)

    def trail_event(self, trail: str, **detail) -> dict:
        """What EventBridge would hand over after somebody created this trail."""
        name = trail.rpartition("/")[2]
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.cloudtrail",
            "account": ACCOUNT,
            "time": "2026-11-20T10:00:00Z",
            "region": HOME,
            "resources": [],
            "detail": {
                "eventVersion": "1.11",
                "userIdentity": {
                    "type": "IAMUser",
                    "principalId": "AIDAEXAMPLE",
                    "arn": f"arn:aws:iam::{ACCOUNT}:user/alice",
                    "accountId": ACCOUNT,
                    "userName": "alice",
                },
                "eventTime": "2026-11-20T10:00:00Z",
                "eventSource": "cloudtrail.amazonaws.com",
                "eventName": "CreateTrail",
                "awsRegion": HOME,
                "sourceIPAddress": "203.0.113.7",
                "userAgent": "aws-cli/2.30.0",
                "requestParameters": {"name": name},
                "responseElements": {"name": name, "trailARN": trail},
                "requestID": str(uuid.uuid4()),
                "eventID": str(uuid.uuid4()),
                "readOnly": False,
                "eventType": "AwsApiCall",
                "managementEvent": True,
                "recipientAccountId": ACCOUNT,
                "eventCategory": "Management",
            }
            | detail,
        }

    def matches(self, rule: str, event: dict) -> bool:
        """Asks the deployed rule's own pattern."""
        events = self.client("events")
        pattern = events.describe_rule(Name=rule)["EventPattern"]
        return events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]

    def invoke(self, function: str, event: dict) -> dict:
        """The function's answer; an error of the function's is an answer too."""
        return json.load(self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))["Payload"])

    def send(self, function: str, event: dict) -> None:
        """Hands over an event as EventBridge does: Lambda takes it and tries again if the function fails on it."""
        self.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event))

    # What is read back

    def outputs(self, stack: str) -> dict[str, str]:
        [found] = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def region_of(self, bucket: str) -> str:
        return self.client("s3").head_bucket(Bucket=bucket)["BucketRegion"]

    def trail(self, arn: str) -> dict:
        return self.client("cloudtrail").get_trail(Name=arn)["Trail"]

    def keys(self) -> list[dict]:
        """Every customer-managed key in both Regions, with all that makes its state."""
        found = []
        for region in (HOME, ELSEWHERE):
            kms = self.client("kms", region)
            aliases = kms.list_aliases()["Aliases"]
            for listed in kms.list_keys()["Keys"]:
                id = listed["KeyId"]
                metadata = kms.describe_key(KeyId=id)["KeyMetadata"]
                if metadata.get("KeyManager") == "AWS":
                    continue
                found.append({
                    "arn": metadata["Arn"],
                    "region": region,
                    "description": metadata["Description"],
                    "state": metadata["KeyState"],
                    "aliases": sorted(a["AliasName"] for a in aliases if a.get("TargetKeyId") == id),
                    "rotates": kms.get_key_rotation_status(KeyId=id)["KeyRotationEnabled"],
                    "tags": {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=id)["Tags"]},
                    "policy": json.loads(kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"]),
                })
        return found

    def state(self, trails: list[str]) -> dict:
        """All that trailseal could have changed."""
        return {"trails": {arn: self.trail(arn) for arn in trails}, "keys": self.keys()}

    def key_writes(self, since: datetime) -> list[tuple[str, dict]]:
        """Which calls asked KMS to change something since then, and with what, oldest first."""
        found = []
        for region in (HOME, ELSEWHERE):
            recorded = self.client("cloudtrail", region).lookup_events(
                LookupAttributes=[{"AttributeKey": "ReadOnly", "AttributeValue": "false"}], MaxResults=50
            )["Events"]
            for event in reversed(recorded):
                if event["EventSource"] == "kms.amazonaws.com" and event["EventTime"] >= since:
                    found.append((event["EventName"], json.loads(event["CloudTrailEvent"])["requestParameters"]))
        return found

    def may(self, role: str, actions: list[str]) -> dict[str, str]:
        """What IAM would decide if the deployed role tried."""
        answer = self.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=actions, ResourceArns=["*"]
        )
        return {result["EvalActionName"]: result["EvalDecision"] for result in answer["EvaluationResults"]}

    def alarm(self, name: str) -> dict:
        cloudwatch = self.client("cloudwatch")
        # The emulator looks at its alarms when somebody puts a metric, whichever.
        cloudwatch.put_metric_data(Namespace="demo", MetricData=[{"MetricName": "Look", "Value": 1}])
        [found] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return found

    def parked(self, queue: str) -> list[dict]:
        """What lies in the failure queue, after waiting for something to; it stays there."""
        answer = self.client("sqs").receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=20
        )
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [{"event": body["requestPayload"], "error": body["responsePayload"]} for body in bodies]

    def alerts(self, queue: str, wait: int = 1) -> list[dict]:
        """The alerts since the last time, and those that come within some seconds more."""
        sqs = self.client("sqs")
        found = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get(
            "Messages"
        ):
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

"""The emulated AWS account: its setup, the events in it, and its state."""

import json
import uuid
from datetime import datetime

import boto3
from botocore.config import Config

from local import ACCOUNT

HOME = "eu-west-1"
OTHER_REGION = "eu-central-1"
OWNERS_KEY_ALIAS = "alias/owners-key"
# A role of another account that reads one of the buckets, and a replication rule of that bucket with its role.
READER = "arn:aws:iam::210987654321:role/siem"
REPLICATION_RULE = "to-the-archive"
REPLICATION_ROLE = f"arn:aws:iam::{ACCOUNT}:role/replication"
# The statement of the default key policy.
ADMINISTRATION = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
# The statements of a key policy that an administrator replaced: the default one and one of their own.
STRIPPED_POLICY = [
    ADMINISTRATION,
    {
        "Sid": "Mallory manages this key",
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
            # The function's timeout is three minutes. A retried Invoke would send a second event.
            config=Config(
                read_timeout=200, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}
            ),
        )

    # Setup

    def make_bucket(self, name: str, region: str, reader: str | None = None) -> None:
        self.client("s3", region).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
        self.make_bucket_policy(name, reader)

    def make_bucket_policy(self, name: str, reader: str | None = None) -> None:
        """Lets CloudTrail write, and the reader read."""
        cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
        reads = {
            "Sid": "Read",
            "Effect": "Allow",
            "Principal": {"AWS": reader},
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        self.client("s3", self.region_of(name)).put_bucket_policy(
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
        """Replicates a bucket with one rule. With a key for the replicas, the rule includes objects encrypted with a KMS key."""
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
            # S3 replication requires versioning on both buckets.
            self.client("s3", self.region_of(name)).put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        self.client("s3", self.region_of(bucket)).put_bucket_replication(
            Bucket=bucket,
            ReplicationConfiguration={"Role": REPLICATION_ROLE, "Rules": [rule]},
        )

    def make_owners_key(self) -> str:
        """Creates a customer managed key as CloudTrail's console does."""
        kms = self.client("kms")
        cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Resource": "*"}
        key = kms.create_key(
            Description="created by the account's owner",
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

    def subscribe_queue(self, topic: str) -> str:
        """Subscribes a queue to the topic, and returns the queue's URL."""
        sqs = self.client("sqs")
        queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return queue

    # Events

    def break_key(self, key: str) -> None:
        """Disables the key and replaces its policy, as an administrator could."""
        kms = self.client("kms", key.split(":")[3])
        kms.put_key_policy(
            KeyId=key, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": STRIPPED_POLICY})
        )
        kms.disable_key(KeyId=key)

    def trail_event(self, trail: str, **detail) -> dict:
        """The event that EventBridge delivers after the trail was created, with changes to its detail."""
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

    def rule_matches(self, rule: str, event: dict) -> bool:
        """Whether the pattern of the deployed rule matches the event."""
        events = self.client("events")
        pattern = events.describe_rule(Name=rule)["EventPattern"]
        return events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]

    def invoke(self, function: str, event: dict) -> dict:
        """The function's answer, or its error."""
        return json.load(self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))["Payload"])

    def invoke_async(self, function: str, event: dict) -> None:
        """Invokes the function as EventBridge does: Lambda queues the event and retries it if the function fails."""
        self.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event))

    # State

    def outputs(self, stack: str) -> dict[str, str]:
        [found] = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def region_of(self, bucket: str) -> str:
        return self.client("s3").head_bucket(Bucket=bucket)["BucketRegion"]

    def trail(self, arn: str) -> dict:
        return self.client("cloudtrail").get_trail(Name=arn)["Trail"]

    def keys(self) -> list[dict]:
        """The state of every customer managed key in both Regions."""
        found = []
        for region in (HOME, OTHER_REGION):
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
        """The state of the trails and of all keys: everything that trailseal can change."""
        return {"trails": {arn: self.trail(arn) for arn in trails}, "keys": self.keys()}

    def key_writes(self, since: datetime) -> list[tuple[str, dict]]:
        """The write calls to KMS since then and their parameters, oldest first."""
        found = []
        for region in (HOME, OTHER_REGION):
            recorded = self.client("cloudtrail", region).lookup_events(
                LookupAttributes=[{"AttributeKey": "ReadOnly", "AttributeValue": "false"}], MaxResults=50
            )["Events"]
            for event in reversed(recorded):
                if event["EventSource"] == "kms.amazonaws.com" and event["EventTime"] >= since:
                    found.append((event["EventName"], json.loads(event["CloudTrailEvent"])["requestParameters"]))
        return found

    def simulate(self, role: str, actions: list[str]) -> dict[str, str]:
        """IAM's decision for each action of the deployed role."""
        answer = self.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=actions, ResourceArns=["*"]
        )
        return {result["EvalActionName"]: result["EvalDecision"] for result in answer["EvaluationResults"]}

    def alarm(self, name: str) -> dict:
        cloudwatch = self.client("cloudwatch")
        # The emulator evaluates its alarms whenever a metric is put.
        cloudwatch.put_metric_data(Namespace="demo", MetricData=[{"MetricName": "Evaluate", "Value": 1}])
        [found] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return found

    def failed_events(self, queue: str) -> list[dict]:
        """The messages in the failure queue, which stay there. Waits for the first one."""
        answer = self.client("sqs").receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=20
        )
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [{"event": body["requestPayload"], "error": body["responsePayload"]} for body in bodies]

    def alerts(self, queue: str, wait: int = 1) -> list[dict]:
        """Receives the alerts until none arrives for `wait` seconds."""
        sqs = self.client("sqs")
        found = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get(
            "Messages"
        ):
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

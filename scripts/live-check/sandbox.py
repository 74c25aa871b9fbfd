"""The sandbox account: the stack, what a run creates, and how to remove it."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parent.parent.parent
LOGS = ROOT / ".tools" / "live-check"
BIN = Path(sys.executable).parent
STACK = "trailseal-live-check"
ROLE = "trailseal-live-check-reader"
TAG = "trailseal-live-check"
EXEMPT = {"Key": "trailseal:exempt", "Value": TAG}
# Replaces the account's ID in everything that is printed or recorded.
EXAMPLE = "111122223333"


class SandboxError(Exception):
    """The run cannot start or continue. The message says what to do."""


def say(text: str, end: str = "\n") -> None:
    """Prints progress. The removal must follow even if the terminal or the reader of a pipe is gone."""
    with contextlib.suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


def other_region(partition: str, region: str) -> str | None:
    """Another Region of the partition, if it has one. Accounts can disable most Regions of `aws`, but not these."""
    known = boto3.Session().get_available_regions("cloudtrail", partition)
    regions = ["us-east-1", "us-west-2"] if partition == "aws" else known
    return next((it for it in regions if it != region), None)


class Sandbox:
    def __init__(self, identity: dict, region: str, other: str | None, patience: float):
        self.account, self.caller = identity["Account"], identity["Arn"]
        self.partition = self.caller.split(":")[1]
        self.region, self.patience = region, patience
        # None if the partition has only one Region.
        self.other = other or other_region(self.partition, region)
        self.regions = [region, *([self.other] if self.other else [])]
        self.suffix = secrets.token_hex(4)
        self.alias = f"alias/trailseal-live-check-{self.suffix}"
        self.began = datetime.now(timezone.utc)
        self.record = LOGS / f"{self.began:%Y%m%dT%H%M%SZ}.jsonl"
        self._clients: dict = {}
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._keys: list[tuple[str, str]] = []
        # Last of all: trailseal, while it is deployed, restores its keys.
        for at in self.regions:
            self.undo(f"keys in {at} with the tag {TAG}={self.suffix}", partial(self._remove_keys, at))

    def client(self, service: str, region: str | None = None):
        at = service, region or self.region
        if at not in self._clients:
            # A retried Invoke would send a second event.
            retries = {"total_max_attempts": 1} if service == "lambda" else {"mode": "standard", "total_max_attempts": 6}
            s3 = {"addressing_style": "path"} if "AWS_ENDPOINT_URL" in os.environ else {}
            self._clients[at] = boto3.client(
                service, region_name=at[1], config=Config(read_timeout=200, retries=retries, s3=s3)
            )
        return self._clients[at]

    # Output

    def redact(self, text: str) -> str:
        text = text.replace(self.caller, "CALLER")
        if "/" in self.caller:
            text = text.replace("/" + self.caller.rpartition("/")[2], "/CALLER")
        return text.replace(self.account, EXAMPLE)

    def note(self, what: str, value: object) -> None:
        """Appends one line to the record."""
        line = json.dumps({"time": f"{datetime.now(timezone.utc):%FT%TZ}", what: value}, default=str)
        with self.record.open("a") as file:
            file.write(self.redact(line) + "\n")

    def wait(self, seconds: float, probe: Callable[[], object]):
        """Calls `probe` until its result is true or the time is over, and returns the last result."""
        deadline = time.monotonic() + seconds * self.patience
        while not (result := probe()) and time.monotonic() < deadline:
            time.sleep(min(5.0, max(0.1, 5 * self.patience)))
        return result

    # Creation

    def undo(self, what: str, action: Callable[[], object]) -> None:
        """Registers a removal before the creation, which could succeed without an answer."""
        self._undo.append((what, action))

    def clean_up(self) -> list[str]:
        """Removes everything, newest first, and returns what remains."""
        remains = []
        while self._undo:
            what, action = self._undo.pop()
            say(f"removing {self.redact(what)}")
            try:
                action()
            except Exception as error:  # noqa: BLE001 - whatever fails, the other removals must follow
                if not absent(error):
                    remains.append(self.redact(f"{what}: {error}"))
        return remains

    def bucket(self, name: str, region: str | None = None) -> str:
        bucket, at = f"trailseal-{name}-{self.suffix}-{self.account}"[:63], region or self.region
        s3 = self.client("s3", at)
        self.undo(f"bucket {bucket} in {at}", lambda: self._remove_bucket(s3, bucket))
        where = {} if at == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": at}}
        s3.create_bucket(Bucket=bucket, **where)
        self.bucket_policy(bucket, s3=s3)
        return bucket

    def bucket_policy(self, bucket: str, *statements: dict, s3=None) -> None:
        """Lets CloudTrail write, and adds statements."""
        arn = f"arn:{self.partition}:s3:::{bucket}"
        cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
        allowed = [
            cloudtrail | {"Action": "s3:GetBucketAcl", "Resource": arn},
            cloudtrail | {"Action": "s3:PutObject", "Resource": f"{arn}/AWSLogs/{self.account}/*"},
        ]
        (s3 or self.client("s3")).put_bucket_policy(Bucket=bucket, Policy=policy(*allowed, *statements))

    def pin(self, bucket: str, key: str) -> None:
        """Denies objects that are encrypted with any other key."""
        pinned = {"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": key}}
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Condition": pinned}
        self.bucket_policy(bucket, deny | {"Resource": f"arn:{self.partition}:s3:::{bucket}/*"})

    def trail(self, name: str, bucket: str, region: str | None = None, **settings) -> str:
        cloudtrail = self.client("cloudtrail", region)
        name = f"live-check-{name}-{self.suffix}"
        self.undo(f"trail {name} in {region or self.region}", lambda: cloudtrail.delete_trail(Name=name))

        def create() -> str | None:
            try:
                return cloudtrail.create_trail(Name=name, S3BucketName=bucket, **settings)["TrailARN"]
            except ClientError as error:
                # Until CloudTrail knows a new key.
                known = code(error) not in ("InsufficientEncryptionPolicyException", "KmsKeyNotFoundException")
                return fail(error) if known else None

        if not (arn := self.wait(60, create)):
            raise SandboxError(f"CloudTrail refuses the key of {name}")
        cloudtrail.start_logging(Name=arn)
        return arn

    def key(self, *statements: dict, region: str | None = None, tags: Iterable[dict] = ()) -> str:
        """Creates a key for this run."""
        kms = self.client("kms", region)
        tagged = [{"TagKey": TAG, "TagValue": self.suffix}, *tags]
        arn = kms.create_key(Policy=self.key_policy(*statements), Tags=tagged)["KeyMetadata"]["Arn"]
        self._keys.append((region or self.region, arn))
        return arn

    def key_policy(self, *statements: dict) -> str:
        root = {"AWS": f"arn:{self.partition}:iam::{self.account}:root"}
        return policy({"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}, *statements)

    def reader(self) -> dict:
        """Credentials of a role that may read objects, but not decrypt by its own policies."""
        iam, root = self.client("iam"), {"AWS": f"arn:{self.partition}:iam::{self.account}:root"}
        self.undo(f"role {ROLE}", lambda: iam.delete_role(RoleName=ROLE))
        trust = policy({"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"})
        arn = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        self.undo(f"policy of {ROLE}", lambda: iam.delete_role_policy(RoleName=ROLE, PolicyName="read"))
        read = policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})
        iam.put_role_policy(RoleName=ROLE, PolicyName="read", PolicyDocument=read)
        return self.assume(arn)

    def assume(self, role: str) -> dict:
        """Credentials of a role, once IAM knows it."""

        def attempt() -> dict | None:
            try:
                return self.client("sts").assume_role(RoleArn=role, RoleSessionName="live-check")["Credentials"]
            except ClientError as error:
                return None if code(error) == "AccessDenied" else fail(error)

        if not (issued := self.wait(60, attempt)):
            raise SandboxError(f"cannot assume {role}")
        return {
            "aws_access_key_id": issued["AccessKeyId"],
            "aws_secret_access_key": issued["SecretAccessKey"],
            "aws_session_token": issued["SessionToken"],
        }

    # The stack

    def deploy(self, build: Path, bucket: str, *parameters: str) -> None:
        """Deploys the build. Parameters that are not given keep their values."""
        template, config, what = build / "template.yaml", LOGS / "samconfig.toml", f"stack {STACK} in {self.region}"
        # The configuration of a package would create a bucket.
        config.write_text("version = 0.1\n")
        if what not in [known for known, _ in self._undo]:
            self.undo(what, lambda: self.delete_stack(self.region, STACK))
        overrides = ("--parameter-overrides", *parameters) if parameters else ()
        self.run(
            "deploy",
            BIN / "sam", "deploy", "--template-file", template, "--stack-name", STACK, "--region", self.region,
            "--s3-bucket", bucket, "--capabilities", "CAPABILITY_NAMED_IAM", "--no-confirm-changeset",
            "--no-fail-on-empty-changeset", "--config-file", config, *overrides,
        )  # fmt: skip

    def run(self, what: str, *command: object) -> None:
        """Runs a command that an interrupt of the terminal does not reach, and ends it if this process is interrupted."""
        log = LOGS / f"{what}.log"
        env = os.environ | {"SAM_CLI_TELEMETRY": "0"}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], env=env, cwd=LOGS, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            if process.wait():
                lines = log.read_text().split("\n")[-8:]
                raise SandboxError("\n".join([f"{what} failed (log: {log.relative_to(ROOT)})", *lines]))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            process.wait()

    def delete_stack(self, region: str, name: str) -> None:
        cloudformation = self.client("cloudformation", region)

        def status() -> str | None:
            try:
                return cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            except ClientError as error:
                return None if absent(error) else fail(error)

        # CloudFormation refuses to delete a stack during an update, which an interrupt leaves running. A review ends only with the stack.
        limit = time.monotonic() + 1800
        while (
            (state := status())
            and state.endswith("_IN_PROGRESS")
            and state != "REVIEW_IN_PROGRESS"
            and time.monotonic() < limit
        ):
            time.sleep(1)
        if not state:
            return
        cloudformation.delete_stack(StackName=name)
        while (state := status()) == "DELETE_IN_PROGRESS" and time.monotonic() < limit:
            time.sleep(1)
        if state not in (None, "DELETE_COMPLETE"):
            raise SandboxError(f"the stack is {state}: delete it in CloudFormation's console")

    def outputs(self) -> dict[str, str]:
        [stack] = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def invoke(self, event: dict, kind: str = "RequestResponse") -> dict:
        """The function's answer."""
        invoked = self.client("lambda").invoke(FunctionName=STACK, InvocationType=kind, Payload=json.dumps(event))
        answer = json.loads(invoked["Payload"].read() or b"{}")
        self.note("answer", answer)
        return answer

    def seal(self, trail: str) -> dict:
        return self.invoke({"trail": trail})

    def answers(self, since: datetime, **trigger: str) -> list[dict]:
        """The logged answers since then, oldest first."""
        logs = self.client("logs").get_paginator("filter_log_events")
        pages = logs.paginate(logGroupName=self.outputs()["LogGroupName"], startTime=int(since.timestamp() * 1000))
        lines = [event["message"] for page in pages for event in page["events"] if event["message"].startswith("{")]
        found = [answer for line in lines if "trails" in (answer := json.loads(line))]
        return [it for it in found if trigger.items() <= it["trigger"].items()]

    # Removal

    def _remove_bucket(self, s3, bucket: str) -> None:
        # CloudTrail can deliver for minutes after the trail was deleted.
        for last in (False, False, True):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                if objects := [{"Key": it["Key"]} for it in page.get("Contents", [])]:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            try:
                return s3.delete_bucket(Bucket=bucket)
            except ClientError as error:
                if code(error) != "BucketNotEmpty" or last:
                    raise
            time.sleep(60 * self.patience)

    def _remove_keys(self, region: str) -> None:
        """Deletes trailseal's alias, and schedules the deletion of every key of this run. The error names the keys that remain."""
        remaining = {arn for at, arn in self._keys if at == region}
        kms, errors = self.client("kms", region), []
        try:
            pages = kms.get_paginator("list_aliases").paginate()
            aliases = [it for page in pages for it in page["Aliases"] if it["AliasName"] == self.alias]
            remaining |= {kms.describe_key(KeyId=it["TargetKeyId"])["KeyMetadata"]["Arn"] for it in aliases}
            tagged = self.client("resourcegroupstaggingapi", region).get_paginator("get_resources")
            filters = {"TagFilters": [{"Key": TAG, "Values": [self.suffix]}], "ResourceTypeFilters": ["kms:key"]}
            pages = tagged.paginate(**filters)
            remaining |= {it["ResourceARN"] for page in pages for it in page["ResourceTagMappingList"]}
            for alias in aliases:
                kms.delete_alias(AliasName=alias["AliasName"])
        except (ClientError, BotoCoreError) as error:
            errors.append(str(error))
        for key in sorted(remaining):
            try:
                if kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] != "PendingDeletion":
                    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
                remaining.discard(key)
            except (ClientError, BotoCoreError) as error:
                errors.append(str(error))
        if errors:
            raise SandboxError(f"{', '.join(sorted(remaining))}: {'; '.join(errors)}")


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def absent(error: Exception) -> bool:
    """Whether the error says that what was to be removed does not exist."""
    if not isinstance(error, ClientError):
        return False
    missing = ("NoSuchBucket", "NoSuchEntity", "TrailNotFoundException", "AWS.SimpleQueueService.NonExistentQueue")
    return code(error) in missing or (code(error) == "ValidationError" and "does not exist" in str(error))


def fail(error: Exception):
    raise error

"""One run of the checks: what all of them use."""

import json
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from botocore.exceptions import ClientError

from sandbox import ROOT, STACK, TAG, Sandbox, code, policy

Result = tuple[bool, str]
# Of a check that needs another Region, in a partition without one.
SKIPPED = None
MINUTE = 60


class Run:
    def __init__(self, aws: Sandbox, build: Path, parameters: list[str]):
        self.aws, self.build, self.parameters = aws, build, parameters
        self.rows: list[tuple[str, str, str]] = []
        head = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
        self.commit = subprocess.run(head, capture_output=True, text=True, check=False).stdout.strip() or "unknown"

    def prepare(self) -> None:
        """Creates one trail and deploys the stack in dry-run mode, with a queue on its topic."""
        aws = self.aws
        self.code, self.logs = aws.bucket("code"), aws.bucket("logs")
        self.trail = aws.trail("plain", self.logs, IsMultiRegionTrail=True)
        self.deployed = now()
        tags = f"{TAG}={aws.suffix}"
        first = [f"KeyAlias={aws.alias}", f"KeyTags={tags}", "CreateDashboard=false", "Mode=dry-run"]
        aws.deploy(self.build, self.code, *first, *self.parameters)
        self.stack = aws.outputs()
        sqs, name = aws.client("sqs"), f"live-check-{aws.suffix}"
        self.alerts = sqs.create_queue(QueueName=name)["QueueUrl"]
        aws.undo(f"queue {name} in {aws.region}", lambda: sqs.delete_queue(QueueUrl=self.alerts))
        arn = sqs.get_queue_attributes(QueueUrl=self.alerts, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
        sqs.set_queue_attributes(QueueUrl=self.alerts, Attributes={"Policy": policy(sns | {"Resource": arn})})
        aws.client("sns").subscribe(TopicArn=self.stack["AlertTopicArn"], Protocol="sqs", Endpoint=arn)

    def deploy(self, *parameters: str) -> datetime:
        since = now()
        self.aws.deploy(self.build, self.code, *parameters)
        return since

    def unseal(self, trail: str) -> None:
        self.aws.client("cloudtrail").update_trail(Name=trail, KmsKeyId="")

    def key_of(self, trail: str) -> str:
        return self.aws.client("cloudtrail").get_trail(Name=trail)["Trail"].get("KmsKeyId", "")

    def sealing_key(self) -> str:
        return self.aws.client("kms").describe_key(KeyId=self.aws.alias)["KeyMetadata"]["Arn"]

    def key_state(self, key: str) -> str:
        return self.aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]

    def sweeps(self, since: datetime, count: int = 1) -> list[dict]:
        return self.aws.wait(2 * MINUTE, lambda: at_least(count, self.aws.answers(since, kind="sweep"))) or []

    def answer(self, seconds: float, since: datetime, **trigger: str) -> Result:
        """The first answer to an event, and its delay."""
        found = self.aws.wait(seconds, lambda: self.aws.answers(since, **trigger))
        delay = f"{(now() - since).total_seconds():.0f} s"
        return bool(found), f"{outcomes(found[0])} after {delay}" if found else f"no answer within {delay}"

    def messages(self, queue: str, seconds: float, matches: Callable[[dict], object]) -> list[dict]:
        """Receives until a message matches, and returns those that do."""

        def receive() -> list[dict]:
            found = self.aws.client("sqs").receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
            )
            return [it for it in found.get("Messages", []) if matches(it)]

        return self.aws.wait(seconds, receive)

    def alarms(self, state: str, seconds: float, *names: str) -> Result:
        def found() -> list[str]:
            alarms = self.aws.client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK}-{name}" for name in names])
            return [it["AlarmName"] for it in alarms["MetricAlarms"] if it["StateValue"] == state]

        reached = self.aws.wait(seconds, lambda: at_least(len(names), found()))
        return bool(reached), f"{state}: {', '.join(found()) or 'none'}"


def now() -> datetime:
    return datetime.now(timezone.utc)


def at_least(count: int, found: list) -> list:
    return found if len(found) >= count else []


def outcomes(answer: dict) -> str:
    """The outcomes and steps of an answer, or its error."""
    trails = [f"{it['outcome']} ({steps(it) or 'no steps'})" for it in answer.get("trails", [])]
    return ", ".join(trails) or json.dumps(answer.get("error") or answer.get("errorMessage"))


def steps(trail: dict) -> str:
    return ", ".join(f"{step['step']} {step['status']}" for step in trail["steps"])


def refusal(call: Callable[[], object]) -> str:
    """The code of the error that a call must return."""
    try:
        call()
    except ClientError as error:
        return code(error)
    return "accepted"


def lookup(run: Run, source: str) -> list[dict]:
    """CloudTrail's own record of calls since the run began."""
    pages = (
        run.aws
        .client("cloudtrail")
        .get_paginator("lookup_events")
        .paginate(LookupAttributes=[{"AttributeKey": "EventSource", "AttributeValue": source}], StartTime=run.aws.began)
    )
    return [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]


def errors(calls: list[dict]) -> list[str]:
    return [call["errorCode"] for call in calls if "errorCode" in call]

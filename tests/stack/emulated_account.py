"""An emulated AWS account to which the tests deploy trailseal."""

import atexit
import contextlib
import json
import os
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import ClientError

from account import HOME, Account
from local import ACCOUNT, BUILD, PROJECT, TOOLS, architecture, deploy, emulator, environment, port, sam

LOGS = TOOLS / "test-stack"
STACK = "trailseal"
ROLE = f"{STACK}-{HOME}"
EVENTS = PROJECT / "events"


def start_emulator(module: str) -> "EmulatedAccount":
    """Starts an emulator for the tests of one module. Call it in `setUpModule`."""
    logs = LOGS / module
    logs.mkdir(parents=True, exist_ok=True)
    free_port = port()
    env = environment(f"http://127.0.0.1:{free_port}", HOME)
    # Lambda retries an event after one minute and again after two. The emulator can be faster.
    env["LAMBDA_ASYNC_RETRY_BASE_SECONDS"] = "0.1"
    resources = contextlib.ExitStack()
    # unittest runs module cleanups, but not after an interrupt.
    atexit.register(resources.close)
    unittest.addModuleCleanup(resources.close)
    resources.enter_context(emulator(free_port, env, logs))
    return EmulatedAccount(env, logs)


class EmulatedAccount(Account):
    def __init__(self, env: dict[str, str], logs: Path):
        super().__init__(env)
        self.logs = logs
        self._clients = {}

    def client(self, service: str, region: str = HOME):
        # Creating a client takes longer than most calls.
        if (service, region) not in self._clients:
            self._clients[service, region] = super().client(service, region)
        return self._clients[service, region]

    # The stack

    def deploy(self, *parameters: str, stack: str = STACK) -> dict[str, str]:
        """Deploys the build and returns the stack's outputs."""
        return self.deploy_from(Path(os.environ.get("TRAILSEAL_BUILD", BUILD)), *parameters, stack=stack)

    def deploy_from(self, folder: Path, *parameters: str, stack: str = STACK) -> dict[str, str]:
        log = f"deploy-{stack}-{len(list(self.logs.glob('deploy-*')))}"
        deploy(log, stack, *parameters, env=self.env, built=folder, logs=self.logs)
        return self.outputs(stack)

    def deploy_first(self, *parameters: str, stack: str = STACK) -> dict[str, str]:
        """Deploys for the processor of this machine, on which the emulator runs the function."""
        return self.deploy(f"Architecture={architecture()}", *parameters, stack=stack)

    def delete(self, stack: str = STACK) -> None:
        sam("delete", "delete", "--stack-name", stack, "--region", HOME, "--no-prompts", env=self.env, logs=self.logs)

    def rejection(self, template: str, parameters: dict[str, str], *capabilities: str) -> str | None:
        """Why CloudFormation rejects a stack with these parameters. Creates no stack."""
        cloudformation = self.client("cloudformation")
        try:
            cloudformation.create_change_set(
                StackName="rejected",
                ChangeSetName="rejected",
                ChangeSetType="CREATE",
                TemplateBody=template,
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
                Capabilities=["CAPABILITY_NAMED_IAM", *capabilities],
            )
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ValidationError", error
            return error.response["Error"]["Message"]
        cloudformation.delete_stack(StackName="rejected")
        return None

    def parameters(self, stack: str = STACK) -> dict[str, str]:
        [found] = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in found["Parameters"]}

    def template(self, stack: str = STACK) -> dict:
        """The template after the SAM transform."""
        body = self.client("cloudformation").get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
        return json.loads(json.dumps(body))

    def resources(self) -> dict[str, list]:
        """Everything in the account that a stack of trailseal could fail to delete."""

        def names(service: str, operation: str, result: str, name: str | None) -> list:
            found = getattr(self.client(service), operation)().get(result, [])
            return sorted(item[name] if name else item for item in found)

        bus = self.client("events").describe_event_bus(Name="default")
        return {
            "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
            "rules": names("events", "list_rules", "Rules", "Name"),
            "default bus policies": [policy for policy in [bus.get("Policy")] if policy],
            "schedules": names("scheduler", "list_schedules", "Schedules", "Name"),
            "queues": names("sqs", "list_queues", "QueueUrls", None),
            "topics": names("sns", "list_topics", "Topics", "TopicArn"),
            "subscriptions": names("sns", "list_subscriptions", "Subscriptions", "Endpoint"),
            "roles": names("iam", "list_roles", "Roles", "RoleName"),
            "log groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
            "metric filters": names("logs", "describe_metric_filters", "metricFilters", "filterName"),
            "alarms": names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
            "dashboards": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        }

    def log_lines(self, group: str) -> list[dict]:
        """The JSON lines that the function logged, oldest first."""
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        return [json.loads(event["message"]) for event in events if event["message"].startswith("{")]

    def role_policies(self, name: str) -> dict[str, dict]:
        iam = self.client("iam")
        return {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }

    def role_statements(self, name: str) -> list[dict]:
        return [statement for policy in self.role_policies(name).values() for statement in policy["Statement"]]

    def queue(self, url: str, region: str = HOME) -> dict[str, str]:
        return self.client("sqs", region).get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def alarms(self, stack: str = STACK) -> dict[str, dict]:
        """The stack's alarms, by their names without the stack's name."""
        found = self.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{stack}-")["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{stack}-"): alarm for alarm in found}


def wait_for(what: str, probe: Callable, seconds: float = 20):
    """Calls `probe` until its result is true, and returns the result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := probe():
            return result
        time.sleep(0.1)
    raise AssertionError(f"no {what} after {seconds} s")


def event(name: str) -> dict:
    return json.loads((EVENTS / f"{name}.json").read_text())


def invocation_result(function: str = STACK, **differences) -> dict:
    """The event that Lambda sends to a bus after a successful invocation of a function."""
    return {
        "version": "0",
        "id": "1",
        "time": "2026-11-20T10:00:00Z",
        "region": HOME,
        "resources": [],
        "source": "lambda",
        "account": ACCOUNT,
        "detail-type": "Lambda Function Invocation Result - Success",
        "detail": {
            "requestContext": {"functionArn": f"arn:aws:lambda:{HOME}:{ACCOUNT}:function:{function}:$LATEST"},
            "responsePayload": {"schema": 1},
        },
    } | differences

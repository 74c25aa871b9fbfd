"""An emulator with an account in it to which trailseal is deployed, and what the tests ask of that account."""

import atexit
import contextlib
import json
import os
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from account import HOME, Account
from local import BUILD, PROJECT, TOOLS, architecture, deploy, emulator, environment, port, sam

LOGS = TOOLS / "test-stack"
STACK = "trailseal"
ROLE = f"{STACK}-{HOME}"
EVENTS = PROJECT / "events"


def open_cloud(module: str) -> "Cloud":
    """An emulator for the tests of one module: to be called in its `setUpModule`."""
    logs = LOGS / module
    logs.mkdir(parents=True, exist_ok=True)
    at = port()
    env = environment(f"http://127.0.0.1:{at}", HOME)
    # Lambda waits a minute before it tries an event again, and two before the next time; the emulator can be quicker.
    env["LAMBDA_ASYNC_RETRY_BASE_SECONDS"] = "0.1"
    running = contextlib.ExitStack()
    # unittest ends the modules that it began, but not if it is interrupted.
    atexit.register(running.close)
    unittest.addModuleCleanup(running.close)
    running.enter_context(emulator(at, env, logs))
    return Cloud(env, logs)


class Cloud(Account):
    def __init__(self, env: dict[str, str], logs: Path):
        super().__init__(env)
        self.logs = logs
        self._clients = {}

    def client(self, service: str, region: str = HOME):
        # Making one takes longer than most calls do.
        if (service, region) not in self._clients:
            self._clients[service, region] = super().client(service, region)
        return self._clients[service, region]

    # The stack

    def deploy(self, *parameters: str, stack: str = STACK) -> dict[str, str]:
        """Says what came out."""
        return self.deploy_from(Path(os.environ.get("TRAILSEAL_BUILD", BUILD)), *parameters, stack=stack)

    def deploy_from(self, built: Path, *parameters: str, stack: str = STACK) -> dict[str, str]:
        """The same from another folder than that of the build."""
        what = "-".join(["deploy", stack, str(sum(1 for _ in self.logs.glob("deploy-*")))])
        deploy(what, stack, *parameters, env=self.env, built=built, logs=self.logs)
        return self.outputs(stack)

    def deploy_first(self, *parameters: str, stack: str = STACK) -> dict[str, str]:
        """With the processor of this machine, on which the emulator runs the function."""
        return self.deploy(f"Architecture={architecture()}", *parameters, stack=stack)

    def delete(self, stack: str = STACK) -> None:
        sam("delete", "delete", "--stack-name", stack, "--region", HOME, "--no-prompts", env=self.env, logs=self.logs)

    def parameters(self, stack: str = STACK) -> dict[str, str]:
        [found] = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in found["Parameters"]}

    def template(self, stack: str = STACK) -> dict:
        """As CloudFormation has it, after the transformation."""
        body = self.client("cloudformation").get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
        return json.loads(json.dumps(body))

    def belongings(self) -> dict[str, list]:
        """Whatever a stack of trailseal's could leave behind."""

        def names(service: str, operation: str, found: str, name: str | None) -> list:
            answer = getattr(self.client(service), operation)()[found] if found else []
            return sorted(it[name] if name else it for it in answer)

        bus = self.client("events").describe_event_bus(Name="default")
        return {
            "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
            "rules": names("events", "list_rules", "Rules", "Name"),
            "who may put events": [policy for policy in [bus.get("Policy")] if policy],
            "schedules": names("scheduler", "list_schedules", "Schedules", "Name"),
            "queues": names("sqs", "list_queues", "QueueUrls", None) if self._any_queue() else [],
            "topics": names("sns", "list_topics", "Topics", "TopicArn"),
            "subscriptions": names("sns", "list_subscriptions", "Subscriptions", "Endpoint"),
            "roles": names("iam", "list_roles", "Roles", "RoleName"),
            "log groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
            "metric filters": names("logs", "describe_metric_filters", "metricFilters", "filterName"),
            "alarms": names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
            "dashboards": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        }

    def _any_queue(self) -> bool:
        return "QueueUrls" in self.client("sqs").list_queues()

    # The function

    def lines(self, group: str) -> list[dict]:
        """What the function logged: the lines that are JSON, oldest first."""
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        return [json.loads(event["message"]) for event in events if event["message"].startswith("{")]

    # Its surroundings

    def role(self, name: str) -> dict[str, dict]:
        """The role's policies by their names."""
        iam = self.client("iam")
        return {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }

    def queue(self, url: str) -> dict[str, str]:
        return self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def alarms(self, stack: str = STACK) -> dict[str, dict]:
        """By what their names say after the stack's."""
        found = self.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{stack}-")["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{stack}-"): alarm for alarm in found}


def wait_for(what: str, look: Callable, seconds: float = 20):
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"there is no {what} after {seconds} s")


def event(name: str) -> dict:
    return json.loads((EVENTS / f"{name}.json").read_text())

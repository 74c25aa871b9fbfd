"""Forwarders send other Regions' events to the Region of trailseal. A failure in one Region does not affect others."""

import json
import subprocess
import unittest

from account import HOME
from emulated_account import STACK, event, start_emulator
from local import ACCOUNT, PROJECT, TOOLS

FORWARDER = f"{STACK}-forwarder"
# In this Region, a protected stack has the forwarder's name.
PROTECTED = "ap-southeast-2"
REGIONS = ["us-east-1", "eu-north-1"]
BUS = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"


def setUpModule() -> None:
    global aws
    aws = start_emulator("forwarders")


def forwarders(command: str, *regions: str, **variables: str) -> tuple[int, list[str], str]:
    """Runs the script of `make deploy-forwarders` and `make delete-forwarders`. Returns its exit code, output and errors."""
    run = subprocess.run(
        [TOOLS / "sam" / "bin" / "python", "-B", PROJECT / "scripts" / "forwarders", command, *regions],
        env=aws.env | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, [" ".join(line.split()) for line in run.stdout.splitlines()], run.stderr


def rules(region: str, stack: str) -> dict[str, dict]:
    """The stack's rules by logical ID."""
    events, cloudformation = aws.client("events", region), aws.client("cloudformation", region)
    found = {}
    for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]:
        if resource["ResourceType"] == "AWS::Events::Rule":
            rule = events.describe_rule(Name=resource["PhysicalResourceId"])
            [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            pattern = json.loads(rule["EventPattern"])
            found[resource["LogicalResourceId"]] = {"pattern": pattern, "arn": rule["Arn"], "target": target}
    return found


class Test1WithoutTrailseal(unittest.TestCase):
    def test_without_trailseals_stack_nothing_is_deployed(self):
        code, lines, error = forwarders("deploy", *REGIONS)
        self.assertEqual((code, lines), (1, []))
        self.assertIn(f"the stack `{STACK}` does not exist in {HOME}", error)
        self.assertIn("MAIN_REGION=", error)

    def test_a_malformed_region_is_rejected_first(self):
        code, lines, error = forwarders("deploy", "us-east-1", "Mars")
        self.assertEqual((code, lines, error), (2, [], "error: invalid Region: Mars\n"))

    def test_without_regions_it_prints_the_usage(self):
        code, _, error = forwarders("delete")
        self.assertEqual(code, 2)
        self.assertIn('make deploy-forwarders|delete-forwarders REGIONS="', error)


class Test2Deployed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        aws.deploy_first()
        cls.code, cls.lines, _ = forwarders("deploy", "us-east-1", HOME, "eu-north-1", "us-east-1")

    def test_it_reports_each_region_once(self):
        expected = {f"{HOME} is the Region of trailseal: no forwarder needed"}
        expected |= {f"{region} forwards events to {HOME}" for region in REGIONS}
        self.assertEqual((self.code, sorted(self.lines)), (0, sorted(expected)))

    def test_the_patterns_equal_those_of_trailseals_rules(self):
        own = {name: rule["pattern"] for name, rule in rules(HOME, STACK).items()}
        self.assertEqual(sorted(own), ["KeyRule", "TrailRule"])
        for region in REGIONS:
            forwarded = {name: rule["pattern"] for name, rule in rules(region, FORWARDER).items()}
            self.assertEqual(forwarded, own, region)

    def test_events_go_to_the_default_bus_or_the_regions_queue(self):
        # The emulator rejects events with an aws source, so the test cannot check the delivery.
        for region in REGIONS:
            queue = aws.client("sqs", region).get_queue_url(QueueName=f"{FORWARDER}-undelivered")["QueueUrl"]
            attributes = aws.queue(queue, region)
            arn, policy = attributes["QueueArn"], attributes["Policy"]
            self.assertEqual(arn.split(":")[3], region)
            [statement] = json.loads(policy)["Statement"]
            sources = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
            self.assertEqual(statement["Principal"], {"Service": "events.amazonaws.com"})
            self.assertEqual(sorted(sources), sorted(rule["arn"] for rule in rules(region, FORWARDER).values()))
            for rule in rules(region, FORWARDER).values():
                self.assertEqual(rule["target"]["Arn"], BUS)
                self.assertEqual(rule["target"]["DeadLetterConfig"], {"Arn": arn})

    def test_the_role_can_only_put_events_on_that_bus(self):
        for region in REGIONS:
            for rule in rules(region, FORWARDER).values():
                [allow] = aws.role_statements(rule["target"]["RoleArn"].rpartition("/")[2])
                self.assertEqual(
                    (allow["Effect"], allow["Action"], allow["Resource"]), ("Allow", "events:PutEvents", BUS)
                )

    def test_an_event_from_another_region_names_its_trail(self):
        aws.make_bucket("logs", HOME)
        trail = aws.client("cloudtrail", "us-east-1").create_trail(Name="far", S3BucketName="logs")["TrailARN"]
        update = event("update-trail-by-name") | {"region": "us-east-1"}
        update["detail"] |= {"awsRegion": "us-east-1", "requestParameters": {"name": "far"}}
        answer = aws.invoke(STACK, update)
        self.assertEqual([(it["trail_arn"], it["outcome"]) for it in answer["trails"]], [(trail, "planned")], answer)
        self.assertEqual(answer["trigger"]["region"], "us-east-1")


class Test3DeployedAgain(unittest.TestCase):
    def test_a_second_deployment_changes_nothing(self):
        code, lines, _ = forwarders("deploy", *REGIONS)
        self.assertEqual((code, sorted(lines)), (0, sorted(f"{region} unchanged" for region in REGIONS)))

    def test_main_region_can_be_set(self):
        code, _, error = forwarders("deploy", "us-east-1", MAIN_REGION="us-east-2")
        self.assertEqual(code, 1)
        self.assertIn(f"the stack `{STACK}` does not exist in us-east-2", error)


class Test4Deleted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        queue = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
        aws.client("cloudformation", PROTECTED).create_stack(
            StackName=FORWARDER, TemplateBody=json.dumps(queue), EnableTerminationProtection=True
        )
        cls.code, cls.lines, _ = forwarders("delete", PROTECTED, *REGIONS, "ca-central-1")

    def test_it_reports_each_deletion(self):
        expected = [f"{region} deleted" for region in REGIONS] + ["ca-central-1 not deployed"]
        self.assertEqual(sorted(line for line in self.lines if not line.startswith(PROTECTED)), sorted(expected))

    def test_a_failed_region_is_reported_with_its_log(self):
        [line] = [line for line in self.lines if line.startswith(PROTECTED)]
        self.assertIn(f"{PROTECTED} error: ", line)
        self.assertIn("TerminationProtection", line)
        self.assertIn(f"(log: .tools/forwarders/{PROTECTED}.log)", line)
        self.assertEqual(self.code, 1)

    def test_the_regions_resources_are_deleted(self):
        for region in REGIONS:
            self.assertEqual(rules(region, FORWARDER), {})
            self.assertEqual(aws.client("sqs", region).list_queues().get("QueueUrls", []), [])

    def test_trailseals_rules_remain(self):
        self.assertEqual(sorted(rules(HOME, STACK)), ["KeyRule", "TrailRule"])

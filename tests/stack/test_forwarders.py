"""Other Regions: their events are sent on to the Region where trailseal is, and one Region's trouble stops no other."""

import json
import subprocess
import unittest

from account import HOME
from cloud import STACK, event, open_cloud
from local import ACCOUNT, PROJECT, TOOLS

FORWARDER = f"{STACK}-forwarder"
# Where somebody protects a stack of that name.
PROTECTED = "ap-southeast-2"
REGIONS = ["us-east-1", "eu-north-1"]
BUS = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"


def setUpModule() -> None:
    global cloud, stack
    cloud = open_cloud("forwarders")


def forwarders(command: str, *regions: str, **variables: str) -> tuple[int, list[str], str]:
    """What `make deploy-forwarders` and `make delete-forwarders` run: its exit code, lines and errors."""
    run = subprocess.run(
        [TOOLS / "sam" / "bin" / "python", "-B", PROJECT / "scripts" / "forwarders", command, *regions],
        env=cloud.env | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, [" ".join(line.split()) for line in run.stdout.splitlines()], run.stderr


def rules(region: str, stack: str) -> dict[str, dict]:
    """The stack's rules there, by their logical names."""
    events, cloudformation = cloud.client("events", region), cloud.client("cloudformation", region)
    found = {}
    for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]:
        if resource["ResourceType"] == "AWS::Events::Rule":
            rule = events.describe_rule(Name=resource["PhysicalResourceId"])
            [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
            pattern = json.loads(rule["EventPattern"])
            found[resource["LogicalResourceId"]] = {"pattern": pattern, "arn": rule["Arn"], "target": target}
    return found


class Test1BeforeTrailsealIsThere(unittest.TestCase):
    def test_nothing_is_sent_to_nobody(self):
        code, told, error = forwarders("deploy", *REGIONS)
        self.assertEqual((code, told), (1, []))
        self.assertIn(f"there is no stack `{STACK}` in {HOME}", error)
        self.assertIn("MAIN_REGION=", error)

    def test_what_is_no_region_is_refused_before_anything_is_done(self):
        code, told, error = forwarders("deploy", "us-east-1", "Mars")
        self.assertEqual((code, told, error), (2, [], "error: these are no Regions' codes: Mars\n"))

    def test_without_regions_it_says_how_it_is_used(self):
        code, _, error = forwarders("delete")
        self.assertEqual(code, 2)
        self.assertIn('make deploy-forwarders REGIONS="', error)


class Test2Deployed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cloud.deploy_first()
        cls.code, cls.told, _ = forwarders("deploy", "us-east-1", HOME, "eu-north-1", "us-east-1")

    def test_each_region_is_told_once_and_trailseals_own_needs_none(self):
        expected = {f"{HOME} is the Region of trailseal itself and needs none"}
        expected |= {f"{region} sends its events to {HOME}" for region in REGIONS}
        self.assertEqual((self.code, sorted(self.told)), (0, sorted(expected)))

    def test_the_patterns_are_those_of_trailseals_own_rules(self):
        own = {name: rule["pattern"] for name, rule in rules(HOME, STACK).items()}
        self.assertEqual(sorted(own), ["KeyRule", "TrailRule"])
        for region in REGIONS:
            forwarded = {name: rule["pattern"] for name, rule in rules(region, FORWARDER).items()}
            self.assertEqual(forwarded, own, region)

    def test_the_events_go_to_the_default_bus_there_and_what_cannot_into_a_queue_here(self):
        # The emulator lets nobody put events of AWS's own, so none can be seen to arrive.
        for region in REGIONS:
            queue = cloud.client("sqs", region).get_queue_url(QueueName=f"{FORWARDER}-undelivered")["QueueUrl"]
            attributes = cloud.client("sqs", region).get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
            arn, policy = (attributes["Attributes"][name] for name in ("QueueArn", "Policy"))
            self.assertEqual(arn.split(":")[3], region)
            [statement] = json.loads(policy)["Statement"]
            parked_by = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
            self.assertEqual(statement["Principal"], {"Service": "events.amazonaws.com"})
            self.assertEqual(sorted(parked_by), sorted(rule["arn"] for rule in rules(region, FORWARDER).values()))
            for rule in rules(region, FORWARDER).values():
                self.assertEqual(rule["target"]["Arn"], BUS)
                self.assertEqual(rule["target"]["DeadLetterConfig"], {"Arn": arn})

    def test_its_role_may_put_events_on_that_bus_and_nothing_else(self):
        for region in REGIONS:
            for rule in rules(region, FORWARDER).values():
                policies = cloud.role(rule["target"]["RoleArn"].rpartition("/")[2])
                statements = [it for policy in policies.values() for it in policy["Statement"]]
                granted = [(it["Effect"], it["Action"], it["Resource"]) for it in statements]
                self.assertEqual(granted, [("Allow", "events:PutEvents", BUS)])

    def test_an_event_of_another_region_is_about_the_trail_there(self):
        cloud.make_bucket("logs", HOME)
        trail = cloud.client("cloudtrail", "us-east-1").create_trail(Name="far", S3BucketName="logs")["TrailARN"]
        happened = event("update-trail-by-name") | {"region": "us-east-1"}
        happened["detail"] |= {"awsRegion": "us-east-1", "requestParameters": {"name": "far"}}
        answer = cloud.invoke(STACK, happened)
        self.assertEqual([(it["trail_arn"], it["outcome"]) for it in answer["trails"]], [(trail, "planned")], answer)
        self.assertEqual(answer["trigger"]["region"], "us-east-1")


class Test3Again(unittest.TestCase):
    def test_once_more_changes_nothing(self):
        code, told, _ = forwarders("deploy", *REGIONS)
        self.assertEqual((code, sorted(told)), (0, sorted(f"{region} unchanged" for region in REGIONS)))

    def test_the_main_region_may_be_named(self):
        code, _, error = forwarders("deploy", "us-east-1", MAIN_REGION="us-east-2")
        self.assertEqual(code, 1)
        self.assertIn(f"there is no stack `{STACK}` in us-east-2", error)


class Test4Deleted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        queue = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
        cloud.client("cloudformation", PROTECTED).create_stack(
            StackName=FORWARDER, TemplateBody=json.dumps(queue), EnableTerminationProtection=True
        )
        cls.code, cls.told, _ = forwarders("delete", PROTECTED, *REGIONS, "ca-central-1")

    def test_each_region_is_told(self):
        expected = [f"{region} deleted" for region in REGIONS] + ["ca-central-1 there was none"]
        self.assertEqual(sorted(line for line in self.told if not line.startswith(PROTECTED)), sorted(expected))

    def test_one_regions_trouble_is_told_and_stops_no_other(self):
        [trouble] = [line for line in self.told if line.startswith(PROTECTED)]
        self.assertIn(f"{PROTECTED} error: ", trouble)
        self.assertIn("TerminationProtection", trouble)
        self.assertIn(f"(log: .tools/forwarders/{PROTECTED}.log)", trouble)
        self.assertEqual(self.code, 1)

    def test_nothing_is_left_there(self):
        for region in REGIONS:
            self.assertEqual(rules(region, FORWARDER), {})
            self.assertEqual(cloud.client("sqs", region).list_queues().get("QueueUrls", []), [])

    def test_trailseal_itself_stays(self):
        self.assertEqual(sorted(rules(HOME, STACK)), ["KeyRule", "TrailRule"])



"""An organization's accounts: what they share in one, and what a StackSet deploys to the others."""

import json
import shutil
import unittest
from pathlib import Path

import yaml
from account import HOME, Account
from botocore.exceptions import ClientError
from cloud import open_cloud
from local import ACCOUNT, PROJECT, architecture
from packed import INTO, package

# Where the hub is; ACCOUNT is a member.
SECURITY = "999999999999"
ORGANIZATION = "o-abcdefghij"
# As StackSets name a stack in every account.
STACK = "StackSet-trailseal-0f4f6a3a-2f1b-4b7e-9c3d-6f8f0a1b2c3d"
FORWARDER_STACK = STACK.replace("trailseal", "trailseal-forwarder")
ELSEWHERE = "us-east-1"


class Template(yaml.SafeLoader):
    """A template's YAML; of `!Ref x` and `!Sub x`, x."""


Template.add_multi_constructor("!", lambda loader, _, node: getattr(node, "value", node))


def setUpModule() -> None:
    global member, security, hub, stack, folder, mailbox
    member = open_cloud("organization")
    security = Account(member.env | {"AWS_ACCESS_KEY_ID": SECURITY})
    folder = Path(shutil.copytree(package(INTO / "for-an-organization"), INTO / "not-in-the-sources"))
    hub = deploy(security, "trailseal-hub", "hub.yaml", OrganizationId=ORGANIZATION, AlertEmail="ops@example.com")
    mailbox = security.listen(hub["AlertTopicArn"])
    shared = {name: hub[name] for name in ("AlertTopicArn", "OutcomeBusArn")}
    # The emulator's Lambda looks for code in the function's own account only.
    member.client("s3").create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": HOME})
    for account, bucket in ((security, hub["CodeBucket"]), (member, "code")):
        publish(account, bucket)
    stack = deploy(member, STACK, "stackset.json", CodeBucket="code", **shared, CreateDashboard="false")


def deploy(account: Account, stack: str, template: str, region: str = HOME, **parameters: str) -> dict[str, str]:
    """As a StackSet does: CloudFormation gets the template's text, and nothing is translated or uploaded."""
    cloudformation = account.client("cloudformation", region)
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=(folder / template).read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        # No CAPABILITY_AUTO_EXPAND.
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def publish(account: Account, bucket: str) -> None:
    """As docs/organization.md says it."""
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    body = (folder / "trailseal.zip").read_bytes()
    account.client("s3").put_object(Bucket=bucket, Key=f"{sums['trailseal.zip']}.zip", Body=body)


class TheTemplate(unittest.TestCase):
    def setUp(self):
        self.text = (folder / "stackset.json").read_text()
        self.template = json.loads(self.text)

    def test_it_has_no_transform_which_stacksets_do_not_take(self):
        self.assertNotIn("Transform", self.template)
        kinds = {it["Type"] for it in self.template["Resources"].values()}
        self.assertFalse([kind for kind in kinds if kind.startswith("AWS::Serverless")], kinds)

    def test_it_is_short_enough_to_be_passed_on_without_a_bucket(self):
        self.assertLessEqual(len(self.text.encode()), 51_200)

    def test_it_was_made_for_the_processor_of_the_code(self):
        parameter = self.template["Parameters"]["Architecture"]
        self.assertEqual((parameter["AllowedValues"], parameter["Default"]), ([architecture()], architecture()))

    def test_its_code_is_what_the_sums_say(self):
        told = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
        code = self.template["Resources"]["Function"]["Properties"]["Code"]
        self.assertEqual(code, {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": f"{told['trailseal.zip']}.zip"})

    def test_all_else_is_as_in_the_template_for_one_account(self):
        expanded = json.loads((PROJECT / "tests" / "template" / "expanded.json").read_text())
        own = json.loads(self.text.replace("${Name}", "${AWS::StackName}").replace('"Ref": "Name"', '"Ref": "AWS::StackName"'))
        for template in (expanded, own):
            function = template["Resources"]["Function"]
            function.pop("Metadata", None)
            for name in ("Code", "Tags"):
                function["Properties"].pop(name, None)
            template["Parameters"].pop("Architecture")
        self.assertEqual(own["Resources"], expanded["Resources"])
        self.assertEqual(own["Outputs"], expanded["Outputs"])
        self.assertEqual(own["Rules"], expanded["Rules"])
        added = {"Name", "CodeBucket"}
        self.assertEqual({name: it for name, it in own["Parameters"].items() if name not in added}, expanded["Parameters"])

    def test_nothing_in_it_hangs_on_the_name_of_the_stack(self):
        self.assertNotIn("AWS::StackName", self.text)

    def test_every_name_made_of_the_longest_one_fits_in_the_longest_region(self):
        limits = {
            "RoleName": 64, "FunctionName": 64, "QueueName": 80, "TopicName": 256, "AlarmName": 255, "DashboardName": 255,
            "LogGroupName": 512,
        }  # fmt: skip
        named = {"AWS::Scheduler::Schedule": 64, "AWS::Events::Rule": 64, "AWS::Events::EventBus": 256}
        name = "x" * 40
        self.assertRegex(name, self.template["Parameters"]["Name"]["AllowedPattern"])
        self.assertNotRegex(name + "x", self.template["Parameters"]["Name"]["AllowedPattern"])
        names = {"${Name}": name, "${AWS::Region}": "ap-southeast-1", "${Mode}": "enforce"}
        seen = set()
        for kind, properties in ((it["Type"], it["Properties"]) for it in self.template["Resources"].values()):
            for property, limit in ({"Name": named[kind]} if kind in named else limits).items():
                if text := properties.get(property, {}).get("Fn::Sub") if isinstance(properties.get(property), dict) else None:
                    for variable, value in names.items():
                        text = text.replace(variable, value)
                    self.assertNotIn("${", text)
                    self.assertLessEqual(len(text), limit, property)
                    seen.add(property)
        self.assertEqual(seen, {"Name", "RoleName", "QueueName", "TopicName", "AlarmName", "DashboardName", "LogGroupName"})


class AMember(unittest.TestCase):
    def test_everything_has_the_same_name_in_every_account(self):
        self.assertEqual(stack["FunctionName"], "trailseal")
        self.assertEqual(stack["LogGroupName"], "/aws/lambda/trailseal")
        self.assertEqual(stack["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/trailseal-{HOME}")
        self.assertEqual(stack["SweepScheduleName"], "trailseal-sweep-dry-run")

    def test_it_begins_in_dry_run(self):
        self.assertEqual(stack["Mode"], "dry-run")

    def test_alerts_and_alarms_go_to_the_topic_of_the_organization_and_it_has_none_itself(self):
        function = member.client("lambda").get_function_configuration(FunctionName="trailseal")
        self.assertEqual(function["Environment"]["Variables"]["TRAILSEAL_ALERT_TOPIC_ARN"], hub["AlertTopicArn"])
        self.assertEqual(stack["AlertTopicArn"], hub["AlertTopicArn"])
        alarms = member.alarms("trailseal")
        self.assertEqual(len(alarms), 8)
        for alarm in alarms.values():
            self.assertEqual(alarm["AlarmActions"], [hub["AlertTopicArn"]], alarm["AlarmName"])
        self.assertIn(hub["AlertTopicArn"], alarms["alerts-lost"]["AlarmDescription"])
        self.assertEqual(member.client("sns").list_topics()["Topics"], [])

    def test_its_role_may_publish_there_and_outcomes_are_sent_to_the_bus(self):
        report = member.role(f"trailseal-{HOME}")["Report"]["Statement"]
        granted = {it["Sid"]: (it["Effect"], it["Action"], it["Resource"]) for it in report}
        self.assertEqual(granted["Alert"], ("Allow", "sns:Publish", hub["AlertTopicArn"]))
        asked = {"Rule": "trailseal-outcomes", "EventBusName": "trailseal-outcomes"}
        [target] = member.client("events").list_targets_by_rule(**asked)["Targets"]
        self.assertEqual(target["Arn"], hub["OutcomeBusArn"])
        # The bus lets in a role of that name.
        self.assertEqual(target["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/trailseal-outcomes-{HOME}")

    def test_there_is_a_dashboard_for_who_wants_one_and_no_other(self):
        self.assertNotIn("DashboardName", stack)
        self.assertEqual(member.client("cloudwatch").list_dashboards()["DashboardEntries"], [])

    def test_what_a_sweep_finds_is_told_to_the_organization_with_the_account(self):
        member.make_bucket("logs", HOME)
        trail = member.make_trail("audit", "logs")
        answer = member.invoke("trailseal", {"sweep": {}})
        self.assertEqual([(it["trail_arn"], it["outcome"]) for it in answer["trails"]], [(trail, "planned")], answer)
        self.assertEqual(answer["alerts"], {"sent": 1, "failed": 0})
        [alert] = security.alerts(mailbox)
        self.assertEqual(alert["Subject"], f"trailseal: {ACCOUNT}: 1 planned of 1 trails")
        self.assertEqual(alert["MessageAttributes"]["account"]["Value"], ACCOUNT)

    def test_a_forwarder_of_another_stackset_sends_to_trailseals_region(self):
        deploy(member, FORWARDER_STACK, "forwarder.yaml", ELSEWHERE, MainRegion=HOME)
        events = member.client("events", ELSEWHERE)
        found = [it["Name"] for it in events.list_rules()["Rules"]]
        self.assertEqual(len(found), 2)
        for rule in found:
            [target] = events.list_targets_by_rule(Rule=rule)["Targets"]
            self.assertEqual(target["Arn"], f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default")
            # SQS takes names of 80 characters.
            self.assertLessEqual(len(target["DeadLetterConfig"]["Arn"].rpartition(":")[2]), 80)


class Refused(unittest.TestCase):
    GOOD = {
        "hub.yaml": {"OrganizationId": ORGANIZATION},
        "stackset.json": {"CodeBucket": "code"},
        "forwarder.yaml": {"MainRegion": ELSEWHERE},
    }
    BAD = {
        "hub.yaml": {
            "OrganizationId": ["", "o-short", "r-a1b2", "ou-a1b2-c3d4e5f6", "o-ABCDEFGHIJ"],
            "Name": ["", "1st", "a_b", "trail seal", "x" * 41],
            "AlertEmail": ["ops", "a@b@c"],
            "LogRetentionDays": ["0", "2", ""],
        },
        "stackset.json": {
            "Name": ["", "1st", "a_b", "trail seal", "x" * 41],
            "CodeBucket": ["", "s3://code", "Code", "code/"],
            "AlertTopicArn": ["alerts"],
            "Architecture": ["amd64"],
        },
    }

    def refusal(self, template: str, **parameters: str) -> str | None:
        cloudformation = member.client("cloudformation")
        given = self.GOOD[template] | parameters
        try:
            cloudformation.create_change_set(
                StackName="tried",
                ChangeSetName="tried",
                ChangeSetType="CREATE",
                TemplateBody=(folder / template).read_text(),
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
        except ClientError as error:
            return error.response["Error"]["Message"]
        cloudformation.delete_stack(StackName="tried")
        return None

    def test_good_values_are_taken(self):
        for template in self.GOOD:
            self.assertIsNone(self.refusal(template), template)

    def test_bad_values_are_refused_with_the_parameters_name(self):
        for template, parameters in self.BAD.items():
            for name, values in parameters.items():
                for value in values:
                    with self.subTest(f"{template}: {name}={value}"):
                        self.assertIn(f"'{name}'", self.refusal(template, **{name: value}) or "taken")

    def test_mail_for_an_account_beside_the_topic_of_all_is_refused_with_what_to_do(self):
        said = self.refusal("stackset.json", AlertTopicArn=hub["AlertTopicArn"], AlertEmail="ops@example.com")
        self.assertIn("leave AlertEmail empty", said or "taken")


class TheHub(unittest.TestCase):
    def statements(self, policy: str | dict) -> dict[str, dict]:
        document = json.loads(policy) if isinstance(policy, str) else policy
        return {it["Sid"]: it for it in document["Statement"]}

    def test_every_account_of_the_organization_may_read_the_code_and_nobody_else(self):
        policy = security.client("s3").get_bucket_policy(Bucket=hub["CodeBucket"])["Policy"]
        statements = self.statements(policy)
        self.assertEqual(sorted(statements), ["AccountsDeployFromHere", "NobodyWithoutTls"])
        reads = statements["AccountsDeployFromHere"]
        self.assertEqual((reads["Action"], reads["Resource"]), ("s3:GetObject", f"arn:aws:s3:::{hub['CodeBucket']}/*"))
        self.assertEqual(reads["Condition"], {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}})
        self.assertEqual(statements["NobodyWithoutTls"]["Effect"], "Deny")

    def test_only_functions_and_alarms_of_trailseal_in_the_organization_may_alert(self):
        attributes = security.client("sns").get_topic_attributes(TopicArn=hub["AlertTopicArn"])["Attributes"]
        statements = self.statements(attributes["Policy"])
        self.assertEqual(
            statements["FunctionsAlert"]["Condition"],
            {
                "StringEquals": {"aws:PrincipalOrgID": ORGANIZATION},
                "ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::*:role/trailseal-{HOME}"},
            },
        )
        alarms = statements["AlarmsAlert"]
        self.assertEqual(alarms["Principal"], {"Service": "cloudwatch.amazonaws.com"})
        self.assertEqual(
            alarms["Condition"],
            {
                "StringEqualsIfExists": {"aws:SourceOrgID": ORGANIZATION},
                "ArnLike": {
                    "aws:SourceArn": [
                        f"arn:aws:cloudwatch:{HOME}:*:alarm:trailseal-*",
                        f"arn:aws:cloudwatch:{HOME}:{SECURITY}:alarm:trailseal-hub-*",
                    ]
                },
            },
        )
        self.assertEqual({it["Action"] for it in statements.values()}, {"sns:Publish"})

    def test_only_roles_for_outcomes_in_the_organization_may_put_events_on_the_bus(self):
        # The emulator's CloudFormation drops the bus's policy (`_eb_event_bus_create` in provisioners.py).
        template = yaml.load((folder / "hub.yaml").read_text(), Template)
        [statement] = template["Resources"]["OutcomeBus"]["Properties"]["Policy"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Action"]), ("Allow", "events:PutEvents"))
        self.assertEqual(
            statement["Condition"],
            {
                "StringEquals": {"aws:PrincipalOrgID": "OrganizationId"},
                "ArnLike": {"aws:PrincipalArn": "arn:${AWS::Partition}:iam::*:role/${Name}-outcomes-${AWS::Region}"},
            },
        )

    def test_answers_on_the_bus_are_logged_and_nothing_else(self):
        # The emulator delivers no events to logs.
        events = security.client("events")
        bus = hub["OutcomeBusArn"].rpartition("/")[2]
        [rule] = events.list_rules(EventBusName=bus)["Rules"]
        [target] = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
        log = f"arn:aws:logs:{HOME}:{SECURITY}:log-group:{hub['OutcomeLogName']}"
        self.assertEqual(target["Arn"], log)
        [alarm] = security.client("cloudwatch").describe_alarms()["MetricAlarms"]
        self.assertEqual((alarm["Namespace"], alarm["MetricName"]), ("AWS/Events", "FailedInvocations"))
        self.assertEqual(
            {it["Name"]: it["Value"] for it in alarm["Dimensions"]}, {"EventBusName": bus, "RuleName": rule["Name"]}
        )
        self.assertEqual(alarm["AlarmActions"], [hub["AlertTopicArn"]])
        [policy] = security.client("logs").describe_resource_policies()["resourcePolicies"]
        makes, logs = json.loads(policy["policyDocument"])["Statement"]
        self.assertEqual((makes["Action"], logs["Action"]), ("logs:CreateLogStream", "logs:PutLogEvents"))
        # On CreateLogStream, AWS tells no rule.
        self.assertNotIn("Condition", makes)
        self.assertEqual(logs["Condition"], {"ArnEquals": {"aws:SourceArn": rule["Arn"]}})
        for statement in (makes, logs):
            self.assertEqual(statement["Resource"].removesuffix(":*"), log)
            self.assertEqual(statement["Principal"]["Service"], ["events.amazonaws.com", "delivery.logs.amazonaws.com"])
        answer = {
            **{"version": "0", "id": "1", "time": "2026-11-20T10:00:00Z", "region": HOME, "resources": []},
            **{"source": "lambda", "account": ACCOUNT, "detail-type": "Lambda Function Invocation Result - Success"},
            "detail": {"responsePayload": {"schema": 1}},
        }
        for event, matches in (
            (answer, True),
            (answer | {"source": "aws.lambda"}, True),
            (answer | {"detail-type": "Lambda Function Invocation Result - Failure"}, False),
            (answer | {"detail": {"responsePayload": {"other": 1}}}, False),
        ):
            asked = events.test_event_pattern(EventPattern=rule["EventPattern"], Event=json.dumps(event))
            self.assertEqual(asked["Result"], matches, event)

    def test_alerts_are_mailed(self):
        found = security.client("sns").list_subscriptions_by_topic(TopicArn=hub["AlertTopicArn"])["Subscriptions"]
        self.assertIn(("email", "ops@example.com"), [(it["Protocol"], it["Endpoint"]) for it in found])

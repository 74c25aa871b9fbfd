"""An organization: the shared resources in one account, and the StackSet's stack in another."""

import json
import shutil
import unittest
from pathlib import Path

import yaml
from botocore.exceptions import ClientError

from account import HOME, Account
from emulated_account import invocation_result, start_emulator
from local import ACCOUNT, PROJECT, architecture
from package import PACKAGES, build_package, checksums

# The account of the hub. ACCOUNT is a member account.
SECURITY = "999999999999"
ORGANIZATION = "o-abcdefghij"
# StackSets name the stacks like this.
STACK = "StackSet-trailseal-0f4f6a3a-2f1b-4b7e-9c3d-6f8f0a1b2c3d"
FORWARDER_STACK = STACK.replace("trailseal", "trailseal-forwarder")
OTHER_REGION = "us-east-1"


class TemplateLoader(yaml.SafeLoader):
    """Loads a template. `!Ref x` and `!Sub x` become `x`."""


TemplateLoader.add_multi_constructor("!", lambda loader, _, node: getattr(node, "value", node))


def setUpModule() -> None:
    global member, security, hub, stack, folder, mailbox
    member = start_emulator("organization")
    security = Account(member.env | {"AWS_ACCESS_KEY_ID": SECURITY})
    folder = Path(shutil.copytree(build_package(PACKAGES / "organization"), PACKAGES / "organization-copy"))
    hub = deploy(security, "trailseal-hub", "hub.yaml", OrganizationId=ORGANIZATION, AlertEmail="ops@example.com")
    mailbox = security.subscribe_queue(hub["AlertTopicArn"])
    shared = {name: hub[name] for name in ("AlertTopicArn", "OutcomeBusArn")}
    # The emulator's Lambda reads code only from the function's own account.
    member.client("s3").create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": HOME})
    member.client("s3").put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
    publish(security, hub["CodeBucket"])
    code = {"CodeBucket": "code", "CodeVersion": publish(member, "code")}
    stack = deploy(member, STACK, "stackset.json", **code, **shared, CreateDashboard="false")


def deploy(account: Account, stack: str, template: str, region: str = HOME, **parameters: str) -> dict[str, str]:
    """Deploys as a StackSet does: without a transform or an upload."""
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


def publish(account: Account, bucket: str) -> str:
    """Copies the code to a bucket as docs/organization.md describes, and returns the version."""
    s3, key = account.client("s3"), f"{checksums(folder)['trailseal.zip']}.zip"
    put = s3.put_object(Bucket=bucket, Key=key, Body=(folder / "trailseal.zip").read_bytes(), IfNoneMatch="*")
    return put["VersionId"]


class StackSetTemplate(unittest.TestCase):
    def setUp(self):
        self.text = (folder / "stackset.json").read_text()
        self.template = json.loads(self.text)

    def test_the_template_has_no_transform(self):
        self.assertNotIn("Transform", self.template)
        kinds = {it["Type"] for it in self.template["Resources"].values()}
        self.assertFalse([kind for kind in kinds if kind.startswith("AWS::Serverless")], kinds)

    def test_every_template_fits_the_inline_limit(self):
        for name in ("stackset.json", "template.yaml", "hub.yaml", "forwarder.yaml", "security-hub.yaml"):
            self.assertLessEqual((folder / name).stat().st_size, 51_200, name)

    def test_the_template_allows_only_the_codes_architecture(self):
        parameter = self.template["Parameters"]["Architecture"]
        self.assertEqual((parameter["AllowedValues"], parameter["Default"]), ([architecture()], architecture()))

    def test_the_code_is_one_version_of_the_checksums_object(self):
        code = self.template["Resources"]["Function"]["Properties"]["Code"]
        version = {"Fn::If": ["PinsCode", {"Ref": "CodeVersion"}, {"Ref": "AWS::NoValue"}]}
        key = f"{checksums(folder)['trailseal.zip']}.zip"
        self.assertEqual(code, {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": key, "S3ObjectVersion": version})
        is_set = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeVersion"}, ""]}]}
        self.assertEqual(self.template["Conditions"]["PinsCode"], is_set)

    def test_everything_else_equals_the_single_account_template(self):
        expanded = json.loads((PROJECT / "tests" / "template" / "expanded.json").read_text())
        renamed = self.text.replace("${Name}", "${AWS::StackName}").replace('"Ref": "Name"', '"Ref": "AWS::StackName"')
        stackset = json.loads(renamed)
        for template in (expanded, stackset):
            function = template["Resources"]["Function"]
            function.pop("Metadata", None)
            for name in ("Code", "Tags"):
                function["Properties"].pop(name, None)
            template["Parameters"].pop("Architecture")
        for name in ("Name", "CodeBucket", "CodeVersion"):
            stackset["Parameters"].pop(name)
        for section in ("Resources", "Outputs", "Rules", "Parameters"):
            self.assertEqual(stackset[section], expanded[section])

    def test_nothing_depends_on_the_stacks_name(self):
        self.assertNotIn("AWS::StackName", self.text)

    def test_the_longest_names_are_within_the_limits(self):
        limits = {
            "RoleName": 64, "FunctionName": 64, "QueueName": 80, "TopicName": 256, "AlarmName": 255, "DashboardName": 255,
            "LogGroupName": 512,
        }  # fmt: skip
        named = {"AWS::Scheduler::Schedule": 64, "AWS::Events::Rule": 64, "AWS::Events::EventBus": 256}
        name = "x" * 40
        self.assertRegex(name, self.template["Parameters"]["Name"]["AllowedPattern"])
        self.assertNotRegex(name + "x", self.template["Parameters"]["Name"]["AllowedPattern"])
        names = {"${Name}": name, "${AWS::Region}": "ap-southeast-1", "${Mode}": "enforce"}
        checked = set()
        for kind, properties in ((it["Type"], it["Properties"]) for it in self.template["Resources"].values()):
            for property, limit in ({"Name": named[kind]} if kind in named else limits).items():
                value = properties.get(property)
                if isinstance(value, dict) and (text := value.get("Fn::Sub")):
                    for variable, value in names.items():
                        text = text.replace(variable, value)
                    self.assertNotIn("${", text)
                    self.assertLessEqual(len(text), limit, property)
                    checked.add(property)
        expected = {"Name", "RoleName", "QueueName", "TopicName", "AlarmName", "DashboardName", "LogGroupName"}
        self.assertEqual(checked, expected)


class ControlTower(unittest.TestCase):
    """What the proactive controls of AWS Control Tower require, which are CloudFormation hooks. The emulator has none."""

    def resources(self, name: str) -> dict[str, dict]:
        return yaml.load((folder / name).read_text(), TemplateLoader)["Resources"]

    def test_every_queue_is_marked_as_a_dead_letter_queue(self):
        # CT.SQS.PR.1.
        for name, count in (("stackset.json", 2), ("forwarder.yaml", 1), ("security-hub.yaml", 1)):
            queues = [it["Properties"] for it in self.resources(name).values() if it["Type"] == "AWS::SQS::Queue"]
            self.assertEqual([it.get("RedriveAllowPolicy") for it in queues], [{"redrivePermission": "allowAll"}] * count)

    def test_the_code_bucket_passes_the_controls_without_cost(self):
        bucket = self.resources("hub.yaml")["CodeBucket"]["Properties"]
        # CT.S3.PR.3, 4, 6, 9, and 11.
        self.assertEqual(bucket["VersioningConfiguration"]["Status"], "Enabled")
        self.assertEqual([it["Status"] for it in bucket["LifecycleConfiguration"]["Rules"]], ["Enabled"])
        self.assertIs(bucket["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"], True)
        self.assertIs(bucket["ObjectLockEnabled"], True)

    def test_the_hubs_optional_settings_use_their_parameters(self):
        template = yaml.load((folder / "hub.yaml").read_text(), TemplateLoader)
        for resource, property, condition, parameter in (
            ("CodeBucket", "LoggingConfiguration", "LogsAccess", "AccessLogBucket"),
            ("AlertTopic", "KmsMasterKeyId", "EncryptsTopic", "TopicKeyArn"),
            ("OutcomeLog", "KmsKeyId", "EncryptsLog", "LogGroupKeyArn"),
        ):
            # The arguments of `!If`.
            used, given, otherwise = (it.value for it in template["Resources"][resource]["Properties"][property])
            given = given[0][1].value if isinstance(given, list) else given
            self.assertEqual((used, given, otherwise), (condition, parameter, "AWS::NoValue"))
            self.assertEqual(template["Parameters"][parameter]["Default"], "")


class MemberAccount(unittest.TestCase):
    def test_names_are_the_same_in_every_account(self):
        self.assertEqual(stack["FunctionName"], "trailseal")
        self.assertEqual(stack["LogGroupName"], "/aws/lambda/trailseal")
        self.assertEqual(stack["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/trailseal-{HOME}")
        self.assertEqual(stack["SweepScheduleName"], "trailseal-sweep-dry-run")

    def test_the_default_mode_is_dry_run(self):
        self.assertEqual(stack["Mode"], "dry-run")

    def test_alerts_and_alarms_use_only_the_shared_topic(self):
        function = member.client("lambda").get_function_configuration(FunctionName="trailseal")
        self.assertEqual(function["Environment"]["Variables"]["TRAILSEAL_ALERT_TOPIC_ARN"], hub["AlertTopicArn"])
        self.assertEqual(stack["AlertTopicArn"], hub["AlertTopicArn"])
        alarms = member.alarms("trailseal")
        self.assertEqual(len(alarms), 8)
        for alarm in alarms.values():
            self.assertEqual(alarm["AlarmActions"], [hub["AlertTopicArn"]], alarm["AlarmName"])
        self.assertIn(hub["AlertTopicArn"], alarms["alerts-lost"]["AlarmDescription"])
        self.assertEqual(member.client("sns").list_topics()["Topics"], [])

    def test_the_roles_can_reach_the_shared_topic_and_bus(self):
        [alert] = [it for it in member.role_statements(f"trailseal-{HOME}") if it["Sid"] == "Alert"]
        self.assertEqual((alert["Effect"], alert["Action"]), ("Allow", "sns:Publish"))
        self.assertEqual(alert["Resource"], hub["AlertTopicArn"])
        rule = {"Rule": "trailseal-outcomes", "EventBusName": "trailseal-outcomes"}
        [target] = member.client("events").list_targets_by_rule(**rule)["Targets"]
        self.assertEqual(target["Arn"], hub["OutcomeBusArn"])
        # The bus allows a role of this name.
        self.assertEqual(target["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/trailseal-outcomes-{HOME}")

    def test_without_create_dashboard_there_is_no_dashboard(self):
        self.assertNotIn("DashboardName", stack)
        self.assertEqual(member.client("cloudwatch").list_dashboards()["DashboardEntries"], [])

    def test_the_shared_topic_receives_alerts_with_the_account(self):
        member.make_bucket("logs", HOME)
        trail = member.make_trail("audit", "logs")
        answer = member.invoke("trailseal", {"sweep": {}})
        self.assertEqual([(it["trail_arn"], it["outcome"]) for it in answer["trails"]], [(trail, "planned")], answer)
        self.assertEqual(answer["alerts"], {"sent": 1, "failed": 0})
        [alert] = security.alerts(mailbox)
        self.assertEqual(alert["Subject"], f"trailseal: {ACCOUNT}: 1 planned of 1 trail")
        self.assertEqual(alert["MessageAttributes"]["account"]["Value"], ACCOUNT)

    def test_a_stackset_can_deploy_the_forwarder(self):
        deploy(member, FORWARDER_STACK, "forwarder.yaml", OTHER_REGION, MainRegion=HOME)
        events = member.client("events", OTHER_REGION)
        rules = [it["Name"] for it in events.list_rules()["Rules"]]
        self.assertEqual(len(rules), 2)
        for rule in rules:
            [target] = events.list_targets_by_rule(Rule=rule)["Targets"]
            self.assertEqual(target["Arn"], f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default")
            # SQS allows 80 characters.
            self.assertLessEqual(len(target["DeadLetterConfig"]["Arn"].rpartition(":")[2]), 80)


class ParameterValues(unittest.TestCase):
    VALID = {
        "hub.yaml": {"OrganizationId": ORGANIZATION},
        "stackset.json": {"CodeBucket": "code"},
        "forwarder.yaml": {"MainRegion": OTHER_REGION},
    }
    INVALID = {
        "hub.yaml": {
            "OrganizationId": ["", "o-short", "r-a1b2", "ou-a1b2-c3d4e5f6", "o-ABCDEFGHIJ"],
            "Name": ["", "1st", "a_b", "trail seal", "x" * 41],
            "AlertEmail": ["ops", "a@b@c"],
            "AccessLogBucket": ["Logs", "s3://logs"],
            "TopicKeyArn": ["alias/aws/sns"],
            "LogGroupKeyArn": ["alias/logs"],
            "AlarmAccounts": ["12345", ORGANIZATION, f"{ACCOUNT},", f"{ACCOUNT} {ACCOUNT}"],
            "LogRetentionDays": ["0", "2", ""],
        },
        "stackset.json": {
            "Name": ["", "1st", "a_b", "trail seal", "x" * 41],
            "CodeBucket": ["", "s3://code", "Code", "code/"],
            "CodeVersion": ["a b", "x" * 1025],
            "AlertTopicArn": ["alerts"],
            "Architecture": ["amd64"],
        },
    }

    def rejection(self, template: str, **parameters: str) -> str | None:
        return member.rejection((folder / template).read_text(), self.VALID[template] | parameters)

    def test_cloudformation_accepts_valid_values(self):
        for template in self.VALID:
            self.assertIsNone(self.rejection(template), template)

    def test_cloudformation_rejects_invalid_values_by_name(self):
        for template, parameters in self.INVALID.items():
            for name, values in parameters.items():
                for value in values:
                    with self.subTest(f"{template}: {name}={value}"):
                        self.assertIn(f"'{name}'", self.rejection(template, **{name: value}) or "accepted")

    def test_an_email_address_for_the_shared_topic_is_rejected(self):
        message = self.rejection("stackset.json", AlertTopicArn=hub["AlertTopicArn"], AlertEmail="ops@example.com")
        self.assertIn("leave AlertEmail empty", message or "accepted")


class Hub(unittest.TestCase):
    def statements(self, policy: str | dict) -> dict[str, dict]:
        document = json.loads(policy) if isinstance(policy, str) else policy
        return {it["Sid"]: it for it in document["Statement"]}

    def test_only_the_organizations_accounts_can_read_the_code(self):
        policy = security.client("s3").get_bucket_policy(Bucket=hub["CodeBucket"])["Policy"]
        statements = self.statements(policy)
        self.assertEqual(sorted(statements), ["AccountsDeployFromHere", "CodeIsNeverReplaced", "DenyInsecureTransport"])
        read = statements["AccountsDeployFromHere"]
        objects = f"arn:aws:s3:::{hub['CodeBucket']}/*"
        # Lambda reads a version of the code with the second action.
        self.assertEqual((read["Action"], read["Resource"]), (["s3:GetObject", "s3:GetObjectVersion"], objects))
        self.assertEqual(read["Condition"], {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}})
        self.assertEqual(statements["DenyInsecureTransport"]["Effect"], "Deny")
        replace = statements["CodeIsNeverReplaced"]
        self.assertEqual((replace["Effect"], replace["Principal"]), ("Deny", "*"))
        self.assertEqual((replace["Action"], replace["Resource"]), ("s3:PutObject", objects))
        # The emulator ignores bucket policies. S3 refuses If-None-Match if the object exists.
        self.assertEqual(replace["Condition"], {"Null": {"s3:if-none-match": "true"}})

    def test_published_code_cannot_be_published_again(self):
        with self.assertRaises(ClientError) as caught:
            publish(security, hub["CodeBucket"])
        self.assertEqual(caught.exception.response["Error"]["Code"], "PreconditionFailed")

    def test_only_the_organizations_trailseals_can_publish_alerts(self):
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
                "StringEquals": {"aws:SourceOrgID": ORGANIZATION},
                "ArnLike": {
                    "aws:SourceArn": [
                        f"arn:aws:cloudwatch:{HOME}:*:alarm:trailseal-*",
                        f"arn:aws:cloudwatch:{HOME}:{SECURITY}:alarm:trailseal-hub-*",
                    ]
                },
            },
        )
        self.assertEqual({it["Action"] for it in statements.values()}, {"sns:Publish"})

    def test_listed_accounts_replace_the_organization_for_alarms(self):
        other = deploy(
            security, "trailseal-listed", "hub.yaml", OrganizationId=ORGANIZATION, AlarmAccounts=f"{ACCOUNT},210987654321"
        )
        attributes = security.client("sns").get_topic_attributes(TopicArn=other["AlertTopicArn"])["Attributes"]
        condition = self.statements(attributes["Policy"])["AlarmsAlert"]["Condition"]
        # The hub's own alarm, too.
        self.assertEqual(condition["StringEquals"], {"aws:SourceAccount": [SECURITY, ACCOUNT, "210987654321"]})

    def test_only_the_organizations_outcome_roles_can_put_events(self):
        # The emulator's CloudFormation drops the bus's policy (`_eb_event_bus_create` in provisioners.py).
        template = yaml.load((folder / "hub.yaml").read_text(), TemplateLoader)
        [statement] = template["Resources"]["OutcomeBus"]["Properties"]["Policy"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Action"]), ("Allow", "events:PutEvents"))
        self.assertEqual(
            statement["Condition"],
            {
                "StringEquals": {"aws:PrincipalOrgID": "OrganizationId"},
                "ArnLike": {"aws:PrincipalArn": "arn:${AWS::Partition}:iam::*:role/${Name}-outcomes-${AWS::Region}"},
            },
        )

    def test_answers_on_the_bus_are_logged(self):
        # The emulator delivers no events to log groups.
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
        self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), ([hub["AlertTopicArn"]], [hub["AlertTopicArn"]]))
        [policy] = security.client("logs").describe_resource_policies()["resourcePolicies"]
        create, put = json.loads(policy["policyDocument"])["Statement"]
        self.assertEqual((create["Action"], put["Action"]), ("logs:CreateLogStream", "logs:PutLogEvents"))
        # CreateLogStream requests have no aws:SourceArn.
        self.assertNotIn("Condition", create)
        self.assertEqual(put["Condition"], {"ArnEquals": {"aws:SourceArn": rule["Arn"]}})
        for statement in (create, put):
            self.assertEqual(statement["Resource"].removesuffix(":*"), log)
            self.assertEqual(statement["Principal"]["Service"], ["events.amazonaws.com", "delivery.logs.amazonaws.com"])
        for event, matches in (
            (invocation_result(), True),
            (invocation_result(source="aws.lambda"), True),
            (invocation_result(**{"detail-type": "Lambda Function Invocation Result - Failure"}), False),
            (invocation_result(detail={"responsePayload": {"other": 1}}), False),
        ):
            response = events.test_event_pattern(EventPattern=rule["EventPattern"], Event=json.dumps(event))
            self.assertEqual(response["Result"], matches, event)

    def test_the_email_address_is_subscribed(self):
        found = security.client("sns").list_subscriptions_by_topic(TopicArn=hub["AlertTopicArn"])["Subscriptions"]
        self.assertIn(("email", "ops@example.com"), [(it["Protocol"], it["Endpoint"]) for it in found])

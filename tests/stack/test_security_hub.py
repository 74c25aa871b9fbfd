"""security-hub.yaml: failed findings of CloudTrail.2 start trailseal, and outcomes become findings.

The emulator has no Security Hub. The translator runs in the emulator, but calls a server of this module.
"""

import json
import re
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.session
import jmespath
from botocore.model import Shape
from botocore.validate import ParamValidator

from account import HOME
from answer_schema import OUTCOMES
from emulated_account import STACK, invocation_result, start_emulator, wait_for
from local import ACCOUNT, PROJECT

HUB_STACK = f"{STACK}-security-hub"
BUS = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/default"
PRODUCT = f"arn:aws:securityhub:{HOME}:{ACCOUNT}:product/{ACCOUNT}/default"
IMPORT = botocore.session.get_session().get_service_model("securityhub").operation_model("BatchImportFindings")
# From AWS's samples of control findings. The last is that of consolidated control findings.
GENERATORS = [
    "aws-foundational-security-best-practices/v/1.0.0/CloudTrail.2",
    "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/2.7",
    "service-managed-aws-control-tower/v/1.0.0/CloudTrail.2",
    "security-control/CloudTrail.2",
]
ACTIVE, ARCHIVED = "ACTIVE", "ARCHIVED"
EXPECTED = {
    "compliant": ("PASSED", ARCHIVED, "INFORMATIONAL"),
    "gone": ("NOT_AVAILABLE", ARCHIVED, "INFORMATIONAL"),
    "exempt": ("NOT_AVAILABLE", ARCHIVED, "INFORMATIONAL"),
    "out-of-scope": ("NOT_AVAILABLE", ARCHIVED, "INFORMATIONAL"),
    "noted": ("WARNING", ACTIVE, "LOW"),
    "remediated": ("PASSED", ARCHIVED, "INFORMATIONAL"),
    "planned": ("FAILED", ACTIVE, "MEDIUM"),
    "failed": ("FAILED", ACTIVE, "HIGH"),
}


class SecurityHub(ThreadingHTTPServer):
    """Records the findings of each BatchImportFindings call, and refuses those in `refused`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Import)
        self.calls: list[list[dict]] = []
        self.refused: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def imported(self) -> list[dict]:
        """The findings since the last call of this method."""
        calls, self.calls = self.calls, []
        return [finding for call in calls for finding in call]


class Import(BaseHTTPRequestHandler):
    server: SecurityHub

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/findings/import", self.path
        self.server.calls.append(body["Findings"])
        refused = [it for it in body["Findings"] if it["Id"] in self.server.refused]
        failed = [{"Id": it["Id"], "ErrorCode": "InvalidAccess", "ErrorMessage": "no access"} for it in refused]
        count = {"FailedCount": len(failed), "SuccessCount": len(body["Findings"]) - len(failed)}
        response = json.dumps(count | {"FailedFindings": failed}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_):
        pass


def setUpModule() -> None:
    global aws, stack, hub
    aws = start_emulator("security-hub")
    aws.deploy_first(f"OutcomeBusArn={BUS}")
    cloudformation = aws.client("cloudformation")
    body = (PROJECT / "security-hub.yaml").read_text()
    parameters = [{"ParameterKey": "AlertTopicArn", "ParameterValue": aws.outputs(STACK)["AlertTopicArn"]}]
    cloudformation.create_stack(
        StackName=HUB_STACK, TemplateBody=body, Parameters=parameters, Capabilities=["CAPABILITY_IAM"]
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=HUB_STACK, WaiterConfig={"Delay": 1})
    stack = aws.outputs(HUB_STACK)
    hub = SecurityHub()
    unittest.addModuleCleanup(hub.server_close)
    unittest.addModuleCleanup(hub.shutdown)
    configure(stack["TranslatorName"], AWS_ENDPOINT_URL_SECURITYHUB=f"http://127.0.0.1:{hub.server_port}")
    aws.make_bucket("logs", HOME)


def configure(function: str, **variables: str) -> None:
    client = aws.client("lambda")
    found = client.get_function_configuration(FunctionName=function).get("Environment", {}).get("Variables", {})
    client.update_function_configuration(FunctionName=function, Environment={"Variables": found | variables})


def rule(name: str, bus: str = "default") -> tuple[dict, dict]:
    """The stack's rule and its target."""
    events = aws.client("events")
    resource = aws.client("cloudformation").describe_stack_resource(StackName=HUB_STACK, LogicalResourceId=name)
    physical = resource["StackResourceDetail"]["PhysicalResourceId"].rpartition("|")[2].rpartition("/")[2]
    [target] = events.list_targets_by_rule(Rule=physical, EventBusName=bus)["Targets"]
    return events.describe_rule(Name=physical, EventBusName=bus), target


def matches(pattern: str, event: dict) -> bool:
    return aws.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]


def imported(finding: dict, **envelope) -> dict:
    """The event that Security Hub sends when a finding is imported."""
    return {
        "version": "0",
        "id": "1",
        "detail-type": "Security Hub Findings - Imported",
        "source": "aws.securityhub",
        "account": ACCOUNT,
        "time": "2026-11-20T10:00:00Z",
        "region": HOME,
        "resources": [finding["Id"]],
        "detail": {"findings": [finding]},
    } | envelope


def control_finding(trail: str = "audit", generator: str = GENERATORS[-1], **differences) -> dict:
    """The part of a control's finding that the rule can see, as in AWS's samples."""
    return {
        "SchemaVersion": "2018-10-08",
        "Id": f"arn:aws:securityhub:{HOME}:{ACCOUNT}:security-control/CloudTrail.2/finding/a1b2c3d4",
        "ProductArn": f"arn:aws:securityhub:{HOME}::product/aws/securityhub",
        "GeneratorId": generator,
        "AwsAccountId": ACCOUNT,
        "Title": "CloudTrail should have encryption at-rest enabled",
        "Resources": [{"Type": "AwsCloudTrailTrail", "Id": trail_arn(trail), "Partition": "aws", "Region": HOME}],
        "Compliance": {"Status": "FAILED", "SecurityControlId": "CloudTrail.2"},
        "Workflow": {"Status": "NEW"},
        "RecordState": "ACTIVE",
    } | differences


def trail_arn(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:cloudtrail:{HOME}:{account}:trail/{name}"


def answer_event(answer: dict, timestamp: str = "2026-11-20T10:00:00.123Z") -> dict:
    event = invocation_result()
    return event | {"detail": event["detail"] | {"timestamp": timestamp, "responsePayload": answer}}


def errors(shape: Shape, value) -> list[str]:
    """The values that are not in their enumeration, which botocore does not check."""
    if shape.type_name == "structure":
        return [it for name, inner in value.items() for it in errors(shape.members[name], inner)]
    if shape.type_name == "list":
        return [it for inner in value for it in errors(shape.member, inner)]
    allowed = getattr(shape, "enum", None)
    return [f"{shape.name}: {value}"] if allowed and value not in allowed else []


class FindingsIn(unittest.TestCase):
    def assert_no_match(self, event: dict) -> None:
        self.assertFalse(matches(rule("FindingRule")[0]["EventPattern"], event), event)

    def test_the_rule_matches_the_finding_of_every_standard(self):
        pattern = rule("FindingRule")[0]["EventPattern"]
        for generator in GENERATORS:
            self.assertTrue(matches(pattern, imported(control_finding(generator=generator))), generator)

    def test_the_rule_matches_findings_of_linked_regions(self):
        trail = [{"Type": "AwsCloudTrailTrail", "Id": trail_arn("audit").replace(HOME, "us-east-1")}]
        linked = imported(control_finding(Resources=trail, Region="us-east-1"))
        self.assertTrue(matches(rule("FindingRule")[0]["EventPattern"], linked))

    def test_other_findings_match_no_rule(self):
        for differences in (
            {"Compliance": {"Status": "PASSED", "SecurityControlId": "CloudTrail.2"}},
            {"Compliance": {"Status": "FAILED", "SecurityControlId": "CloudTrail.4"}},
            {"Compliance": {"Status": "FAILED"}},
            {"RecordState": "ARCHIVED"},
            # The findings that are handled.
            {"Workflow": {"Status": "NOTIFIED"}},
            {"Workflow": {"Status": "RESOLVED"}},
            {"Workflow": {"Status": "SUPPRESSED"}},
            {"ProductArn": PRODUCT},
            # An administrator account receives its members' findings.
            {"AwsAccountId": "210987654321"},
            # Security Hub's finding about an account without resources.
            {"Resources": [{"Type": "AwsAccount", "Id": f"AWS::::Account:{ACCOUNT}"}]},
        ):
            self.assert_no_match(imported(control_finding(**differences)))
        self.assert_no_match(imported(control_finding(), source="my.securityhub"))
        self.assert_no_match(imported(control_finding(), account="210987654321"))
        self.assert_no_match(imported(control_finding(), **{"detail-type": "Findings Imported V2"}))

    def test_a_finding_starts_trailseal_for_its_trail(self):
        # The emulator's input paths have no indexes (`_apply_input_transformer` in eventbridge.py). Those here are JMESPath, too.
        transformer = rule("FindingRule")[1]["InputTransformer"]
        event = imported(control_finding("named-by-a-finding"))
        request = transformer["InputTemplate"]
        for name, path in transformer["InputPathsMap"].items():
            value = jmespath.search(path.removeprefix("$."), event)
            request = request.replace(f"<{name}>", json.dumps(value))
        trail = trail_arn("named-by-a-finding")
        self.assertEqual(json.loads(request), {"trail": trail})
        answer = aws.invoke(STACK, json.loads(request))
        self.assertEqual(([it["trail_arn"] for it in answer["trails"]], answer["summary"]), ([trail], {"gone": 1}))

    def test_the_function_and_the_queue_allow_the_rule(self):
        deployed, target = rule("FindingRule")
        function = f"arn:aws:lambda:{HOME}:{ACCOUNT}:function:{STACK}"
        self.assertEqual(target["Arn"], function)
        policy = json.loads(aws.client("lambda").get_policy(FunctionName=STACK)["Policy"])
        sources = [it["Condition"]["ArnLike"]["AWS:SourceArn"] for it in policy["Statement"]]
        self.assertIn(deployed["Arn"], sources)
        attributes = aws.queue(stack["UndeliveredQueueUrl"])
        self.assertEqual(target["DeadLetterConfig"], {"Arn": attributes["QueueArn"]})
        [send] = json.loads(attributes["Policy"])["Statement"]
        outcomes = rule("OutcomeRule", f"{STACK}-outcomes")[0]["Arn"]
        self.assertEqual(send["Condition"], {"ArnEquals": {"aws:SourceArn": [deployed["Arn"], outcomes]}})


class OutcomesOut(unittest.TestCase):
    def setUp(self):
        hub.imported()
        hub.refused.clear()

    def translate(self, answer: dict, timestamp: str = "2026-11-20T10:00:00.123Z") -> list[dict]:
        """The findings that the deployed translator imports. Checks them against the service model."""
        response = aws.invoke(stack["TranslatorName"], answer_event(answer, timestamp))
        self.assertIsNone(response, response)
        findings = hub.imported()
        for finding in findings:
            call = {"Findings": [finding]}
            report = ParamValidator().validate(call, IMPORT.input_shape)
            self.assertFalse(report.has_errors(), report.generate_report())
            self.assertEqual(errors(IMPORT.input_shape, call), [])
            # The limits of ASFF, which the model does not contain.
            for field, limit in (("Id", 512), ("GeneratorId", 512), ("Title", 256), ("Description", 1024)):
                self.assertLessEqual(len(finding[field]), limit, field)
        return findings

    def test_every_outcome_becomes_a_finding(self):
        def ask(name: str) -> dict:
            return aws.invoke(STACK, {"trail": trail_arn(name)})

        trails = {name: aws.make_trail(name, "logs") for name in ("plain", "exempt")}
        tag = {"Key": "trailseal:exempt", "Value": "test"}
        aws.client("cloudtrail").add_tags(ResourceId=trails["exempt"], TagsList=[tag])
        answers = {"planned": ask("plain"), "exempt": ask("exempt"), "gone": ask("missing")}
        # The emulator shows no other account's organization trail.
        [theirs] = answers["planned"]["trails"]
        theirs = theirs | {
            "trail_arn": trail_arn("theirs", "210987654321"),
            "outcome": "out-of-scope",
            "detail": "theirs",
        }
        answers["out-of-scope"] = answers["planned"] | {"trails": [theirs]}
        configure(STACK, TRAILSEAL_MODE="enforce")
        self.addCleanup(configure, STACK, TRAILSEAL_MODE="dry-run")
        answers |= {"remediated": ask("plain"), "compliant": ask("plain")}
        aws.client("cloudtrail").stop_logging(Name=trails["plain"])
        answers["noted"] = ask("plain")
        # The key behind the alias is disabled, and trailseal does not edit a key without its tag.
        [alias] = [it for it in aws.client("kms").list_aliases()["Aliases"] if it["AliasName"] == "alias/trailseal"]
        aws.client("kms").untag_resource(KeyId=alias["TargetKeyId"], TagKeys=["managed-by"])
        aws.client("kms").disable_key(KeyId=alias["TargetKeyId"])
        answers["failed"] = ask("plain")
        self.assertEqual(sorted(answers), sorted(OUTCOMES))
        for outcome, answer in answers.items():
            with self.subTest(outcome):
                [report] = answer["trails"]
                self.assertEqual(report["outcome"], outcome, answer)
                [finding] = self.translate(answer)
                severity = finding["FindingProviderFields"]["Severity"]["Label"]
                found = (finding["Compliance"]["Status"], finding["RecordState"], severity)
                self.assertEqual(found, EXPECTED[outcome])
                self.assertEqual(finding["Resources"], [{"Type": "AwsCloudTrailTrail", "Id": report["trail_arn"]}])
                self.assertEqual(finding["Title"], f"{outcome}: {report['trail_arn']}")
                for text in [it["detail"] for it in report["findings"]] + [report["detail"] or ""]:
                    self.assertIn(text, finding["Description"])
                if outcome == "failed":
                    self.assertIn(report["error"]["message"], finding["Description"])
                # It would start trailseal again and again.
                self.assertFalse(matches(rule("FindingRule")[0]["EventPattern"], imported(finding)))

    def test_a_trails_finding_is_updated_in_place(self):
        name = aws.make_trail("twice", "logs")
        answer = aws.invoke(STACK, {"trail": name})
        [first] = self.translate(answer, "2026-11-20T10:00:00.123Z")
        [report] = answer["trails"]
        compliant = answer | {"trails": [report | {"outcome": "compliant", "findings": [], "steps": []}]}
        [second] = self.translate(compliant, "2026-11-20T11:00:00.456Z")
        for field in ("Id", "ProductArn", "GeneratorId", "AwsAccountId", "Resources"):
            self.assertEqual(second[field], first[field], field)
        self.assertEqual((first["ProductArn"], first["AwsAccountId"]), (PRODUCT, ACCOUNT))
        self.assertEqual(first["Id"], f"trailseal/{name}")
        # Security Hub ignores updates that are not newer, such as a retry or a late event.
        self.assertEqual(first["UpdatedAt"], "2026-11-20T10:00:00.123Z")
        self.assertEqual(second["UpdatedAt"], "2026-11-20T11:00:00.456Z")
        self.assertEqual((first["RecordState"], second["RecordState"]), (ACTIVE, ARCHIVED))

    def test_an_answer_on_the_outcome_bus_is_imported(self):
        # The emulator's Lambda sends nothing to destinations.
        event = answer_event(aws.invoke(STACK, {"trail": trail_arn("on-the-bus")}))
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        aws.client("events").put_events(Entries=[entry | {"EventBusName": f"{STACK}-outcomes"}])
        [finding] = wait_for("finding", hub.imported)
        self.assertEqual(finding["Id"], f"trailseal/{trail_arn('on-the-bus')}")

    def test_an_ignored_event_imports_nothing(self):
        answer = aws.invoke(STACK, {"trail": trail_arn("none")})
        self.assertEqual(self.translate(answer | {"ignored": "nothing", "trails": []}), [])

    def test_a_call_imports_at_most_100_findings(self):
        answer = aws.invoke(STACK, {"trail": trail_arn("many")})
        [report] = answer["trails"]
        many = [report | {"trail_arn": trail_arn(f"many-{number}")} for number in range(201)]
        aws.invoke(stack["TranslatorName"], answer_event(answer | {"trails": many}))
        self.assertEqual([len(call) for call in hub.calls], [100, 100, 1])
        self.assertEqual(len({it["Id"] for it in hub.imported()}), 201)

    def test_texts_are_cut_to_the_limits_of_findings(self):
        answer = aws.invoke(STACK, {"trail": trail_arn("long")})
        [report] = answer["trails"]
        [finding] = self.translate(answer | {"trails": [report | {"detail": "x" * 5000}]})
        self.assertEqual(len(finding["Description"]), 1024)

    def test_a_refused_finding_fails_the_invocation_after_all(self):
        answer = aws.invoke(STACK, {"trail": trail_arn("refused")})
        [report] = answer["trails"]
        hub.refused.add(f"trailseal/{trail_arn('refused')}")
        other = report | {"trail_arn": trail_arn("accepted")}
        many = [report, *[other] * 100]
        response = aws.invoke(stack["TranslatorName"], answer_event(answer | {"trails": many}))
        self.assertIn("Security Hub refused 1 findings", response["errorMessage"])
        self.assertIn("InvalidAccess", response["errorMessage"])
        self.assertEqual([len(call) for call in hub.calls], [100, 1])

    def test_the_rule_matches_only_trailseals_answers(self):
        pattern = rule("OutcomeRule", f"{STACK}-outcomes")[0]["EventPattern"]
        for event, expected in (
            (invocation_result(), True),
            (invocation_result(source="aws.lambda"), True),
            (invocation_result(**{"detail-type": "Lambda Function Invocation Result - Failure"}), False),
            (invocation_result(account="210987654321"), False),
            (invocation_result("another"), False),
            (invocation_result(f"{STACK}-another"), False),
            (answer_event({"other": 1}), False),
        ):
            self.assertEqual(matches(pattern, event), expected, event)

    def test_the_translator_can_only_import_and_log(self):
        configuration = aws.client("lambda").get_function_configuration(FunctionName=stack["TranslatorName"])
        import_findings, log = aws.role_statements(configuration["Role"].rpartition("/")[2])
        expected = {"Sid": "ImportFindings", "Effect": "Allow"}
        expected |= {"Action": "securityhub:BatchImportFindings", "Resource": PRODUCT}
        self.assertEqual(import_findings, expected)
        self.assertEqual(log["Action"], ["logs:CreateLogStream", "logs:PutLogEvents"])
        group = f"arn:aws:logs:{HOME}:{ACCOUNT}:log-group:{stack['LogGroupName']}:*"
        self.assertEqual((log["Effect"], log["Resource"]), ("Allow", group))
        self.assertEqual(configuration["LoggingConfig"]["LogGroup"], stack["LogGroupName"])
        policy = aws.client("lambda").get_policy(FunctionName=stack["TranslatorName"])["Policy"]
        [statement] = json.loads(policy)["Statement"]
        outcomes = rule("OutcomeRule", f"{STACK}-outcomes")[0]["Arn"]
        self.assertEqual(statement["Condition"]["ArnLike"]["AWS:SourceArn"], outcomes)


class Alarms(unittest.TestCase):
    def test_each_alarm_monitors_its_metric_and_uses_the_topic(self):
        topic = aws.outputs(STACK)["AlertTopicArn"]
        queue = stack["UndeliveredQueueUrl"].rpartition("/")[2]
        for suffix, metric, dimension in (
            ("imports-failed", ("AWS/Lambda", "Errors", "Sum"), ("FunctionName", stack["TranslatorName"])),
            (
                "findings-undelivered",
                ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"),
                ("QueueName", queue),
            ),
        ):
            with self.subTest(suffix):
                # trailseal's topic accepts no other names.
                [it] = aws.client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK}-{suffix}"])["MetricAlarms"]
                self.assertEqual((it["Namespace"], it["MetricName"], it["Statistic"]), metric)
                self.assertEqual([(name["Name"], name["Value"]) for name in it["Dimensions"]], [dimension])
                self.assertEqual((it["ComparisonOperator"], it["Threshold"]), ("GreaterThanOrEqualToThreshold", 1))
                self.assertEqual(it["TreatMissingData"], "notBreaching")
                self.assertEqual((it["AlarmActions"], it["OKActions"]), ([topic], [topic]))
                self.assertIn("See Security Hub in docs/operations.md", it["AlarmDescription"])

    def test_without_a_topic_the_alarms_have_no_actions(self):
        body = (PROJECT / "security-hub.yaml").read_text()
        alarms = re.findall(r"^      (?:Alarm|OK)Actions: (.+)$", body, re.MULTILINE)
        self.assertEqual(alarms, ["[!If [Alerts, !Ref AlertTopicArn, !Ref AWS::NoValue]]"] * 4)
        self.assertIn('Alerts: !Not [!Equals [!Ref AlertTopicArn, ""]]', body)

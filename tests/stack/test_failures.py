"""Failures appear where the runbook says: events with their errors in a queue, and alarms that name a runbook section."""

import json
import re
import unittest

from account import HOME
from aws_cli import Command, commands
from emulated_account import STACK, event, start_emulator, wait_for
from local import PROJECT

RUNBOOK = PROJECT / "docs" / "operations.md"
# A rule matches this event, but the function fails on it. See test_rules.
MALFORMED = "update-trail-malformed-name"
# Only AWS can put metrics in these namespaces.
AWS_NAMESPACES = ("AWS/Lambda", "AWS/SQS")


def setUpModule() -> None:
    global aws, stack, mailbox
    aws = start_emulator("failures")
    stack = aws.deploy_first()
    mailbox = aws.subscribe_queue(stack["AlertTopicArn"])
    aws.make_bucket("audit-logs", HOME)
    aws.make_trail("audit", "audit-logs")
    aws.invoke(STACK, {"sweep": {}})


def run(output: str):
    return Command(stack[output]).run(aws)


class FailedEvent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.event = event(MALFORMED)
        before = len(aws.log_lines(stack["LogGroupName"]))
        aws.invoke_async(STACK, cls.event)
        cls.parked = wait_for("event in the failure queue", lambda: aws.failed_events(stack["FailureQueueUrl"]))
        cls.lines = aws.log_lines(stack["LogGroupName"])[before:]

    def test_lambda_tries_three_times_and_each_error_is_logged(self):
        self.assertEqual([line["level"] for line in self.lines], ["ERROR"] * 3, self.lines)
        for line in self.lines:
            self.assertIn("`../../etc/passwd` is not a trail name", line["message"])

    def test_the_event_is_in_the_failure_queue_with_its_error(self):
        self.assertEqual([it["event"] for it in self.parked], [self.event])
        error = self.parked[0]["error"]
        self.assertEqual(error["errorType"], "InvalidInput")
        self.assertIn("`../../etc/passwd` is not a trail name", error["errorMessage"])

    def test_the_undelivered_queue_is_empty(self):
        self.assertEqual(aws.queue(stack["UndeliveredQueueUrl"])["ApproximateNumberOfMessages"], "0")

    def test_read_failure_queue_prints_without_deleting(self):
        for _ in range(2):
            [body] = run("ReadFailureQueue")
            self.assertEqual(json.loads(body)["requestPayload"], self.event)

    def test_an_event_that_succeeds_is_not_in_the_failure_queue(self):
        before = len(aws.log_lines(stack["LogGroupName"]))
        aws.invoke_async(STACK, event("update-trail-by-name"))
        wait_for("answer in the log", lambda: len(aws.log_lines(stack["LogGroupName"])) > before)
        self.assertEqual(len(aws.failed_events(stack["FailureQueueUrl"])), 1)


class Outputs(unittest.TestCase):
    def test_commands_are_valid_and_name_the_region(self):
        outputs = {name for name, value in stack.items() if value.startswith("aws ")}
        self.assertEqual(outputs, {"SweepNow", "LastOutcomes", "ReadFailureQueue", "ReadUndeliveredQueue"})
        for name in outputs:
            self.assertEqual(Command(stack[name]).globals["region"], HOME, name)

    def test_sweep_now_starts_a_sweep(self):
        answer = json.load(run("SweepNow")["Payload"])
        self.assertEqual((answer["trigger"]["kind"], answer["summary"]), ("sweep", {"planned": 1}))
        command = Command(stack["SweepNow"])
        # Otherwise the CLI would time out, retry and start another sweep, or would not print the answer.
        self.assertEqual((command.globals["cli-read-timeout"], command.positional), ("0", ["/dev/stdout"]))

    def test_last_outcomes_prints_the_answers(self):
        answers = [json.loads(line) for line in run("LastOutcomes") if line.startswith("{")]
        self.assertIn("sweep", [it["trigger"]["kind"] for it in answers if "trigger" in it])
        # In the emulator, every line matches a JSON pattern (`_compile_filter_pattern` in cloudwatch_logs.py). So the
        # test evaluates the pattern itself: it must match answers and no other line.
        pattern = Command(stack["LastOutcomes"]).options["filter-pattern"]
        field, number = re.fullmatch(r"\{ \$\.(\w+) = (\d+) \}", pattern).groups()
        for line in aws.log_lines(stack["LogGroupName"]):
            self.assertEqual(line.get(field) == int(number), "trails" in line, line)

    def test_read_undelivered_queue_prints_eventbridges_reason(self):
        aws.client("sqs").send_message(
            QueueUrl=stack["UndeliveredQueueUrl"],
            MessageBody=json.dumps(event("update-trail-by-name")),
            MessageAttributes={"ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"}},
        )
        self.addCleanup(aws.client("sqs").purge_queue, QueueUrl=stack["UndeliveredQueueUrl"])
        [[attributes, body]] = run("ReadUndeliveredQueue")
        self.assertEqual(attributes["ERROR_CODE"]["StringValue"], "NO_PERMISSIONS")
        self.assertEqual(json.loads(body), event("update-trail-by-name"))


class Alarms(unittest.TestCase):
    def new_messages(self, suffix: str, state: str = "ALARM") -> list[dict]:
        """The alarm's messages about a state since the last call."""
        messages = [json.loads(it["Message"]) for it in aws.alerts(mailbox, wait=0) if "AlarmName" in it["Message"]]
        return [it for it in messages if (it["AlarmName"], it["NewStateValue"]) == (f"{STACK}-{suffix}", state)]

    def set_state(self, alarm: dict, state: str) -> None:
        aws.client("cloudwatch").set_alarm_state(AlarmName=alarm["AlarmName"], StateValue=state, StateReason="a test")

    def put_metric(self, alarm: dict, value: float) -> None:
        aws.client("cloudwatch").put_metric_data(
            Namespace=alarm["Namespace"],
            MetricData=[{"MetricName": alarm["MetricName"], "Dimensions": alarm["Dimensions"], "Value": value}],
        )

    def trigger(self, suffix: str, alarm: dict) -> None:
        if alarm["Namespace"] in AWS_NAMESPACES:
            for state in ("OK", "ALARM"):
                self.set_state(alarm, state)
        elif alarm["ComparisonOperator"] == "LessThanThreshold":
            # The emulator ignores missing data (`_evaluate_alarm` in cloudwatch.py), so the test puts a zero.
            self.put_metric(alarm, 0)
        else:
            self.put_metric(alarm, alarm["Threshold"] - 1)
            self.assertEqual(self.new_messages(suffix), [], "a value below the threshold must not trigger the alarm")
            self.put_metric(alarm, 1)

    def assert_messages(self, suffix: str, alarm: dict) -> None:
        self.trigger(suffix, alarm)
        [message] = wait_for("message", lambda: self.new_messages(suffix))
        self.assertEqual(message["AlarmDescription"], alarm["AlarmDescription"])
        ending = f"See {suffix} in docs/operations.md."
        self.assertTrue(message["AlarmDescription"].endswith(ending), message["AlarmDescription"])
        self.set_state(alarm, "OK")
        wait_for("message", lambda: self.new_messages(suffix, "OK"))

    def test_each_alarm_sends_a_message_with_its_runbook_section(self):
        for suffix, alarm in aws.alarms().items():
            with self.subTest(suffix):
                self.assert_messages(suffix, alarm)

    def test_the_runbook_has_a_section_for_each_alarm(self):
        headings = re.findall(r"^#{2,3} `?([a-z-]+)`?$", RUNBOOK.read_text(), re.MULTILINE)
        for suffix in aws.alarms():
            self.assertIn(suffix, headings)

    def test_descriptions_are_resolved_and_within_the_limit(self):
        for suffix, alarm in aws.alarms().items():
            text = alarm["AlarmDescription"]
            self.assertNotRegex(text, r"\$\{|\n|  ", suffix)
            # The limit of CloudWatch.
            self.assertLessEqual(len(text), 1024, suffix)

    def test_commands_in_descriptions_use_the_metrics_patterns(self):
        found = aws.client("logs").describe_metric_filters(logGroupName=stack["LogGroupName"])["metricFilters"]
        patterns = {it["metricTransformations"][0]["metricName"]: it["filterPattern"] for it in found}
        with_commands = 0
        for suffix, alarm in aws.alarms().items():
            for command in commands(alarm["AlarmDescription"]):
                with_commands += 1
                command.run(aws)
                pattern = command.options.get("filter-pattern")
                self.assertIn(pattern, (None, patterns.get(alarm["MetricName"])), suffix)
        self.assertEqual(with_commands, 3)

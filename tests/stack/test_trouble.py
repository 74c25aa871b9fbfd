"""What goes wrong is where the runbook says: in a queue with its error, in an alarm that names its section."""

import json
import re
import unittest

from account import HOME
from cloud import STACK, event, open_cloud, wait_for
from commands import Command, commands
from local import PROJECT

RUNBOOK = PROJECT / "docs" / "operations.md"
# Matched by a rule and yet unreadable, see test_rules.
UNREADABLE = "update-trail-malformed-name"
# Metrics that AWS makes; nobody else may put them.
MADE_BY_AWS = ("AWS/Lambda", "AWS/SQS")


def setUpModule() -> None:
    global cloud, stack, mailbox
    cloud = open_cloud("trouble")
    stack = cloud.deploy_first()
    mailbox = cloud.listen(stack["AlertTopicArn"])
    cloud.make_bucket("audit-logs", HOME)
    cloud.make_trail("audit", "audit-logs")
    cloud.invoke(STACK, {"sweep": {}})


def perform(output: str):
    command = Command(stack[output])
    return command.perform(cloud.client(command.service, command.globals["region"]))


class AnEventThatItFailsOn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.event = event(UNREADABLE)
        before = len(cloud.lines(stack["LogGroupName"]))
        cloud.send(STACK, cls.event)
        cls.parked = wait_for("event in the failure queue", lambda: cloud.parked(stack["FailureQueueUrl"]))
        cls.lines = cloud.lines(stack["LogGroupName"])[before:]

    def test_it_is_tried_three_times_and_each_failure_is_logged(self):
        self.assertEqual([line["level"] for line in self.lines], ["ERROR"] * 3, self.lines)
        for line in self.lines:
            self.assertIn("`../../etc/passwd` is not a trail's name", line["message"])

    def test_then_it_is_parked_with_its_error(self):
        self.assertEqual([it["event"] for it in self.parked], [self.event])
        error = self.parked[0]["error"]
        self.assertEqual(error["errorType"], "InvalidInput")
        self.assertIn("`../../etc/passwd` is not a trail's name", error["errorMessage"])

    def test_nothing_is_undelivered(self):
        self.assertEqual(cloud.queue(stack["UndeliveredQueueUrl"])["ApproximateNumberOfMessages"], "0")

    def test_the_output_that_reads_the_failure_queue_prints_it_and_leaves_it_there(self):
        for _ in range(2):
            [body] = perform("ReadFailureQueue")
            self.assertEqual(json.loads(body)["requestPayload"], self.event)

    def test_what_the_function_can_read_is_not_parked(self):
        before = len(cloud.lines(stack["LogGroupName"]))
        cloud.send(STACK, event("update-trail-by-name"))
        wait_for("answer in the log", lambda: len(cloud.lines(stack["LogGroupName"])) > before)
        self.assertEqual(len(cloud.parked(stack["FailureQueueUrl"])), 1)


class Outputs(unittest.TestCase):
    def test_every_command_is_one_of_the_aws_clis(self):
        printed = {name for name, value in stack.items() if value.startswith("aws ")}
        self.assertEqual(printed, {"SweepNow", "LastOutcomes", "ReadFailureQueue", "ReadUndeliveredQueue"})
        for name in printed:
            self.assertEqual(Command(stack[name]).globals["region"], HOME, name)

    def test_sweep_now_sweeps(self):
        answer = json.load(perform("SweepNow")["Payload"])
        self.assertEqual((answer["trigger"]["kind"], answer["summary"]), ("sweep", {"planned": 1}))
        command = Command(stack["SweepNow"])
        # Without these, the CLI would give up on a long sweep and start another, or would not show the answer.
        self.assertEqual((command.globals["cli-read-timeout"], command.positional), ("0", ["/dev/stdout"]))

    def test_last_outcomes_finds_the_answers(self):
        answers = [json.loads(line) for line in perform("LastOutcomes") if line.startswith("{")]
        self.assertIn("sweep", [it["trigger"]["kind"] for it in answers if "trigger" in it])
        # The emulator lets every line through a pattern for JSON (`_compile_filter_pattern` in cloudwatch_logs.py), so
        # what this one lets through is looked at here: answers, and no other line.
        pattern = Command(stack["LastOutcomes"]).options["filter-pattern"]
        field, number = re.fullmatch(r"\{ \$\.(\w+) = (\d+) \}", pattern).groups()
        for line in cloud.lines(stack["LogGroupName"]):
            self.assertEqual(line.get(field) == int(number), "trails" in line, line)

    def test_the_undelivered_queue_is_read_with_the_reason_that_eventbridge_gives(self):
        cloud.client("sqs").send_message(
            QueueUrl=stack["UndeliveredQueueUrl"],
            MessageBody=json.dumps(event("update-trail-by-name")),
            MessageAttributes={"ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"}},
        )
        self.addCleanup(cloud.client("sqs").purge_queue, QueueUrl=stack["UndeliveredQueueUrl"])
        [[attributes, body]] = perform("ReadUndeliveredQueue")
        self.assertEqual(attributes["ERROR_CODE"]["StringValue"], "NO_PERMISSIONS")
        self.assertEqual(json.loads(body), event("update-trail-by-name"))


class Alarms(unittest.TestCase):
    def told(self, suffix: str) -> list[dict]:
        """What that alarm said since the last time."""
        said = [json.loads(it["Message"]) for it in cloud.alerts(mailbox, wait=0) if "AlarmName" in it["Message"]]
        return [it for it in said if it["AlarmName"] == f"{STACK}-{suffix}"]

    def put(self, alarm: dict, value: float) -> None:
        cloud.client("cloudwatch").put_metric_data(
            Namespace=alarm["Namespace"],
            MetricData=[{"MetricName": alarm["MetricName"], "Dimensions": alarm["Dimensions"], "Value": value}],
        )

    def trip(self, suffix: str, alarm: dict) -> None:
        if alarm["Namespace"] in MADE_BY_AWS:
            for state in ("OK", "ALARM"):
                cloud.client("cloudwatch").set_alarm_state(
                    AlarmName=alarm["AlarmName"], StateValue=state, StateReason="a test"
                )
        elif alarm["ComparisonOperator"] == "LessThanThreshold":
            # The emulator does nothing about missing data (`_evaluate_alarm` in cloudwatch.py), so this is a sweep that
            # somebody counted as none.
            self.put(alarm, 0)
        else:
            self.put(alarm, alarm["Threshold"] - 1)
            self.assertEqual(self.told(suffix), [], "below its threshold it is quiet")
            self.put(alarm, 1)

    def test_each_reaches_the_topic_with_a_text_that_names_its_section_of_the_runbook(self):
        for suffix, alarm in cloud.alarms().items():
            with self.subTest(suffix):
                self.trip(suffix, alarm)
                [said] = wait_for("message", lambda: self.told(suffix))
                self.assertEqual(said["NewStateValue"], "ALARM")
                self.assertEqual(said["AlarmDescription"], alarm["AlarmDescription"])
                ending = f"See {suffix} in docs/operations.md."
                self.assertTrue(said["AlarmDescription"].endswith(ending), said["AlarmDescription"])

    def test_the_runbook_has_a_section_for_each(self):
        if not RUNBOOK.exists():
            self.skipTest("docs/operations.md is not there yet")
        headings = re.findall(r"^#{2,3} `?([a-z-]+)`?$", RUNBOOK.read_text(), re.MULTILINE)
        for suffix in cloud.alarms():
            self.assertIn(suffix, headings)

    def test_each_text_is_whole_and_says_no_more_than_an_alarm_can(self):
        for suffix, alarm in cloud.alarms().items():
            text = alarm["AlarmDescription"]
            self.assertNotRegex(text, r"\$\{|\n|  ", suffix)
            # CloudWatch's limit.
            self.assertLessEqual(len(text), 1024, suffix)

    def test_the_commands_in_their_texts_are_real_and_their_patterns_those_of_the_metrics(self):
        found = cloud.client("logs").describe_metric_filters(logGroupName=stack["LogGroupName"])["metricFilters"]
        patterns = {it["metricTransformations"][0]["metricName"]: it["filterPattern"] for it in found}
        with_commands = 0
        for suffix, alarm in cloud.alarms().items():
            for command in commands(alarm["AlarmDescription"]):
                with_commands += 1
                command.perform(cloud.client(command.service, command.globals["region"]))
                pattern = command.options.get("filter-pattern")
                self.assertIn(pattern, (None, patterns.get(alarm["MetricName"])), suffix)
        self.assertEqual(with_commands, 3)

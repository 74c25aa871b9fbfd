"""A deployment with default parameters: its resources, and how they refer to each other."""

import json
import re
import unittest

from account import HOME
from answer_schema import has_field
from emulated_account import ROLE, STACK, start_emulator
from local import ACCOUNT

AT_LEAST, BELOW = "GreaterThanOrEqualToThreshold", "LessThanThreshold"
VISIBLE = "ApproximateNumberOfMessagesVisible"
# Namespace, metric, dimensions, statistic, period, evaluation periods, comparison, threshold, missing data.
ALARMS = {
    "trails-failed": (STACK, "FailedTrails", {}, "Sum", 300, 1, AT_LEAST, 1, "notBreaching"),
    "invocations-failed": ("AWS/Lambda", "Errors", {"FunctionName": STACK}, "Sum", 300, 1, AT_LEAST, 1, "notBreaching"),
    "events-parked": (
        *("AWS/SQS", VISIBLE, {"QueueName": f"{STACK}-failed"}),
        *("Maximum", 300, 1, AT_LEAST, 1, "notBreaching"),
    ),
    "events-undelivered": (
        *("AWS/SQS", VISIBLE, {"QueueName": f"{STACK}-undelivered"}),
        *("Maximum", 300, 1, AT_LEAST, 1, "notBreaching"),
    ),
    "many-remediations": (STACK, "Remediations", {}, "Sum", 3600, 1, AT_LEAST, 5, "notBreaching"),
    "alerts-lost": (STACK, "LostAlerts", {}, "Sum", 300, 1, AT_LEAST, 1, "notBreaching"),
    "destinations-failed": (
        *("AWS/Lambda", "DestinationDeliveryFailures", {"FunctionName": STACK}),
        *("Sum", 300, 1, AT_LEAST, 1, "notBreaching"),
    ),
    "no-sweep": (STACK, "Sweeps", {}, "Sum", 3600, 48, BELOW, 1, "breaching"),
}
# Pattern and value. tests/function/metrics.rs tests which log lines each pattern matches.
METRIC_FILTERS = {
    "FailedTrails": ("{ $.summary.failed > 0 }", "$.summary.failed"),
    "Remediations": ('{ ($.summary.remediated > 0) && ($.trigger.kind != "sweep") }', "1"),
    "LostAlerts": ("{ $.alerts.failed > 0 }", "$.alerts.failed"),
    "Sweeps": ('{ ($.trigger.kind = "sweep") && ($.error IS NULL) }', "1"),
}


def setUpModule() -> None:
    global aws, stack
    aws = start_emulator("defaults")
    stack = aws.deploy_first()


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{HOME}:{ACCOUNT}:{resource}"


FUNCTION_ARN = arn("lambda", f"function:{STACK}")
TOPIC_ARN = arn("sns", f"{STACK}-alerts")
FAILED_ARN = arn("sqs", f"{STACK}-failed")
UNDELIVERED_ARN = arn("sqs", f"{STACK}-undelivered")
SWEEP_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{STACK}-sweep-{HOME}"


class Function(unittest.TestCase):
    def setUp(self):
        self.function = aws.client("lambda").get_function(FunctionName=stack["FunctionName"])

    def test_the_variables_have_the_default_values(self):
        self.assertEqual(
            self.function["Configuration"]["Environment"]["Variables"],
            {
                "TRAILSEAL_MODE": "dry-run",
                "TRAILSEAL_KEY_ALIAS": "alias/trailseal",
                "TRAILSEAL_KEY_ARNS": "",
                "TRAILSEAL_KEY_TAGS": "",
                "TRAILSEAL_LOG_READERS": "",
                "TRAILSEAL_READERS_LOCKED_OUT": "proceed",
                "TRAILSEAL_EXEMPT_TAG": "trailseal:exempt",
                "TRAILSEAL_RESTART_LOGGING": "false",
                "TRAILSEAL_ORG_TRAIL_OWNER": "",
                "TRAILSEAL_ORGANIZATION_ID": "",
                "TRAILSEAL_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
                "TRAILSEAL_ALERT_TOPIC_ARN": TOPIC_ARN,
                "TRAILSEAL_ALERT_FORMAT": "text",
            },
        )

    def test_the_role_has_a_predictable_name(self):
        self.assertEqual(self.function["Configuration"]["Role"], f"arn:aws:iam::{ACCOUNT}:role/{ROLE}")
        self.assertEqual(stack["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/{ROLE}")

    def test_logs_are_json_and_kept_for_a_year(self):
        logging = self.function["Configuration"]["LoggingConfig"]
        self.assertEqual((logging["LogFormat"], logging["LogGroup"]), ("JSON", f"/aws/lambda/{STACK}"))
        [group] = aws.client("logs").describe_log_groups()["logGroups"]
        self.assertEqual((group["logGroupName"], group["retentionInDays"]), (f"/aws/lambda/{STACK}", 365))
        self.assertEqual(stack["LogGroupName"], group["logGroupName"])

    def test_the_timeout_is_three_minutes_and_the_memory_128_mb(self):
        configuration = self.function["Configuration"]
        self.assertEqual((configuration["Timeout"], configuration["MemorySize"]), (180, 128))

    def test_failed_events_are_retried_twice_and_then_queued(self):
        retries = aws.client("lambda").get_function_event_invoke_config(FunctionName=STACK, Qualifier="$LATEST")
        self.assertEqual((retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]), (2, 21600))
        destinations = {on: to for on, to in retries["DestinationConfig"].items() if to}
        self.assertEqual(destinations, {"OnFailure": {"Destination": FAILED_ARN}})
        [send] = [it for it in aws.role_statements(ROLE) if it["Sid"] == "ParkFailedEvents"]
        self.assertEqual((send["Effect"], send["Action"], send["Resource"]), ("Allow", "sqs:SendMessage", FAILED_ARN))


class Triggers(unittest.TestCase):
    def test_each_rule_targets_only_the_function(self):
        events = aws.client("events")
        for name in (stack["TrailRuleName"], stack["KeyRuleName"]):
            self.assertEqual(events.describe_rule(Name=name)["State"], "ENABLED")
            self.assertEqual(
                events.list_targets_by_rule(Rule=name)["Targets"],
                [{"Id": "trailseal", "Arn": FUNCTION_ARN, "DeadLetterConfig": {"Arn": UNDELIVERED_ARN}}],
            )

    def test_only_the_two_rules_can_invoke_the_function(self):
        policy = json.loads(aws.client("lambda").get_policy(FunctionName=STACK)["Policy"])
        self.assertEqual(
            {(it["Principal"]["Service"], it["Action"]) for it in policy["Statement"]},
            {("events.amazonaws.com", "lambda:InvokeFunction")},
        )
        sources = sorted(it["Condition"]["ArnLike"]["AWS:SourceArn"] for it in policy["Statement"])
        rules = (stack["TrailRuleName"], stack["KeyRuleName"])
        self.assertEqual(sources, sorted(arn("events", f"rule/{it}") for it in rules))

    def test_the_schedule_starts_a_sweep_daily(self):
        self.assertEqual(stack["SweepScheduleName"], f"{STACK}-sweep-dry-run")
        schedule = aws.client("scheduler").get_schedule(Name=stack["SweepScheduleName"])
        target = schedule["Target"]
        self.assertEqual((schedule["State"], schedule["ScheduleExpression"]), ("ENABLED", "rate(1 day)"))
        self.assertEqual(schedule["FlexibleTimeWindow"], {"Mode": "OFF"})
        # A schedule without a start date runs immediately.
        self.assertNotIn("StartDate", schedule)
        self.assertEqual((target["Arn"], target["Input"]), (FUNCTION_ARN, '{"sweep": {}}'))
        self.assertEqual(target["DeadLetterConfig"], {"Arn": UNDELIVERED_ARN})
        self.assertEqual(target["RetryPolicy"], {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10})
        self.assertRegex(target["RoleArn"], f"^{SWEEP_ROLE_ARN}$")

    def test_retries_and_metrics_exist_before_the_first_sweep(self):
        # The emulator creates resources one by one and starts no sweep, so the test reads the template.
        resources = aws.template()["Resources"]
        before = resources["SweepSchedule"]["DependsOn"]
        self.assertIn("Retries", before)
        filters = [name for name, it in resources.items() if it["Type"] == "AWS::Logs::MetricFilter"]
        # Remediations does not count sweeps.
        self.assertEqual(sorted(set(filters) - set(before)), ["Remediations"])
        self.assertEqual(resources["NoSweepAlarm"]["DependsOn"], "SweepSchedule")

    def test_the_schedules_input_starts_a_sweep(self):
        schedule = aws.client("scheduler").get_schedule(Name=stack["SweepScheduleName"])
        answer = aws.invoke(STACK, json.loads(schedule["Target"]["Input"]))
        self.assertEqual((answer["trigger"]["kind"], answer["error"]), ("sweep", None))

    def test_the_schedules_role_can_only_invoke_and_send_messages(self):
        schedule = aws.client("scheduler").get_schedule(Name=stack["SweepScheduleName"])
        name = schedule["Target"]["RoleArn"].rpartition("/")[2]
        policies = aws.role_policies(name)
        allowed = [(it["Effect"], it["Action"], it["Resource"]) for it in policies["Sweep"]["Statement"]]
        self.assertEqual(list(policies), ["Sweep"])
        self.assertEqual(
            allowed,
            [("Allow", "lambda:InvokeFunction", FUNCTION_ARN), ("Allow", "sqs:SendMessage", UNDELIVERED_ARN)],
        )
        [trust] = aws.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(trust["Principal"], {"Service": "scheduler.amazonaws.com"})
        self.assertEqual(trust["Condition"], {"StringEquals": {"aws:SourceAccount": ACCOUNT}})


class QueuesAndTopic(unittest.TestCase):
    def test_the_queues_are_encrypted_and_keep_messages_two_weeks(self):
        for url, queue in ((stack["FailureQueueUrl"], FAILED_ARN), (stack["UndeliveredQueueUrl"], UNDELIVERED_ARN)):
            found = aws.queue(url)
            self.assertEqual(found["QueueArn"], queue)
            self.assertEqual(found["MessageRetentionPeriod"], "1209600")
            self.assertEqual(found["SqsManagedSseEnabled"], "true")

    def test_the_rules_can_send_undelivered_events_to_the_queue(self):
        [statement] = json.loads(aws.queue(stack["UndeliveredQueueUrl"])["Policy"])["Statement"]
        self.assertEqual((statement["Effect"], statement["Action"]), ("Allow", "sqs:SendMessage"))
        self.assertEqual(statement["Principal"], {"Service": "events.amazonaws.com"})
        self.assertEqual(statement["Resource"], UNDELIVERED_ARN)
        rules = [arn("events", f"rule/{stack[it]}") for it in ("TrailRuleName", "KeyRuleName")]
        self.assertEqual(statement["Condition"], {"ArnEquals": {"aws:SourceArn": rules}})

    def test_the_topic_allows_the_stacks_alarms_and_requires_tls(self):
        attributes = aws.client("sns").get_topic_attributes(TopicArn=stack["AlertTopicArn"])["Attributes"]
        self.assertEqual(attributes["TopicArn"], TOPIC_ARN)
        self.assertEqual(
            json.loads(attributes["Policy"])["Statement"],
            [
                {
                    "Sid": "AlarmsAlert",
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": "sns:Publish",
                    "Resource": TOPIC_ARN,
                    "Condition": {
                        "ArnLike": {"aws:SourceArn": arn("cloudwatch", f"alarm:{STACK}-*")},
                        "StringEquals": {"aws:SourceAccount": ACCOUNT},
                    },
                },
                {
                    "Sid": "DenyInsecureTransport",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": TOPIC_ARN,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        )

    def test_the_topic_has_no_default_subscription(self):
        self.assertEqual(aws.client("sns").list_subscriptions()["Subscriptions"], [])


class Metrics(unittest.TestCase):
    def test_metric_filters_use_the_functions_log(self):
        found = aws.client("logs").describe_metric_filters(logGroupName=stack["LogGroupName"])["metricFilters"]
        self.assertEqual(
            {it["metricTransformations"][0]["metricName"]: it["filterPattern"] for it in found},
            {metric: pattern for metric, (pattern, _) in METRIC_FILTERS.items()},
        )
        for it in found:
            [transformation] = it["metricTransformations"]
            value = METRIC_FILTERS[transformation["metricName"]][1]
            self.assertEqual((transformation["metricNamespace"], transformation["metricValue"]), (STACK, value))

    def test_each_alarm_monitors_its_metric_and_uses_the_topic(self):
        alarms = aws.alarms()
        self.assertEqual(sorted(alarms), sorted(ALARMS))
        for suffix, expected in ALARMS.items():
            it = alarms[suffix]
            with self.subTest(suffix):
                self.assertEqual(
                    (
                        it["Namespace"],
                        it["MetricName"],
                        {dimension["Name"]: dimension["Value"] for dimension in it["Dimensions"]},
                        it["Statistic"],
                        it["Period"],
                        it["EvaluationPeriods"],
                        it["ComparisonOperator"],
                        it["Threshold"],
                        it["TreatMissingData"],
                    ),
                    expected,
                )
                self.assertTrue(it["ActionsEnabled"])
                # Paging tools resolve an incident when the alarm is OK again.
                self.assertEqual((it["AlarmActions"], it["OKActions"]), ([TOPIC_ARN], [TOPIC_ARN]))

    def test_every_custom_metric_of_an_alarm_has_a_filter(self):
        monitored = {metric for namespace, metric, *_ in ALARMS.values() if namespace == STACK}
        self.assertEqual(monitored, set(METRIC_FILTERS))


class Dashboard(unittest.TestCase):
    def setUp(self):
        body = aws.client("cloudwatch").get_dashboard(DashboardName=stack["DashboardName"])["DashboardBody"]
        self.widgets = json.loads(body)["widgets"]

    def widgets_of(self, kind: str) -> list[dict]:
        return [widget["properties"] for widget in self.widgets if widget["type"] == kind]

    def test_the_name_contains_the_region(self):
        self.assertEqual(stack["DashboardName"], f"{STACK}-{HOME}")

    def test_the_dashboard_shows_every_alarm(self):
        [alarms] = self.widgets_of("alarm")
        self.assertEqual(sorted(alarms["alarms"]), sorted(it["AlarmArn"] for it in aws.alarms().values()))
        self.assertIn("dry-run", alarms["title"])

    def test_the_metric_widgets_show_the_metrics_of_this_region(self):
        shown = [row[:2] for widget in self.widgets_of("metric") for row in widget["metrics"]]
        self.assertEqual({name for _, name in shown[: len(METRIC_FILTERS)]}, set(METRIC_FILTERS))
        self.assertEqual(shown[0][0], STACK)
        self.assertEqual({widget["region"] for widget in self.widgets_of("metric") + self.widgets_of("log")}, {HOME})

    def test_the_widgets_do_not_overlap(self):
        taken = [
            (x, y)
            for widget in self.widgets
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        ]
        self.assertEqual(len(taken), len(set(taken)))
        self.assertLessEqual(max(x for x, _ in taken), 23, "a dashboard has 24 columns")

    def test_queries_use_the_functions_log_and_answer_fields(self):
        # The emulator's queries see only a line's text (cloudwatch_logs.py), so the test checks the fields.
        self.assertEqual(len(self.widgets_of("log")), 2)
        for widget in self.widgets_of("log"):
            source, _, query = widget["query"].partition(" | ")
            self.assertEqual(source, f"SOURCE '{stack['LogGroupName']}'")
            fields = re.findall(r"(?<![@.\w'])[a-z_]+(?:\.\w+)+", query)
            self.assertGreater(len(fields), 3, query)
            for field in fields:
                self.assertTrue(has_field(field.split(".")), field)

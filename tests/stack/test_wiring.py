"""What a deployment with nothing set comes to, and that its parts find each other."""

import json
import re
import unittest

from account import HOME
from cloud import ROLE, STACK, open_cloud
from local import ACCOUNT, PROJECT

AT_LEAST, BELOW = "GreaterThanOrEqualToThreshold", "LessThanThreshold"
WAITING = "ApproximateNumberOfMessagesVisible"
# Namespace, metric, of what, statistic, seconds, how many such periods, comparison, threshold, what no data means.
ALARMS = {
    "trails-failed": (STACK, "FailedTrails", {}, "Sum", 300, 1, AT_LEAST, 1, "notBreaching"),
    "invocations-failed": ("AWS/Lambda", "Errors", {"FunctionName": STACK}, "Sum", 300, 1, AT_LEAST, 1, "notBreaching"),
    "events-parked": (
        *("AWS/SQS", WAITING, {"QueueName": f"{STACK}-failed"}),
        *("Maximum", 300, 1, AT_LEAST, 1, "notBreaching"),
    ),
    "events-undelivered": (
        *("AWS/SQS", WAITING, {"QueueName": f"{STACK}-undelivered"}),
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
# What each pattern makes of the function's lines is tested with the function, see tests/function/metrics.rs.
METRIC_FILTERS = {
    "FailedTrails": ("{ $.summary.failed > 0 }", "$.summary.failed"),
    "Remediations": ('{ ($.summary.remediated > 0) && ($.trigger.kind != "sweep") }', "1"),
    "LostAlerts": ("{ $.alerts.failed > 0 }", "$.alerts.failed"),
    "Sweeps": ('{ ($.trigger.kind = "sweep") && ($.error IS NULL) }', "1"),
}


def setUpModule() -> None:
    global cloud, stack
    cloud = open_cloud("wiring")
    stack = cloud.deploy_first()


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{HOME}:{ACCOUNT}:{resource}"


FUNCTION_ARN = arn("lambda", f"function:{STACK}")
TOPIC_ARN = arn("sns", f"{STACK}-alerts")
FAILED_ARN = arn("sqs", f"{STACK}-failed")
UNDELIVERED_ARN = arn("sqs", f"{STACK}-undelivered")
SWEEP_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{STACK}-sweep-{HOME}"


class TheFunction(unittest.TestCase):
    def setUp(self):
        self.function = cloud.client("lambda").get_function(FunctionName=stack["FunctionName"])

    def test_it_starts_in_dry_run_and_everything_else_has_its_default(self):
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
                "TRAILSEAL_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}",
                "TRAILSEAL_ALERT_TOPIC_ARN": TOPIC_ARN,
                "TRAILSEAL_ALERT_FORMAT": "text",
            },
        )

    def test_its_role_has_the_fixed_name_that_key_policies_and_scps_rely_on(self):
        self.assertEqual(self.function["Configuration"]["Role"], f"arn:aws:iam::{ACCOUNT}:role/{ROLE}")
        self.assertEqual(stack["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/{ROLE}")

    def test_it_logs_json_to_the_stacks_own_group_which_is_kept_a_year(self):
        logging = self.function["Configuration"]["LoggingConfig"]
        self.assertEqual((logging["LogFormat"], logging["LogGroup"]), ("JSON", f"/aws/lambda/{STACK}"))
        [group] = cloud.client("logs").describe_log_groups()["logGroups"]
        self.assertEqual((group["logGroupName"], group["retentionInDays"]), (f"/aws/lambda/{STACK}", 365))
        self.assertEqual(stack["LogGroupName"], group["logGroupName"])

    def test_it_has_three_minutes_and_128_mb(self):
        configuration = self.function["Configuration"]
        self.assertEqual((configuration["Timeout"], configuration["MemorySize"]), (180, 128))

    def test_what_it_fails_on_is_tried_twice_more_within_six_hours_and_then_parked(self):
        retries = cloud.client("lambda").get_function_event_invoke_config(FunctionName=STACK, Qualifier="$LATEST")
        self.assertEqual((retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]), (2, 21600))
        destinations = {on: to for on, to in retries["DestinationConfig"].items() if to}
        self.assertEqual(destinations, {"OnFailure": {"Destination": FAILED_ARN}})
        [may_park] = [it for it in cloud.role(ROLE)["Report"]["Statement"] if it["Sid"] == "ParkFailedEvents"]
        self.assertEqual((may_park["Action"], may_park["Resource"]), ("sqs:SendMessage", FAILED_ARN))


class WhatStartsIt(unittest.TestCase):
    def test_each_rule_is_on_and_has_the_function_as_its_only_target_with_the_dead_letter_queue(self):
        events = cloud.client("events")
        for name in (stack["TrailRuleName"], stack["KeyRuleName"]):
            self.assertEqual(events.describe_rule(Name=name)["State"], "ENABLED")
            self.assertEqual(
                events.list_targets_by_rule(Rule=name)["Targets"],
                [{"Id": "trailseal", "Arn": FUNCTION_ARN, "DeadLetterConfig": {"Arn": UNDELIVERED_ARN}}],
            )

    def test_these_two_rules_and_nothing_else_may_invoke_it(self):
        policy = json.loads(cloud.client("lambda").get_policy(FunctionName=STACK)["Policy"])
        self.assertEqual(
            {(it["Principal"]["Service"], it["Action"]) for it in policy["Statement"]},
            {("events.amazonaws.com", "lambda:InvokeFunction")},
        )
        sources = sorted(it["Condition"]["ArnLike"]["AWS:SourceArn"] for it in policy["Statement"])
        rules = (stack["TrailRuleName"], stack["KeyRuleName"])
        self.assertEqual(sources, sorted(arn("events", f"rule/{it}") for it in rules))

    def test_the_schedule_has_it_sweep_once_a_day(self):
        self.assertEqual(stack["SweepScheduleName"], f"{STACK}-sweep-dry-run")
        schedule = cloud.client("scheduler").get_schedule(Name=stack["SweepScheduleName"])
        target = schedule["Target"]
        self.assertEqual((schedule["State"], schedule["ScheduleExpression"]), ("ENABLED", "rate(1 day)"))
        self.assertEqual(schedule["FlexibleTimeWindow"], {"Mode": "OFF"})
        # With a start date in the future, nothing would be looked at before it.
        self.assertNotIn("StartDate", schedule)
        self.assertEqual((target["Arn"], target["Input"]), (FUNCTION_ARN, '{"sweep": {}}'))
        self.assertEqual(target["DeadLetterConfig"], {"Arn": UNDELIVERED_ARN})
        self.assertEqual(target["RetryPolicy"], {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10})
        self.assertRegex(target["RoleArn"], f"^{SWEEP_ROLE_ARN}$")

    def test_what_handles_and_measures_a_sweep_is_there_before_the_first(self):
        # The emulator makes one thing after the other and sweeps nothing, so the template is read here.
        resources = cloud.template()["Resources"]
        before = resources["SweepSchedule"]["DependsOn"]
        self.assertIn("Retries", before)
        measured = [name for name, it in resources.items() if it["Type"] == "AWS::Logs::MetricFilter"]
        # Sweeps are no remediations to that one.
        self.assertEqual(sorted(set(measured) - set(before)), ["Remediations"])
        self.assertEqual(resources["NoSweepAlarm"]["DependsOn"], "SweepSchedule")

    def test_what_the_schedule_hands_over_is_a_sweep(self):
        schedule = cloud.client("scheduler").get_schedule(Name=stack["SweepScheduleName"])
        answer = cloud.invoke(STACK, json.loads(schedule["Target"]["Input"]))
        self.assertEqual((answer["trigger"]["kind"], answer["error"]), ("sweep", None))

    def test_the_schedules_role_may_start_it_and_park_and_nothing_else(self):
        schedule = cloud.client("scheduler").get_schedule(Name=stack["SweepScheduleName"])
        name = schedule["Target"]["RoleArn"].rpartition("/")[2]
        policies = cloud.role(name)
        allowed = [(it["Effect"], it["Action"], it["Resource"]) for it in policies["Sweep"]["Statement"]]
        self.assertEqual(list(policies), ["Sweep"])
        self.assertEqual(
            allowed,
            [("Allow", "lambda:InvokeFunction", FUNCTION_ARN), ("Allow", "sqs:SendMessage", UNDELIVERED_ARN)],
        )
        [trust] = cloud.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(trust["Principal"], {"Service": "scheduler.amazonaws.com"})
        self.assertEqual(trust["Condition"], {"StringEquals": {"aws:SourceAccount": ACCOUNT}})


class WhereThingsEndUp(unittest.TestCase):
    def test_both_queues_keep_what_they_have_for_two_weeks_encrypted(self):
        for url, queue in ((stack["FailureQueueUrl"], FAILED_ARN), (stack["UndeliveredQueueUrl"], UNDELIVERED_ARN)):
            found = cloud.queue(url)
            self.assertEqual(found["QueueArn"], queue)
            self.assertEqual(found["MessageRetentionPeriod"], "1209600")
            self.assertEqual(found["SqsManagedSseEnabled"], "true")

    def test_the_rules_may_park_what_they_cannot_deliver(self):
        [statement] = json.loads(cloud.queue(stack["UndeliveredQueueUrl"])["Policy"])["Statement"]
        self.assertEqual((statement["Effect"], statement["Action"]), ("Allow", "sqs:SendMessage"))
        self.assertEqual(statement["Principal"], {"Service": "events.amazonaws.com"})
        self.assertEqual(statement["Resource"], UNDELIVERED_ARN)
        rules = [arn("events", f"rule/{stack[it]}") for it in ("TrailRuleName", "KeyRuleName")]
        self.assertEqual(statement["Condition"], {"ArnEquals": {"aws:SourceArn": rules}})

    def test_the_topics_policy_lets_in_the_stacks_alarms_and_nobody_without_tls(self):
        attributes = cloud.client("sns").get_topic_attributes(TopicArn=stack["AlertTopicArn"])["Attributes"]
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
                    "Sid": "NobodyWithoutTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": TOPIC_ARN,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
        )

    def test_nobody_is_subscribed_unasked(self):
        self.assertEqual(cloud.client("sns").list_subscriptions()["Subscriptions"], [])


class WhatIsMeasured(unittest.TestCase):
    def test_each_metric_filter_reads_the_functions_log_into_the_stacks_namespace(self):
        found = cloud.client("logs").describe_metric_filters(logGroupName=stack["LogGroupName"])["metricFilters"]
        self.assertEqual(
            {it["metricTransformations"][0]["metricName"]: it["filterPattern"] for it in found},
            {metric: pattern for metric, (pattern, _) in METRIC_FILTERS.items()},
        )
        for it in found:
            [transformation] = it["metricTransformations"]
            value = METRIC_FILTERS[transformation["metricName"]][1]
            self.assertEqual((transformation["metricNamespace"], transformation["metricValue"]), (STACK, value))

    def test_each_alarm_watches_its_metric_and_tells_the_topic(self):
        alarms = cloud.alarms()
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
                self.assertEqual(it["AlarmActions"], [TOPIC_ARN])

    def test_each_metric_that_an_alarm_of_the_stacks_namespace_watches_is_made_by_a_filter(self):
        watched = {metric for namespace, metric, *_ in ALARMS.values() if namespace == STACK}
        self.assertEqual(watched, set(METRIC_FILTERS))


class TheDashboard(unittest.TestCase):
    def setUp(self):
        body = cloud.client("cloudwatch").get_dashboard(DashboardName=stack["DashboardName"])["DashboardBody"]
        self.widgets = json.loads(body)["widgets"]

    def of(self, kind: str) -> list[dict]:
        return [widget["properties"] for widget in self.widgets if widget["type"] == kind]

    def test_its_name_has_the_region_since_dashboards_are_the_accounts(self):
        self.assertEqual(stack["DashboardName"], f"{STACK}-{HOME}")

    def test_it_shows_every_alarm(self):
        [alarms] = self.of("alarm")
        self.assertEqual(sorted(alarms["alarms"]), sorted(it["AlarmArn"] for it in cloud.alarms().values()))
        self.assertIn("dry-run", alarms["title"])

    def test_its_metrics_are_those_that_exist_and_its_widgets_are_of_this_region(self):
        shown = [row[:2] for widget in self.of("metric") for row in widget["metrics"]]
        self.assertEqual({name for _, name in shown[: len(METRIC_FILTERS)]}, set(METRIC_FILTERS))
        self.assertEqual(shown[0][0], STACK)
        self.assertEqual({widget["region"] for widget in self.of("metric") + self.of("log")}, {HOME})

    def test_its_widgets_do_not_overlap(self):
        taken = [
            (x, y)
            for widget in self.widgets
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        ]
        self.assertEqual(len(taken), len(set(taken)))
        self.assertLessEqual(max(x for x, _ in taken), 23, "a dashboard is 24 wide")

    def test_its_queries_read_the_functions_log_and_fields_that_answers_have(self):
        # The emulator runs such queries over the lines' text and finds no fields in them (cloudwatch_logs.py), so they
        # are held against the schema of the answer.
        schema = json.loads((PROJECT / "docs" / "answer.schema.json").read_text())
        self.assertEqual(len(self.of("log")), 2)
        for widget in self.of("log"):
            source, _, query = widget["query"].partition(" | ")
            self.assertEqual(source, f"SOURCE '{stack['LogGroupName']}'")
            fields = re.findall(r"(?<![@.\w'])[a-z_]+(?:\.\w+)+", query)
            self.assertGreater(len(fields), 3, query)
            for field in fields:
                self.assertIn(field.partition(".")[0], schema["properties"], field)
                self.assertTrue(described(schema, schema, field.split(".")), field)


def described(schema: dict, part: dict, path: list[str]) -> bool:
    """Whether the schema knows what stands there."""
    for choice in part.get("anyOf", [part]):
        if "$ref" in choice:
            choice = schema["$defs"][choice["$ref"].rpartition("/")[2]]
        if not path:
            return True
        name, *rest = path
        if name.isdecimal() and "items" in choice:
            inner = choice["items"]
        elif "additionalProperties" in choice and "properties" not in choice:
            # The summary: how many trails have each outcome.
            outcomes = [it["const"] for it in schema["$defs"]["Outcome"]["oneOf"]]
            inner = choice["additionalProperties"] if name in outcomes else None
        else:
            inner = choice.get("properties", {}).get(name)
        if inner is not None and described(schema, inner, rest):
            return True
    return False

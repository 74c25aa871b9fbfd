"""Which events the deployed rules let through, and what the function makes of each.

A rule that lets too much through costs an invocation; one that keeps back what the function acts on leaves a trail
unsealed. So the deployed patterns are asked about every file in events/, and the function with them.
"""

import json
import unittest
from datetime import datetime, timezone

from account import HOME
from cloud import EVENTS, ROLE, event, open_cloud
from local import ACCOUNT
from look import changes, outcomes

# What EventBridge would do with each file, and what the function does with it: one of its outcomes, or a part of its
# reason to ignore it or of its error. The account has one trail, `audit`, which is sealed.
EVENT_FILES = {
    "console-sign-in": (None, "eventType is `AwsConsoleSignIn`"),
    # Of another account's trail, which nobody here has.
    "create-trail-by-delegated-administrator": ("trail", "gone"),
    "create-trail-console-empty-key": ("trail", "compliant"),
    "create-trail-terraform": ("trail", "compliant"),
    "create-trail-with-key": ("trail", "compliant"),
    "delete-trail": (None, "`DeleteTrail`"),
    "disable-key": ("key", "no trail uses key"),
    "ec2-state-change": (None, "InvalidInput"),
    "get-trail": (None, "`GetTrail`"),
    "put-event-selectors": (None, "`PutEventSelectors`"),
    "put-key-policy": ("key", "no trail uses key"),
    "run-instances": (None, "`RunInstances`"),
    "schedule-key-deletion": ("key", "no trail uses key"),
    # Not a rule's either: a schedule of one's own may start a sweep so.
    "scheduled-event": (None, "compliant"),
    "start-logging-by-service": ("trail", "compliant"),
    "stop-logging-by-arn": ("trail", "compliant"),
    "stop-logging-by-name": ("trail", "compliant"),
    "stop-logging-failed": (None, "`TrailNotFoundException`"),
    "update-trail-by-name": ("trail", "compliant"),
    "update-trail-console-by-arn": ("trail", "compliant"),
    "update-trail-denied": (None, "`AccessDenied`"),
    # CloudTrail takes no such names, so no such event comes. If one did, it would be parked, not passed over silently.
    "update-trail-malformed-arn": ("trail", "InvalidInput"),
    "update-trail-malformed-name": ("trail", "InvalidInput"),
    "update-trail-malformed-region": ("trail", "InvalidInput"),
    "update-trail-nothing-named": ("trail", "names no trail"),
    "update-trail-organization": ("trail", "gone"),
    "update-trail-other-account": (None, "account `210987654321`"),
    "update-trail-parameters-left-out": ("trail", "compliant"),
    "update-trail-parameters-null": ("trail", "compliant"),
    "update-trail-vpc-endpoint": (None, "eventType is `AwsVpceEvent`"),
}
# What is handed over by hand is no event, and no rule is asked about it.
REQUESTS = {"request-by-arn": "compliant", "request-by-name": "compliant", "sweep": "compliant"}

TRAIL = f"arn:aws:cloudtrail:{HOME}:{ACCOUNT}:trail/audit"
TRAIL_EVENTS = ["CreateTrail", "UpdateTrail", "StopLogging", "StartLogging"]
KEY_EVENTS = ["DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy"]


def setUpModule() -> None:
    global cloud, stack
    cloud = open_cloud("rules")
    # In enforce mode, so that whatever writes nothing does so because there is nothing to write.
    stack = cloud.deploy_first("Mode=enforce")
    cloud.make_bucket("audit-logs", HOME)
    cloud.make_trail("audit", "audit-logs")
    cloud.invoke(stack["FunctionName"], {"sweep": {}})


def rule_of(event: dict) -> str | None:
    """Which of the deployed rules lets the event through."""
    matching = [name for name in ("trail", "key") if cloud.matches(stack[f"{name.capitalize()}RuleName"], event)]
    assert len(matching) < 2, f"both rules match, so the function would run twice: {event}"
    return matching[0] if matching else None


def said(answer: dict) -> str:
    """The function's answer in short, as the tables above have it."""
    if "errorType" in answer:
        return f"{answer['errorType']}: {answer['errorMessage']}"
    return answer["ignored"] or ", ".join(outcomes(answer))


class Asked(unittest.TestCase):
    def assert_no_rule(self, base: str, **differences) -> dict:
        """An event that a rule matches, made a near miss of it: `detail__eventName` is a field of `detail`."""
        self.assertIsNotNone(EVENT_FILES[base][0], f"{base} itself must match, or this shows nothing")
        near = event(base)
        for path, value in differences.items():
            *outer, last = path.split("__")
            inner = near
            for name in outer:
                inner = inner[name]
            inner[last] = value
        self.assertIsNone(rule_of(near), f"{base} with {differences}")
        return near

    def assert_none_of_its_business(self, near: dict) -> None:
        answer = cloud.invoke(stack["FunctionName"], near)
        self.assertTrue(
            answer.get("ignored") or answer.get("errorType") == "InvalidInput",
            f"no rule lets it through, but the function acts on it: {json.dumps(answer)}",
        )


class EveryEventFile(Asked):
    def test_each_has_an_entry_here_and_each_entry_a_file(self):
        files = sorted(path.stem for path in EVENTS.glob("*.json"))
        self.assertEqual(sorted([*EVENT_FILES, *REQUESTS]), files)

    def test_an_event_is_let_through_by_the_rule_that_it_should_be(self):
        for name, (rule, _) in EVENT_FILES.items():
            with self.subTest(name):
                self.assertEqual(rule_of(event(name)), rule)

    def test_the_function_answers_each_as_promised_and_writes_nothing(self):
        before = cloud.state([TRAIL])
        for name, answer in {**{name: answer for name, (_, answer) in EVENT_FILES.items()}, **REQUESTS}.items():
            with self.subTest(name):
                self.assertIn(answer, said(cloud.invoke(stack["FunctionName"], event(name))))
        after = cloud.state([TRAIL])
        self.assertEqual(before, after, changes(before, after))

    def test_what_no_rule_lets_through_is_none_of_the_functions_business(self):
        for name, (rule, _) in EVENT_FILES.items():
            if rule is None and name != "scheduled-event":
                with self.subTest(name):
                    self.assert_none_of_its_business(event(name))

    def test_a_request_by_hand_is_no_event(self):
        for name in REQUESTS:
            self.assertNotIn("detail-type", event(name), name)


class NearMisses(Asked):
    def test_a_call_that_failed_matches_no_rule(self):
        for name in ("update-trail-by-name", "disable-key"):
            self.assert_none_of_its_business(self.assert_no_rule(name, detail__errorCode="AccessDenied"))

    def test_another_accounts_event_matches_no_rule(self):
        for name in ("update-trail-by-name", "disable-key"):
            self.assert_none_of_its_business(self.assert_no_rule(name, account="210987654321"))

    def test_the_record_of_a_call_at_a_vpc_endpoint_matches_no_rule(self):
        for name in ("update-trail-by-name", "disable-key"):
            # Either half of it is enough, the record's type and the event's.
            network = "AWS Network Activity Event via CloudTrail"
            self.assert_none_of_its_business(self.assert_no_rule(name, detail__eventType="AwsVpceEvent"))
            self.assert_no_rule(name, **{"detail-type": network})

    def test_an_event_that_is_not_a_call_matches_no_rule(self):
        for kind, event_type in (
            ("AWS Console Sign In via CloudTrail", "AwsConsoleSignIn"),
            ("AWS Service Event via CloudTrail", "AwsServiceEvent"),
            ("AWS Insight via CloudTrail", "AwsCloudTrailInsight"),
        ):
            for name in ("update-trail-by-name", "disable-key"):
                self.assert_no_rule(name, **{"detail-type": kind})
                near = self.assert_no_rule(name, **{"detail-type": kind, "detail__eventType": event_type})
                self.assert_none_of_its_business(near)

    def test_a_call_that_only_reads_matches_no_rule(self):
        for name, calls in (
            ("update-trail-by-name", ["GetTrail", "GetTrailStatus", "DescribeTrails", "ListTrails"]),
            ("disable-key", ["DescribeKey", "GetKeyPolicy", "Decrypt", "GenerateDataKey"]),
        ):
            for call in calls:
                near = self.assert_no_rule(name, detail__eventName=call, detail__readOnly=True)
                self.assert_none_of_its_business(near)

    def test_a_call_that_changes_no_trails_encryption_matches_no_rule(self):
        for name, calls in (
            ("update-trail-by-name", ["DeleteTrail", "PutEventSelectors", "PutInsightSelectors", "AddTags"]),
            ("disable-key", ["EnableKey", "CancelKeyDeletion", "CreateKey", "TagResource", "CreateAlias"]),
        ):
            for call in calls:
                self.assert_none_of_its_business(self.assert_no_rule(name, detail__eventName=call))

    def test_a_call_of_the_same_name_to_another_service_matches_no_rule(self):
        for name, source, service in (
            ("update-trail-by-name", "aws.s3", "s3.amazonaws.com"),
            ("update-trail-by-name", "aws.kms", "kms.amazonaws.com"),
            ("disable-key", "aws.cloudtrail", "cloudtrail.amazonaws.com"),
            ("disable-key", "custom.kms", "kms.example.com"),
        ):
            near = self.assert_no_rule(name, source=source, detail__eventSource=service)
            self.assert_none_of_its_business(near)
            self.assert_no_rule(name, source=source)
            self.assert_no_rule(name, detail__eventSource=service)

    def test_every_call_that_it_acts_on_is_let_through(self):
        for name, rule, calls in (
            ("update-trail-by-name", "trail", TRAIL_EVENTS),
            ("disable-key", "key", KEY_EVENTS),
        ):
            for call in calls:
                near = event(name)
                near["detail"]["eventName"] = call
                self.assertEqual(rule_of(near), rule, call)


class Echo(Asked):
    """trailseal's own calls become events, too. They are let through, and must lead to nothing."""

    @classmethod
    def setUpClass(cls):
        cls.trail = cloud.make_trail("fresh", "audit-logs")
        cls.answer = cloud.invoke(stack["FunctionName"], cloud.trail_event(cls.trail))
        cls.key = cloud.trail(cls.trail).get("KmsKeyId")

    def own(self, event: dict) -> dict:
        """The same event, of a call that the function's role made."""
        event["detail"]["userIdentity"] = {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLEROLE000001:trailseal",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/trailseal",
            "accountId": ACCOUNT,
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "arn": stack["RoleArn"], "accountId": ACCOUNT, "userName": ROLE}
            },
        }
        return event

    def assert_harmless(self, echo: dict, rule: str, trails: int) -> None:
        self.assertEqual(rule_of(echo), rule)
        before, began = cloud.state([TRAIL, self.trail]), datetime.now(timezone.utc)
        answer = cloud.invoke(stack["FunctionName"], echo)
        self.assertEqual(answer["trigger"]["actor"], f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/trailseal")
        self.assertEqual(outcomes(answer), ["compliant"] * trails)
        self.assertEqual(answer["alerts"], {"sent": 0, "failed": 0})
        self.assertEqual(cloud.key_writes(began), [])
        after = cloud.state([TRAIL, self.trail])
        self.assertEqual(before, after, changes(before, after))

    def test_its_update_of_a_trail_comes_back_and_leads_to_nothing(self):
        self.assertEqual(outcomes(self.answer), ["remediated"], "there must be something to echo")
        echo = cloud.trail_event(
            self.trail,
            eventName="UpdateTrail",
            requestParameters={"name": self.trail, "kmsKeyId": self.key},
            responseElements={"name": "fresh", "trailARN": self.trail, "kmsKeyId": self.key},
        )
        self.assert_harmless(self.own(echo), "trail", 1)

    def test_its_change_of_a_key_policy_comes_back_and_leads_to_nothing(self):
        echo = event("put-key-policy")
        echo["detail"]["requestParameters"]["keyId"] = self.key
        echo["detail"]["resources"] = [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": self.key}]
        self.assert_harmless(self.own(echo), "key", 2)

"""Which events the deployed rules match, and how the function responds to each.

An event that a rule matches for nothing costs an invocation. An event that no rule matches can leave a trail
unencrypted. The tests therefore check the deployed patterns and the function with every file in events/.
"""

import json
import unittest
from datetime import datetime, timezone

import botocore.session

from account import HOME
from answers import changes, outcomes
from emulated_account import EVENTS, ROLE, event, start_emulator
from local import ACCOUNT, PROJECT
from test_documents import blocks

# For each file: the rule that matches the event, and the function's response: an outcome, or a part of its reason to
# ignore the event or of its error. The account has one trail, `audit`, which is encrypted.
EVENT_FILES = {
    "console-sign-in": (None, "eventType is `AwsConsoleSignIn`"),
    # The trail belongs to another account.
    "create-trail-by-delegated-administrator": ("trail", "gone"),
    "create-trail-console-empty-key": ("trail", "compliant"),
    "create-trail-terraform": ("trail", "compliant"),
    "create-trail-with-key": ("trail", "compliant"),
    "delete-trail": (None, "`DeleteTrail`"),
    "disable-key": ("key", "no trail uses key"),
    "disable-key-rotation": ("key", "no trail uses key"),
    "ec2-state-change": (None, "InvalidInput"),
    "get-trail": (None, "`GetTrail`"),
    "put-event-selectors": (None, "`PutEventSelectors`"),
    "put-key-policy": ("key", "no trail uses key"),
    "run-instances": (None, "`RunInstances`"),
    "schedule-key-deletion": ("key", "no trail uses key"),
    # Users can start sweeps with a scheduled rule of their own.
    "scheduled-event": (None, "compliant"),
    "start-logging-by-service": ("trail", "compliant"),
    "stop-logging-by-arn": ("trail", "compliant"),
    "stop-logging-by-name": ("trail", "compliant"),
    "stop-logging-failed": (None, "`TrailNotFoundException`"),
    "update-trail-by-name": ("trail", "compliant"),
    "update-trail-console-by-arn": ("trail", "compliant"),
    "update-trail-denied": (None, "`AccessDenied`"),
    # CloudTrail rejects such names. The function fails on them instead of ignoring them, so that they are not lost.
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
# Requests by hand are not events.
REQUESTS = {"request-by-arn": "compliant", "request-by-name": "compliant", "sweep": "compliant"}

TRAIL = f"arn:aws:cloudtrail:{HOME}:{ACCOUNT}:trail/audit"
TRAIL_EVENTS = ["CreateTrail", "UpdateTrail", "StopLogging", "StartLogging"]
KEY_EVENTS = ["DisableKey", "DisableKeyRotation", "ScheduleKeyDeletion", "PutKeyPolicy"]


def setUpModule() -> None:
    global aws, stack
    aws = start_emulator("rules")
    # In dry-run mode, an event that causes no write would prove nothing.
    stack = aws.deploy_first("Mode=enforce")
    aws.make_bucket("audit-logs", HOME)
    aws.make_trail("audit", "audit-logs")
    aws.invoke(stack["FunctionName"], {"sweep": {}})


def matching_rule(event: dict) -> str | None:
    matching = [name for name in ("trail", "key") if aws.rule_matches(stack[f"{name.capitalize()}RuleName"], event)]
    assert len(matching) < 2, f"both rules match, so the function would run twice: {event}"
    return matching[0] if matching else None


def summary(answer: dict) -> str:
    """The function's response in the form of the tables above."""
    if "errorType" in answer:
        return f"{answer['errorType']}: {answer['errorMessage']}"
    return answer["ignored"] or ", ".join(outcomes(answer))


class RulesTestCase(unittest.TestCase):
    def assert_no_rule(self, base: str, **differences) -> dict:
        """Changes an event that a rule matches so that none does. `detail__eventName` is a field of `detail`."""
        self.assertIsNotNone(EVENT_FILES[base][0], f"no rule matches {base}, so the test proves nothing")
        near = event(base)
        for path, value in differences.items():
            *outer, last = path.split("__")
            inner = near
            for name in outer:
                inner = inner[name]
            inner[last] = value
        self.assertIsNone(matching_rule(near), f"{base} with {differences}")
        return near

    def assert_ignored(self, event: dict) -> None:
        answer = aws.invoke(stack["FunctionName"], event)
        self.assertTrue(
            answer.get("ignored") or answer.get("errorType") == "InvalidInput",
            f"no rule matches the event, but the function acts on it: {json.dumps(answer)}",
        )


class EventFiles(RulesTestCase):
    def test_the_tables_list_every_event_file(self):
        files = sorted(path.stem for path in EVENTS.glob("*.json"))
        self.assertEqual(sorted([*EVENT_FILES, *REQUESTS]), files)

    def test_the_expected_rule_matches_each_event(self):
        for name, (rule, _) in EVENT_FILES.items():
            with self.subTest(name):
                self.assertEqual(matching_rule(event(name)), rule)

    def test_the_function_responds_as_expected_and_writes_nothing(self):
        before = aws.state([TRAIL])
        for name, answer in {**{name: answer for name, (_, answer) in EVENT_FILES.items()}, **REQUESTS}.items():
            with self.subTest(name):
                self.assertIn(answer, summary(aws.invoke(stack["FunctionName"], event(name))))
        after = aws.state([TRAIL])
        self.assertEqual(before, after, changes(before, after))

    def test_the_function_ignores_events_that_no_rule_matches(self):
        for name, (rule, _) in EVENT_FILES.items():
            if rule is None and name != "scheduled-event":
                with self.subTest(name):
                    self.assert_ignored(event(name))

    def test_a_request_by_hand_has_no_detail_type(self):
        for name in REQUESTS:
            self.assertNotIn("detail-type", event(name), name)


class NearMisses(RulesTestCase):
    def test_a_failed_call_matches_no_rule(self):
        for name in ("update-trail-by-name", "disable-key"):
            self.assert_ignored(self.assert_no_rule(name, detail__errorCode="AccessDenied"))

    def test_another_accounts_event_matches_no_rule(self):
        for name in ("update-trail-by-name", "disable-key"):
            self.assert_ignored(self.assert_no_rule(name, account="210987654321"))

    def test_a_vpc_endpoint_event_matches_no_rule(self):
        for name in ("update-trail-by-name", "disable-key"):
            # Each of the two types alone prevents a match.
            network = "AWS Network Activity Event via CloudTrail"
            self.assert_ignored(self.assert_no_rule(name, detail__eventType="AwsVpceEvent"))
            self.assert_no_rule(name, **{"detail-type": network})

    def test_an_event_that_is_not_an_api_call_matches_no_rule(self):
        for kind, event_type in (
            ("AWS Console Sign In via CloudTrail", "AwsConsoleSignIn"),
            ("AWS Service Event via CloudTrail", "AwsServiceEvent"),
            ("AWS Insight via CloudTrail", "AwsCloudTrailInsight"),
        ):
            for name in ("update-trail-by-name", "disable-key"):
                self.assert_no_rule(name, **{"detail-type": kind})
                near = self.assert_no_rule(name, **{"detail-type": kind, "detail__eventType": event_type})
                self.assert_ignored(near)

    def test_a_read_only_call_matches_no_rule(self):
        for name, calls in (
            ("update-trail-by-name", ["GetTrail", "GetTrailStatus", "DescribeTrails", "ListTrails"]),
            ("disable-key", ["DescribeKey", "GetKeyPolicy", "Decrypt", "GenerateDataKey"]),
        ):
            for call in calls:
                near = self.assert_no_rule(name, detail__eventName=call, detail__readOnly=True)
                self.assert_ignored(near)

    def test_a_call_that_cannot_break_encryption_matches_no_rule(self):
        for name, calls in (
            ("update-trail-by-name", ["DeleteTrail", "PutEventSelectors", "PutInsightSelectors", "AddTags"]),
            ("disable-key", ["EnableKey", "CancelKeyDeletion", "CreateKey", "TagResource", "CreateAlias"]),
        ):
            for call in calls:
                self.assert_ignored(self.assert_no_rule(name, detail__eventName=call))

    def test_another_services_call_of_that_name_matches_no_rule(self):
        for name, source, service in (
            ("update-trail-by-name", "aws.s3", "s3.amazonaws.com"),
            ("update-trail-by-name", "aws.kms", "kms.amazonaws.com"),
            ("disable-key", "aws.cloudtrail", "cloudtrail.amazonaws.com"),
            ("disable-key", "custom.kms", "kms.example.com"),
        ):
            near = self.assert_no_rule(name, source=source, detail__eventSource=service)
            self.assert_ignored(near)
            self.assert_no_rule(name, source=source)
            self.assert_no_rule(name, detail__eventSource=service)

    def test_a_rule_matches_every_call_that_the_function_handles(self):
        for name, rule, calls in (
            ("update-trail-by-name", "trail", TRAIL_EVENTS),
            ("disable-key", "key", KEY_EVENTS),
        ):
            for call in calls:
                near = event(name)
                near["detail"]["eventName"] = call
                self.assertEqual(matching_rule(near), rule, call)


class OwnEvents(RulesTestCase):
    """The rules also match the function's own calls. Those must change nothing."""

    @classmethod
    def setUpClass(cls):
        cls.trail = aws.make_trail("fresh", "audit-logs")
        cls.answer = aws.invoke(stack["FunctionName"], aws.trail_event(cls.trail))
        cls.key = aws.trail(cls.trail).get("KmsKeyId")

    def as_function(self, event: dict) -> dict:
        """Sets the function's role as the caller of an event."""
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

    def assert_harmless(self, event: dict, rule: str, trails: int) -> None:
        self.assertEqual(matching_rule(event), rule)
        before, start = aws.state([TRAIL, self.trail]), datetime.now(timezone.utc)
        answer = aws.invoke(stack["FunctionName"], event)
        self.assertEqual(answer["trigger"]["actor"], f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/trailseal")
        self.assertEqual(outcomes(answer), ["compliant"] * trails)
        self.assertEqual(answer["alerts"], {"sent": 0, "failed": 0})
        self.assertEqual(aws.key_writes(start), [])
        after = aws.state([TRAIL, self.trail])
        self.assertEqual(before, after, changes(before, after))

    def test_the_event_of_its_own_trail_update_changes_nothing(self):
        self.assertEqual(outcomes(self.answer), ["remediated"], "there must be an update to repeat")
        echo = aws.trail_event(
            self.trail,
            eventName="UpdateTrail",
            requestParameters={"name": self.trail, "kmsKeyId": self.key},
            responseElements={"name": "fresh", "trailARN": self.trail, "kmsKeyId": self.key},
        )
        self.assert_harmless(self.as_function(echo), "trail", 1)

    def test_the_event_of_its_own_key_policy_changes_nothing(self):
        echo = event("put-key-policy")
        echo["detail"]["requestParameters"]["keyId"] = self.key
        echo["detail"]["resources"] = [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": self.key}]
        self.assert_harmless(self.as_function(echo), "key", 2)


class RuleThatWatchesTheRole(unittest.TestCase):
    """The pattern in docs/threat-model.md."""

    KEY = f"arn:aws:kms:{HOME}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"

    def matches(self, **settings) -> bool:
        [pattern] = [it for it in blocks(PROJECT / "docs" / "threat-model.md") if '"UpdateTrail"' in it and "$or" in it]
        issuer = {"arn": "arn:aws:iam::123456789012:role/trailseal-eu-west-1"}
        update = event("update-trail-by-name")
        detail = update["detail"] | {
            "userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": issuer}},
            "requestParameters": {"name": "audit"} | settings,
        }
        pattern = pattern.replace("KEY_ARN", self.KEY)
        tested = aws.client("events").test_event_pattern(
            EventPattern=pattern, Event=json.dumps(update | {"detail": detail})
        )
        return tested["Result"]

    def test_it_matches_every_setting_that_trailseal_never_sends(self):
        model = botocore.session.get_session().get_service_model("cloudtrail").operation_model("UpdateTrail")
        settings = set(model.input_shape.members) - {"Name", "KmsKeyId"}
        self.assertGreater(len(settings), 8)
        for name in settings:
            with self.subTest(name):
                self.assertTrue(self.matches(**{name[0].lower() + name[1:]: True}))

    def test_it_matches_another_key_or_none_but_not_the_sealing_key(self):
        self.assertTrue(self.matches(kmsKeyId=""))
        self.assertTrue(self.matches(kmsKeyId=self.KEY.replace("1234abcd", "another")))
        self.assertFalse(self.matches(kmsKeyId=self.KEY))

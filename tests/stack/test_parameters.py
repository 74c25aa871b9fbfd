"""What the stack's parameters take and refuse.

CloudFormation checks them before it touches anything. A value that it takes and the function does not would be worse
than either: every start of the function would fail, after a deployment that succeeded.
"""

import json
import unittest

from account import HOME
from botocore.exceptions import ClientError
from cloud import STACK, open_cloud
from parameters import COMBINATIONS, KEY, PARAMETERS, ROLE

# How the function fails on an empty input, once it has started.
ORDINARY = "InvalidInput"


def setUpModule() -> None:
    global cloud, template
    cloud = open_cloud("parameters")
    cloud.deploy_first()
    template = json.dumps(cloud.client("cloudformation").get_template(StackName=STACK)["TemplateBody"])


def refusal(parameters: dict[str, str]) -> str | None:
    """Why CloudFormation would not make a stack with these; it makes none either way."""
    cloudformation = cloud.client("cloudformation")
    try:
        made = cloudformation.create_change_set(
            StackName="tried",
            ChangeSetName="tried",
            ChangeSetType="CREATE",
            TemplateBody=template,
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ValidationError", error
        return error.response["Error"]["Message"]
    cloudformation.delete_change_set(ChangeSetName=made["Id"])
    return None


class Taken(unittest.TestCase):
    def test_there_is_an_entry_for_each_parameter(self):
        self.assertEqual(sorted(PARAMETERS), sorted(cloud.parameters()))

    def test_good_values_are_taken(self):
        for name, (_, good, _) in PARAMETERS.items():
            for value in good:
                with self.subTest(f"{name}={value}"):
                    self.assertIsNone(refusal({name: value}))

    def test_bad_values_are_refused_with_the_parameters_name(self):
        for name, (_, _, bad) in PARAMETERS.items():
            for value in bad:
                with self.subTest(f"{name}={value}"):
                    self.assertIn(f"'{name}'", refusal({name: value}) or "taken")

    def test_bad_combinations_are_refused_with_what_to_do(self):
        for parameters, advice in COMBINATIONS:
            self.assertIn(advice, refusal(parameters) or "taken", parameters)

    def test_good_combinations_are_taken(self):
        self.assertIsNone(refusal({"AlertFormat": "chatbot"}))
        self.assertIsNone(refusal({"AlertFormat": "text", "AlertEmail": "ops@example.com"}))


class TheFunction(unittest.TestCase):
    def setUp(self):
        self.client = cloud.client("lambda")
        self.usual = self.client.get_function_configuration(FunctionName=STACK)["Environment"]["Variables"]
        self.addCleanup(self.set)

    def set(self, variable: str | None = None, value: str = "") -> None:
        """With no variable, everything is as it was."""
        changed = self.usual | ({variable: value} if variable else {})
        self.client.update_function_configuration(FunctionName=STACK, Environment={"Variables": changed})

    def start(self) -> str | None:
        """The error that an empty input leads to."""
        return cloud.invoke(STACK, {}).get("errorType")

    def test_it_starts_with_every_value_that_is_taken(self):
        for name, (variable, good, _) in PARAMETERS.items():
            for value in good if variable else []:
                with self.subTest(f"{name}={value}"):
                    self.set(variable, value)
                    self.assertEqual(self.start(), ORDINARY)

    def test_it_does_not_start_with_what_is_refused(self):
        # Or the test above would show nothing.
        for name, value in (
            ("KeyAlias", "alias/aws/s3"),
            ("KeyArns", f"{KEY},{KEY}2"),
            ("KeyTags", "team=a;b"),
            ("KeyTags", " managed-by=me"),
            ("KeyTags", "team=a,team=b"),
            ("KeyTags", "team =a,  team=b"),
            ("KeyTags", ",".join(f"k{number}=v" for number in range(50))),
            ("KeyArns", KEY.replace("arn:aws:", "arn:awsome:")),
            ("LogReaders", f"{ROLE},everybody"),
        ):
            with self.subTest(f"{name}={value}"):
                variable, _, bad = PARAMETERS[name]
                self.assertIn(value, bad)
                self.set(variable, value)
                self.assertNotEqual(self.start(), ORDINARY)


class NothingSet(unittest.TestCase):
    def test_without_a_topic_key_decrypting_is_denied_for_every_key_and_nothing_is_printed(self):
        [never] = [it for it in cloud.role(f"{STACK}-{HOME}")["Never"]["Statement"] if it["Sid"] == "NeverDecrypts"]
        self.assertEqual((never["Resource"], never.get("NotResource")), ("*", None))
        self.assertNotIn("TopicKeyStatement", cloud.outputs(STACK))

    def test_without_a_bus_the_role_may_put_no_events(self):
        self.assertNotIn("events:", json.dumps(cloud.role(f"{STACK}-{HOME}")))

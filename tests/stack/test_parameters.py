"""Which parameter values the stack accepts and rejects.

CloudFormation checks them before it changes anything. A value that CloudFormation accepts and the function rejects would
be the worst case: the deployment succeeds, and then every start of the function fails.
"""

import json
import unittest

from account import HOME
from emulated_account import STACK, start_emulator
from parameters import INVALID_COMBINATIONS, KEY, PARAMETERS, ROLE

# The error of a function that started, on an empty event.
STARTED = "InvalidInput"


def setUpModule() -> None:
    global aws, template
    aws = start_emulator("parameters")
    aws.deploy_first()
    template = json.dumps(aws.client("cloudformation").get_template(StackName=STACK)["TemplateBody"])


def rejection(parameters: dict[str, str]) -> str | None:
    return aws.rejection(template, parameters, "CAPABILITY_AUTO_EXPAND")


class Values(unittest.TestCase):
    def test_the_table_lists_every_parameter(self):
        self.assertEqual(sorted(PARAMETERS), sorted(aws.parameters()))

    def test_cloudformation_accepts_valid_values(self):
        for name, (_, valid, _) in PARAMETERS.items():
            for value in valid:
                with self.subTest(f"{name}={value}"):
                    self.assertIsNone(rejection({name: value}))

    def test_cloudformation_rejects_invalid_values_by_name(self):
        for name, (_, _, invalid) in PARAMETERS.items():
            for value in invalid:
                with self.subTest(f"{name}={value}"):
                    self.assertIn(f"'{name}'", rejection({name: value}) or "accepted")

    def test_the_rejection_of_a_combination_says_what_to_do(self):
        for parameters, advice in INVALID_COMBINATIONS:
            self.assertIn(advice, rejection(parameters) or "accepted", parameters)

    def test_cloudformation_accepts_valid_combinations(self):
        self.assertIsNone(rejection({"AlertFormat": "chatbot"}))
        self.assertIsNone(rejection({"AlertFormat": "text", "AlertEmail": "ops@example.com"}))


class Function(unittest.TestCase):
    def setUp(self):
        self.client = aws.client("lambda")
        self.defaults = self.client.get_function_configuration(FunctionName=STACK)["Environment"]["Variables"]
        self.addCleanup(self.set)

    def set(self, variable: str | None = None, value: str = "") -> None:
        """Restores the defaults and sets one variable, if any."""
        variables = self.defaults | ({variable: value} if variable else {})
        self.client.update_function_configuration(FunctionName=STACK, Environment={"Variables": variables})

    def error_type(self) -> str | None:
        """The function's error on an empty event."""
        return aws.invoke(STACK, {}).get("errorType")

    def test_the_function_starts_with_every_valid_value(self):
        for name, (variable, valid, _) in PARAMETERS.items():
            for value in valid if variable else []:
                with self.subTest(f"{name}={value}"):
                    self.set(variable, value)
                    self.assertEqual(self.error_type(), STARTED)

    def test_the_function_does_not_start_with_invalid_values(self):
        # Without this, the test for accepted values would prove nothing.
        for name, value in (
            ("KeyAlias", "alias/aws/s3"),
            ("KeyArns", f"{KEY},{KEY}2"),
            ("KeyTags", "team=a;b"),
            ("KeyTags", " managed-by=me"),
            ("KeyTags", "team=a,team=b"),
            ("KeyTags", "team =a,  team=b"),
            ("KeyTags", ",".join(f"k{number}=v" for number in range(50))),
            ("KeyArns", KEY.replace("arn:aws:", "arn:awsome:")),
            ("LogReaders", f"{ROLE},everyone"),
        ):
            with self.subTest(f"{name}={value}"):
                variable, _, invalid = PARAMETERS[name]
                self.assertIn(value, invalid)
                self.set(variable, value)
                self.assertNotEqual(self.error_type(), STARTED)


class Defaults(unittest.TestCase):
    def test_without_a_topic_key_decryption_with_any_key_is_denied(self):
        [deny] = [it for it in aws.role_statements(f"{STACK}-{HOME}") if it["Sid"] == "NeverUsesKeys"]
        self.assertEqual((deny["Resource"], deny.get("NotResource")), ("*", None))
        self.assertNotIn("TopicKeyStatement", aws.outputs(STACK))

    def test_without_an_outcome_bus_the_role_cannot_put_events(self):
        allowed = [it for it in aws.role_statements(f"{STACK}-{HOME}") if it["Effect"] == "Allow"]
        self.assertNotIn("events:", json.dumps(allowed))

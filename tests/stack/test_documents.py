"""The AWS CLI would accept the commands in the documents: service, operation, options and required arguments."""

import ast
import itertools
import json
import re
import shlex
import unittest
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import botocore.session
from botocore import xform_name
from botocore.model import Shape
from botocore.validate import ParamValidator

from answer_schema import has_field
from aws_cli import GLOBAL_OPTIONS
from local import PROJECT

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
# The service models do not contain these.
CLI_OPTIONS = GLOBAL_OPTIONS | {"cli-input-json", "max-items"}
CLI_COMMANDS = {
    ("s3", "cp"),
    ("s3", "mb"),
    ("s3", "rb"),
    ("cloudformation", "deploy"),
    ("cloudformation", "package"),
    ("logs", "tail"),
}
SESSION = botocore.session.get_session()


def blocks(path: Path) -> list[str]:
    """The code blocks of a page, with continued lines joined."""
    found = re.findall(r"^ *```\w*\n(.*?)^ *```$", path.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(r" \\\n\s*", " ", block) for block in found]


def commands(path: Path) -> list[list[str]]:
    """The words of each `aws` command, up to a shell operator."""
    found = []
    for block in blocks(path):
        lines = iter(block.splitlines())
        for line in lines:
            # On its own, in a shell function, or in an assignment.
            if start := re.match(r"\s*(?:\w+\(\) \{ |(\w+=\$\())?(?=aws )", line):
                line = line[start.end() :].removesuffix(")" if start[1] else "")
                while (command := words(line)) is None:
                    line += "\n" + next(lines)
                found.append(command)
    return found


def words(text: str) -> list[str] | None:
    """None if a quote is not closed."""
    # The pages also have the command without this substitution.
    lexer = shlex.shlex(re.sub(r" \$\(keep [^)]*\)", "", text), posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    try:
        return list(itertools.takewhile(lambda word: word[:1] not in tuple("|&;>"), lexer))
    except ValueError:
        return None


def error(words: list[str]) -> str | None:
    """Why the CLI would reject a command."""
    _, service, operation, *rest = words
    if (service, operation) in CLI_COMMANDS:
        return None
    service = "s3" if service == "s3api" else service
    if service not in SESSION.get_available_services():
        return f"there is no service {service}"
    model = SESSION.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in operations:
        return f"{service} has no {operation}"
    shape = model.operation_model(operations[operation]).input_shape
    members = {xform_name(name, "-"): (name, it) for name, it in shape.members.items()} if shape else {}
    given, option = {}, None
    # The positional argument is the file for the response.
    for word in rest[:-1] if (service, operation) == ("lambda", "invoke") else rest:
        if word.startswith("--"):
            option = word[2:]
            given[option] = []
        elif option:
            given[option].append(word)
    if "cli-input-json" in given:
        return None
    arguments = {}
    for option, values in given.items():
        if option in CLI_OPTIONS:
            continue
        if option.removeprefix("no-") not in members:
            return f"{service} {operation} has no --{option}"
        name, member = members[option.removeprefix("no-")]
        try:
            arguments[name] = typed(member, values)
        except ValueError as invalid:
            return f"--{option}: {invalid}"
    report = ParamValidator().validate(arguments, shape)
    return report.generate_report() if report.has_errors() else None


def typed(shape: Shape, values: list[str]):
    """Converts an option's values as the CLI does."""
    if len(values) == 1 and values[0].startswith(("[", "{")) and shape.type_name in ("list", "structure", "map"):
        return json.loads(values[0])
    if shape.type_name == "list":
        return [typed(shape.member, [value]) for value in values]
    if shape.type_name == "boolean":
        return True
    if len(values) != 1:
        raise ValueError(f"one value is required, not {values}")
    [value] = values
    if shape.type_name == "structure":
        return structure(shape, value)
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name == "timestamp":
        # The shell computes it.
        return "2026-11-20T10:00:00Z" if value.startswith("$(date ") else value
    allowed = getattr(shape, "enum", [])
    if allowed and value not in allowed and not re.search(r"[A-Z$]{3}", value.replace("_", "")):
        raise ValueError(f"{value} is not one of {allowed}")
    return value


def structure(shape: Shape, text: str) -> dict:
    """The shorthand `Name=value,Name=value`."""
    found = {}
    for pair in text.split(","):
        name, _, value = pair.partition("=")
        if name not in shape.members:
            raise ValueError(f"there is no {name} in {text}")
        member = shape.members[name]
        if member.type_name == "boolean" and value not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {value}")
        found[name] = typed(member, [value])
    return found


class Queries(unittest.TestCase):
    """The emulator cannot run CloudWatch Logs Insights queries, so the test checks their fields."""

    def test_queries_use_only_fields_of_the_answer(self):
        queries = [it for it in blocks(PROJECT / "docs" / "organization.md") if it.startswith("filter ")]
        self.assertGreaterEqual(len(queries), 4)
        for query in queries:
            # Paths of unnested lists, by alias.
            parts = {name: path.split(".") for path, name in re.findall(r"unnest (\S+) into (\w+)", query)}
            for name in re.findall(r"\b(?:detail|event|trail|warning)\.[\w.]+", query):
                path = name.split(".")
                while path[0] in parts:
                    path = [*parts[path[0]], *path[1:]]
                path = path[1:] if path[0] == "event" else path
                with self.subTest(f"{name} of {query}"):
                    self.assertEqual(path[:2], ["detail", "responsePayload"])
                    self.assertTrue(has_field(path[2:]), path)


class DeploymentWithoutToolchain(unittest.TestCase):
    """What the section says to upload is what its link, its Terraform, and its CDK deploy."""

    TEMPLATE = "https://BUCKET.s3.REGION.amazonaws.com/trailseal-VERSION.yaml"

    @classmethod
    def setUpClass(cls):
        text = (PROJECT / "docs" / "operations.md").read_text()
        section = re.search(r"^## Deployment without a toolchain\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
        found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        (_, cls.upload), (_, cls.link), (hcl, cls.terraform), (python, cls.cdk) = found
        assert (hcl, python) == ("hcl", "python")
        template = (PROJECT / "template.yaml").read_text()
        cls.parameters = re.findall(r"^  (\w+):$", template.partition("\nRules:")[0], re.MULTILINE)

    def test_the_commands_upload_the_packaged_template(self):
        self.assertRegex(self.upload, r"--output-template-file packaged\.yaml\n")
        self.assertIn('aws s3 cp packaged.yaml "s3://BUCKET/trailseal-VERSION.yaml"\n', self.upload)

    def test_the_link_opens_the_uploaded_template(self):
        fragment = urlsplit(self.link.strip()).fragment
        path, _, query = fragment.partition("?")
        self.assertEqual(path, "/stacks/create/review")
        self.assertEqual(dict(parse_qsl(query)), {"stackName": "trailseal", "templateURL": self.TEMPLATE})

    def test_terraform_deploys_the_uploaded_template(self):
        block = re.fullmatch(
            r'resource "aws_cloudformation_stack" "trailseal" (\{\n.*^\}\n)', self.terraform, re.DOTALL | re.MULTILINE
        )[1]
        # The block has one attribute a line, so this makes it JSON.
        text = re.sub(r"^( *)(\w+) += ", r'\1"\2": ', block, flags=re.MULTILINE)
        stack = json.loads(re.sub(r'(["\]}])\n(?= *")', r"\1,\n", text))
        self.assertTrue(set(stack.pop("parameters")) <= set(self.parameters))
        self.assertEqual(
            stack,
            {
                "name": "trailseal",
                "template_url": self.TEMPLATE,
                "capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            },
        )

    def test_cdk_includes_the_packaged_template(self):
        calls = [it for it in ast.walk(ast.parse(self.cdk)) if isinstance(it, ast.Call)]
        [include] = [it for it in calls if ast.unparse(it.func) == "CfnInclude"]
        self.assertEqual({it.arg: it.value.value for it in include.keywords}, {"template_file": "packaged.yaml"})
        self.assertEqual(ast.unparse(include.args[0]), "Stack(app, 'trailseal')")


class Documents(unittest.TestCase):
    def test_the_cli_accepts_every_command(self):
        count = 0
        for path in DOCUMENTS:
            for command in commands(path):
                count += 1
                with self.subTest(f"{path.name}: {shlex.join(command)}"):
                    self.assertIsNone(error(command))
        self.assertGreater(count, 40)

    def test_invalid_commands_are_detected(self):
        for command, message in [
            ("aws cloudtrial get-trail --name x", "there is no service cloudtrial"),
            ("aws cloudtrail get-trails", "cloudtrail has no get-trails"),
            ("aws cloudtrail get-trail --trail x", "cloudtrail get-trail has no --trail"),
            ("aws cloudtrail get-trail", "Missing required parameter"),
            (
                "aws cloudformation create-stack-set --stack-set-name x --auto-deployment Enable=true",
                "there is no Enable",
            ),
            ("aws cloudformation create-stack-set --stack-set-name x --permission-model managed", "is not one of"),
        ]:
            self.assertIn(message, error(shlex.split(command)) or "accepted")

"""Commands in the documents are ones that the AWS CLI would take: service, operation, options, and what is required."""

import itertools
import json
import re
import shlex
import unittest
from pathlib import Path

import botocore.session
from botocore import xform_name
from botocore.model import Shape
from botocore.validate import ParamValidator
from local import PROJECT

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
# The CLI's own, and what is not in the services' models.
OF_THE_CLI = {"region", "query", "output", "cli-read-timeout", "cli-binary-format", "cli-input-json", "max-items"}
OWN_COMMANDS = {("s3", "cp"), ("s3", "mb"), ("s3", "rb"), ("cloudformation", "deploy"), ("logs", "tail")}
SESSION = botocore.session.get_session()


def blocks(path: Path) -> list[str]:
    """What stands in code fences, also in lists; each command in one line."""
    found = re.findall(r"^ *```\w*\n(.*?)^ *```$", path.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(r" \\\n\s*", " ", block) for block in found]


def commands(path: Path) -> list[list[str]]:
    """The words of each, up to where the shell takes over."""
    found = []
    for block in blocks(path):
        lines = iter(block.splitlines())
        for line in lines:
            # By itself, in a function of the page's, or for a variable.
            if begins := re.match(r"\s*(?:\w+\(\) \{ |(\w+=\$\())?(?=aws )", line):
                line = line[begins.end() :].removesuffix(")" if begins[1] else "")
                while (read := words(line)) is None:
                    line += "\n" + next(lines)
                found.append(read)
    return found


def words(text: str) -> list[str] | None:
    """None in the middle of a quotation."""
    # What a function of the page puts in is as in another command there.
    lexer = shlex.shlex(re.sub(r" \$\(keep [^)]*\)", "", text), posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    try:
        return list(itertools.takewhile(lambda word: word[:1] not in tuple("|&;>"), lexer))
    except ValueError:
        return None


def refusal(words: list[str]) -> str | None:
    """Why the CLI would not take it."""
    _, service, operation, *rest = words
    if (service, operation) in OWN_COMMANDS:
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
    # Its one positional argument is the file for the answer.
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
        if option in OF_THE_CLI:
            continue
        if option.removeprefix("no-") not in members:
            return f"{service} {operation} has no --{option}"
        name, member = members[option.removeprefix("no-")]
        try:
            arguments[name] = typed(member, values)
        except ValueError as error:
            return f"--{option}: {error}"
    report = ParamValidator().validate(arguments, shape)
    return report.generate_report() if report.has_errors() else None


def typed(shape: Shape, values: list[str]):
    """As the CLI reads the values of an option."""
    if len(values) == 1 and values[0].startswith(("[", "{")) and shape.type_name in ("list", "structure", "map"):
        return json.loads(values[0])
    if shape.type_name == "list":
        return [typed(shape.member, [value]) for value in values]
    if shape.type_name == "boolean":
        return True
    if len(values) != 1:
        raise ValueError(f"one value is wanted, not {values}")
    [value] = values
    if shape.type_name == "structure":
        return structure(shape, value)
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name == "timestamp":
        # The shell makes it.
        return "2026-11-20T10:00:00Z" if value.startswith("$(date ") else value
    allowed = getattr(shape, "enum", [])
    if allowed and value not in allowed and not re.search(r"[A-Z$]{3}", value.replace("_", "")):
        raise ValueError(f"{value} is none of {allowed}")
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


def has(schema: dict, path: list[str], root: dict) -> bool:
    """Whether values of that schema have something there."""
    if "$ref" in schema:
        return has(root["$defs"][schema["$ref"].rpartition("/")[2]], path, root)
    if options := schema.get("anyOf", schema.get("oneOf")):
        return any(has(it, path, root) for it in options)
    if not path:
        return True
    if "items" in schema:
        return has(schema["items"], path, root)
    return path[0] in schema.get("properties", {}) and has(schema["properties"][path[0]], path[1:], root)


class Queries(unittest.TestCase):
    """Nothing here runs queries of CloudWatch Logs Insights; the fields that they ask for can be looked up."""

    def test_they_ask_for_fields_that_answers_have(self):
        schema = json.loads((PROJECT / "docs" / "answer.schema.json").read_text())
        queries = [it for it in blocks(PROJECT / "docs" / "organization.md") if it.startswith("filter ")]
        self.assertEqual(len(queries), 4)
        for query in queries:
            # What is taken apart, by the name that its parts get.
            parts = {name: path.split(".") for path, name in re.findall(r"unnest (\S+) into (\w+)", query)}
            for name in re.findall(r"\b(?:detail|event|trail|warning)\.[\w.]+", query):
                path = name.split(".")
                while path[0] in parts:
                    path = [*parts[path[0]], *path[1:]]
                path = path[1:] if path[0] == "event" else path
                with self.subTest(f"{name} of {query}"):
                    self.assertEqual(path[:2], ["detail", "responsePayload"])
                    self.assertTrue(has(schema, path[2:], schema), path)


class Documents(unittest.TestCase):
    def test_every_command_is_one_that_the_cli_takes(self):
        seen = 0
        for path in DOCUMENTS:
            for command in commands(path):
                seen += 1
                with self.subTest(f"{path.name}: {shlex.join(command)}"):
                    self.assertIsNone(refusal(command))
        self.assertGreater(seen, 50)

    def test_wrong_commands_are_found(self):
        for wrong, why in [
            ("aws cloudtrial get-trail --name x", "there is no service cloudtrial"),
            ("aws cloudtrail get-trails", "cloudtrail has no get-trails"),
            ("aws cloudtrail get-trail --trail x", "cloudtrail get-trail has no --trail"),
            ("aws cloudtrail get-trail", "Missing required parameter"),
            ("aws cloudformation create-stack-set --stack-set-name x --auto-deployment Enable=true", "there is no Enable"),
            ("aws cloudformation create-stack-set --stack-set-name x --permission-model managed", "is none of"),
        ]:
            self.assertIn(why, refusal(shlex.split(wrong)) or "taken")

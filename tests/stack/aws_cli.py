"""Runs the AWS CLI commands in the stack's outputs and alarms without the AWS CLI."""

import re
import shlex

import jmespath
from botocore import xform_name

# Options of the CLI itself. Each has a value.
GLOBAL_OPTIONS = {"region", "query", "output", "cli-read-timeout", "cli-binary-format"}


class Command:
    """A parsed `aws SERVICE OPERATION ...` command. Raises AssertionError if the AWS CLI would not accept it."""

    def __init__(self, text: str):
        words = shlex.split(text)
        assert words[0] == "aws", text
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
        assert not re.search(r"[*?\[]", unquoted), f"a shell could expand a pattern: {text}"
        self.service, self.operation = words[1:3]
        self.positional, self.options = [], {}
        rest = iter(words[3:])
        for word in rest:
            if word.startswith("--"):
                self.options[word[2:]] = next(rest)
            else:
                self.positional.append(word)
        self.globals = {name: self.options.pop(name) for name in list(self.options) if name in GLOBAL_OPTIONS}

    def run(self, account):
        """Returns the response, or the result of `--query` on it."""
        client = account.client(self.service, self.globals["region"])
        if (self.service, self.operation) == ("logs", "tail"):
            return self._tail(client)
        methods = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        operation = client.meta.service_model.operation_model(methods[self.operation])
        members = {xform_name(name, "-"): (name, shape) for name, shape in operation.input_shape.members.items()}
        arguments = {members[option][0]: typed(members[option][1], value) for option, value in self.options.items()}
        if self.service == "lambda":
            # The positional argument is the file for the response.
            assert len(self.positional) == 1, self.positional
            assert self.globals["cli-binary-format"] == "raw-in-base64-out", "the CLI would decode the payload as base64"
        else:
            assert not self.positional, self.positional
        response = getattr(client, xform_name(methods[self.operation]))(**arguments)
        query = self.globals.get("query")
        return jmespath.search(query, response) if query else response

    def _tail(self, client) -> list[str]:
        """`aws logs tail GROUP` is a command of the CLI, not an API operation. It calls FilterLogEvents."""
        [group] = self.positional
        assert set(self.options) <= {"since", "format", "filter-pattern"}, self.options
        assert re.fullmatch(r"\d+[smhdw]", self.options["since"]), self.options
        assert self.options.get("format", "detailed") in ("detailed", "short", "json"), self.options
        pattern = self.options.get("filter-pattern", "")
        events = client.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]
        return [event["message"] for event in events]


def typed(shape, value: str):
    """Converts an option's value as the CLI does."""
    if shape.type_name == "integer":
        return int(value)
    if shape.type_name == "list":
        return [value]
    assert shape.type_name in ("string", "blob"), shape
    return value


def commands(text: str) -> list[Command]:
    """Every command in a text. A command extends to the end of its sentence."""
    found = re.findall(r"aws [a-z]+ [a-z-]+(?: '[^']*'| [^\s']*[^\s'.])+", text)
    return [Command(command) for command in found]

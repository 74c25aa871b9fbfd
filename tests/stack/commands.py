"""Commands of the AWS CLI, as the stack's outputs and alarms print them, performed without the AWS CLI."""

import re
import shlex

import jmespath
from botocore import xform_name

# Options of the CLI itself; each takes a value.
OF_THE_CLI = {"region", "query", "output", "cli-read-timeout", "cli-binary-format"}


class Command:
    """`aws SERVICE OPERATION ...`: what it asks for, if it is a command that the AWS CLI would take."""

    def __init__(self, text: str):
        words = shlex.split(text)
        assert words[0] == "aws", text
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
        assert not re.search(r"[*?\[]", bare), f"a shell may take this for names of files: {text}"
        self.service, self.operation = words[1:3]
        self.positional, self.options = [], {}
        rest = iter(words[3:])
        for word in rest:
            if word.startswith("--"):
                self.options[word[2:]] = next(rest)
            else:
                self.positional.append(word)
        self.globals = {name: self.options.pop(name) for name in list(self.options) if name in OF_THE_CLI}

    def perform(self, client):
        """The answer, or what `--query` makes of it."""
        if (self.service, self.operation) == ("logs", "tail"):
            return self._tail(client)
        methods = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        operation = client.meta.service_model.operation_model(methods[self.operation])
        members = {xform_name(name, "-"): (name, shape) for name, shape in operation.input_shape.members.items()}
        arguments = {members[option][0]: typed(members[option][1], value) for option, value in self.options.items()}
        if self.service == "lambda":
            # Its one positional argument is the file for the answer.
            assert len(self.positional) == 1, self.positional
            assert self.globals["cli-binary-format"] == "raw-in-base64-out", "or the payload would be read as base64"
        else:
            assert not self.positional, self.positional
        answer = getattr(client, xform_name(methods[self.operation]))(**arguments)
        query = self.globals.get("query")
        return jmespath.search(query, answer) if query else answer

    def _tail(self, client) -> list[str]:
        """`aws logs tail GROUP` is the CLI's own; it asks FilterLogEvents."""
        [group] = self.positional
        assert set(self.options) <= {"since", "format", "filter-pattern"}, self.options
        assert re.fullmatch(r"\d+[smhdw]", self.options["since"]), self.options
        assert self.options.get("format", "detailed") in ("detailed", "short", "json"), self.options
        pattern = self.options.get("filter-pattern", "")
        events = client.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]
        return [event["message"] for event in events]


def typed(shape, value: str):
    """As the CLI reads an option of that type."""
    if shape.type_name == "integer":
        return int(value)
    if shape.type_name == "list":
        return [value]
    assert shape.type_name in ("string", "blob"), shape
    return value


def commands(text: str) -> list[Command]:
    """Every command in a text, up to the end of its sentence."""
    found = re.findall(r"aws [a-z]+ [a-z-]+(?: '[^']*'| [^\s']*[^\s'.])+", text)
    return [Command(it) for it in found]

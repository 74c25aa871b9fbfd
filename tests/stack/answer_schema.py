"""The fields of the function's answer, as docs/answer.schema.json describes them."""

import json

from local import PROJECT

SCHEMA = json.loads((PROJECT / "docs" / "answer.schema.json").read_text())
OUTCOMES = [outcome["const"] for outcome in SCHEMA["$defs"]["Outcome"]["oneOf"]]


def has_field(path: list[str], part: dict = SCHEMA) -> bool:
    """Whether answers can have this field. A list's index may be given or omitted."""
    if "$ref" in part:
        part = SCHEMA["$defs"][part["$ref"].rpartition("/")[2]]
    if alternatives := part.get("anyOf", part.get("oneOf")):
        return any(has_field(path, alternative) for alternative in alternatives)
    if not path:
        return True
    name, *rest = path
    if "items" in part:
        return has_field(rest if name.isdecimal() else path, part["items"])
    if name in part.get("properties", {}):
        return has_field(rest, part["properties"][name])
    # The summary has a number for each outcome.
    return name in OUTCOMES and "additionalProperties" in part and has_field(rest, part["additionalProperties"])

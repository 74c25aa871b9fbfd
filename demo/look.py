"""What the demo looks for in the function's answers and in what the emulator holds."""

import difflib
import json


def short(arn: str | None) -> str:
    """A key's Region and the beginning of its id."""
    if not arn:
        return "none"
    region, key = arn.split(":")[3], arn.rpartition("/")[2]
    return f"{region} {key[:8]}"


def outcomes(answer: dict) -> list[str]:
    return [trail["outcome"] for trail in answer.get("trails", [])]


def steps(answer: dict) -> list[str]:
    return [f"{step['step']} {step['status']}" for trail in answer.get("trails", []) for step in trail["steps"]]


def warnings(answer: dict) -> dict[str, str]:
    return {warning["id"]: warning["detail"] for trail in answer.get("trails", []) for warning in trail["warnings"]}


def without_key(trail: dict) -> dict:
    return {name: value for name, value in trail.items() if name != "KmsKeyId"}


def granted(statement: dict) -> dict:
    """A statement without its name."""
    return {name: value for name, value in statement.items() if name != "Sid"}


def cloudtrails(policy: dict) -> list[dict]:
    cloudtrail = {"Service": "cloudtrail.amazonaws.com"}
    return [statement for statement in policy["Statement"] if statement["Principal"] == cloudtrail]


def changes(before: dict, after: dict) -> str:
    old, new = (json.dumps(state, indent=1, default=str, sort_keys=True).splitlines() for state in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm="", n=1))

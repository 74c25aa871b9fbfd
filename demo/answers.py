"""Reads the function's answers, and compares states of the emulated account."""

import difflib
import json


def short_key(arn: str | None) -> str:
    """A key's Region and the first characters of its ID."""
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


def without_sid(statement: dict) -> dict:
    return {name: value for name, value in statement.items() if name != "Sid"}


def cloudtrail_statements(policy: dict) -> list[dict]:
    cloudtrail = {"Service": "cloudtrail.amazonaws.com"}
    return [statement for statement in policy["Statement"] if statement["Principal"] == cloudtrail]


def changes(before: dict, after: dict) -> str:
    old, new = (json.dumps(state, indent=1, default=str, sort_keys=True).splitlines() for state in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm="", n=1))

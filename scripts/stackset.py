"""The template for a StackSet, from template.yaml.

The SAM translator expands it, because StackSets with service-managed permissions do not support transforms
(https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStackSet.html). The code is in a bucket that every
account can read. Names do not contain the stack's name, because it differs in each account.
"""

import json
from pathlib import Path

from translate import TemplateError, translated

# CloudFormation's limit for a template that is passed directly:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
BODY = 51_200
# The longest name derived from it is NAME-outcomes-REGION. IAM's limit is 64 characters.
NAME = {
    "Type": "String",
    "Description": (
        "The function's name in every account, and the prefix of the names of its roles, rules, bus, topic, queues and alarms. "
        "StackSets choose the names of the stacks."
    ),
    "AllowedPattern": "^[a-zA-Z][a-zA-Z0-9-]{0,39}$",
    "ConstraintDescription": "must be at most 40 letters, digits or hyphens, starting with a letter",
    "Default": "trailseal",
}
CODE_BUCKET = {
    "Type": "String",
    "Description": (
        "The bucket with the function's code, in the Region of the stacks. Every account must be allowed to read it. The stack of "
        "hub.yaml creates one."
    ),
    "AllowedPattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    "ConstraintDescription": "must be a bucket name",
}


def stackset(template: Path, arch: str, sha256: str) -> str:
    """The template for code that was built for `arch` and is in the bucket under its SHA-256."""
    result = use_name_parameter(translated(template))
    parameters = result["Parameters"]
    parameters["Architecture"] |= {"AllowedValues": [arch], "Default": arch}
    result["Parameters"] = {"Name": NAME, "CodeBucket": CODE_BUCKET, **parameters}
    interface = result["Metadata"]["AWS::CloudFormation::Interface"]
    interface["ParameterGroups"].insert(
        0, {"Label": {"default": "What is deployed?"}, "Parameters": ["Name", "CodeBucket"]}
    )
    interface["ParameterLabels"] |= {"Name": {"default": "Name"}, "CodeBucket": {"default": "Bucket with the code"}}
    function = result["Resources"]["Function"]
    # The object's name is its hash, so that CloudFormation deploys changed code.
    function["Properties"]["Code"] = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": f"{sha256}.zip"}
    # SAM's build settings and tags.
    del function["Metadata"], function["Properties"]["Tags"]
    first = ("AWSTemplateFormatVersion", "Description")
    return text({name: result[name] for name in (*first, *(it for it in result if it not in first))})


def text(template: dict) -> str:
    """The template as JSON, with one line for each parameter and resource. Indented, it would exceed CloudFormation's limit."""

    def section(name: str, value) -> str:
        if not isinstance(value, dict):
            return f"{json.dumps(name)}: {json.dumps(value)}"
        entries = (f"  {json.dumps(key)}: {json.dumps(it)}" for key, it in value.items())
        return json.dumps(name) + ": {\n" + ",\n".join(entries) + "\n}"

    result = "{\n" + ",\n".join(section(*it) for it in template.items()) + "\n}\n"
    if len(result.encode()) > BODY:
        raise TemplateError(f"the template for StackSets has {len(result.encode())} bytes, but CloudFormation accepts {BODY}: shorten descriptions in template.yaml")
    return result


def use_name_parameter(value):
    """Replaces the stack's name by the parameter `Name`."""
    if isinstance(value, dict):
        return {name: use_name_parameter(it) for name, it in value.items()}
    if isinstance(value, list):
        return [use_name_parameter(it) for it in value]
    if value == "AWS::StackName":
        return "Name"
    return value.replace("${AWS::StackName}", "${Name}") if isinstance(value, str) else value

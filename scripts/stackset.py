"""The template for a StackSet: template.yaml as the SAM translator makes it, since StackSets with service-managed permissions
take no transform (https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStackSet.html), with the code in a
bucket that every account can read, and with names that do not hang on the stack's, which is another in each account.
"""

import json
from pathlib import Path

from translate import Refused, translated

# What CloudFormation takes without a bucket for the template:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
BODY = 51_200
# Of the longest name made of it, NAME-outcomes-REGION, IAM takes 64 characters.
NAME = {
    "Type": "String",
    "Description": (
        "What the function is called in every account; the names of its roles, rules, bus, topic, queues and alarms begin with it. "
        "StackSets name the stacks themselves."
    ),
    "AllowedPattern": "^[a-zA-Z][a-zA-Z0-9-]{0,39}$",
    "ConstraintDescription": "must be at most 40 letters, digits and dashes, the first a letter",
    "Default": "trailseal",
}
CODE_BUCKET = {
    "Type": "String",
    "Description": (
        "The bucket that has the function's code, in the Region of the stacks; every account must be let in. The stack of hub.yaml has "
        "one."
    ),
    "AllowedPattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    "ConstraintDescription": "must be the name of a bucket",
}


def stackset(template: Path, arch: str, sha256: str) -> str:
    """For code that was built for `arch` and lies in the bucket under its SHA-256."""
    found = named(translated(template))
    parameters = found["Parameters"]
    parameters["Architecture"] |= {"AllowedValues": [arch], "Default": arch}
    found["Parameters"] = {"Name": NAME, "CodeBucket": CODE_BUCKET, **parameters}
    interface = found["Metadata"]["AWS::CloudFormation::Interface"]
    interface["ParameterGroups"].insert(
        0, {"Label": {"default": "What is deployed?"}, "Parameters": ["Name", "CodeBucket"]}
    )
    interface["ParameterLabels"] |= {"Name": {"default": "Name"}, "CodeBucket": {"default": "Bucket with the code"}}
    function = found["Resources"]["Function"]
    # Its name is what it holds: other code is another name, and CloudFormation sees that there is something to deploy.
    function["Properties"]["Code"] = {"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": f"{sha256}.zip"}
    # How SAM builds it, and that SAM deployed it.
    del function["Metadata"], function["Properties"]["Tags"]
    first = ("AWSTemplateFormatVersion", "Description")
    return text({name: found[name] for name in (*first, *(it for it in found if it not in first))})


def text(template: dict) -> str:
    """As JSON, a line for each parameter, resource and so on: indented, it would be too long to be passed on as it is."""

    def section(name: str, value) -> str:
        if not isinstance(value, dict):
            return f"{json.dumps(name)}: {json.dumps(value)}"
        entries = (f"  {json.dumps(key)}: {json.dumps(it)}" for key, it in value.items())
        return json.dumps(name) + ": {\n" + ",\n".join(entries) + "\n}"

    found = "{\n" + ",\n".join(section(*it) for it in template.items()) + "\n}\n"
    if len(found.encode()) > BODY:
        raise Refused(f"the template for StackSets has {len(found.encode())} bytes, of {BODY} that CloudFormation takes: shorten descriptions in template.yaml")
    return found


def named(value):
    """With the parameter `Name` where the stack's name is."""
    if isinstance(value, dict):
        return {name: named(it) for name, it in value.items()}
    if isinstance(value, list):
        return [named(it) for it in value]
    if value == "AWS::StackName":
        return "Name"
    return value.replace("${AWS::StackName}", "${Name}") if isinstance(value, str) else value

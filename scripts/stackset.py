"""Generates the StackSet template from template.yaml.

The SAM translator expands the template, because StackSets with service-managed permissions do not support transforms
(https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStackSet.html). The code comes from a bucket that every
account can read. Resource names contain the parameter `Name` instead of the stack's name, which StackSets generate.
"""

import json
from pathlib import Path

from translate import TemplateError, translated

# CloudFormation's limit, in bytes, for a template in the request body:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
BODY = 51_200
# At most 40 characters, because IAM limits the name of the role NAME-outcomes-REGION to 64.
NAME = {
    "Type": "String",
    "Description": (
        "Name of the function in every account. The names of its roles, rules, event bus, topic, queues, and alarms begin with it."
    ),
    "AllowedPattern": "^[a-zA-Z][a-zA-Z0-9-]{0,39}$",
    "ConstraintDescription": "must be at most 40 letters, digits, and hyphens, and begin with a letter",
    "Default": "trailseal",
}
CODE_BUCKET = {
    "Type": "String",
    "Description": (
        "Name of the bucket that contains the function's code, in the Region of the stacks. Its policy must allow every account to "
        "read it. hub.yaml creates such a bucket."
    ),
    "AllowedPattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    "ConstraintDescription": "must be a bucket name",
}

CODE_VERSION = {
    "Type": "String",
    "Description": (
        "Version ID of the code in the bucket, so that no later version is deployed. Leave empty for the latest version."
    ),
    "AllowedPattern": "^[a-zA-Z0-9._-]{0,1024}$",
    "ConstraintDescription": "must be the version ID of an object, or empty",
    "Default": "",
}


def stackset(template: Path, arch: str, sha256: str) -> str:
    """The StackSet template for code that is built for `arch` and stored in the bucket as SHA256.zip."""
    result = use_name_parameter(translated(template))
    parameters = result["Parameters"]
    parameters["Architecture"] |= {"AllowedValues": [arch], "Default": arch}
    result["Parameters"] = {"Name": NAME, "CodeBucket": CODE_BUCKET, "CodeVersion": CODE_VERSION, **parameters}
    result["Conditions"]["PinsCode"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeVersion"}, ""]}]}
    interface = result["Metadata"]["AWS::CloudFormation::Interface"]
    interface["ParameterGroups"].insert(
        0, {"Label": {"default": "What is deployed?"}, "Parameters": ["Name", "CodeBucket", "CodeVersion"]}
    )
    function = result["Resources"]["Function"]
    # The object's name contains the hash, because CloudFormation updates the function only if this property changes.
    function["Properties"]["Code"] = {
        "S3Bucket": {"Ref": "CodeBucket"},
        "S3Key": f"{sha256}.zip",
        "S3ObjectVersion": {"Fn::If": ["PinsCode", {"Ref": "CodeVersion"}, {"Ref": "AWS::NoValue"}]},
    }
    # Only SAM uses the build settings and tags.
    del function["Metadata"], function["Properties"]["Tags"]
    first = ("AWSTemplateFormatVersion", "Description")
    return text({name: result[name] for name in (*first, *(it for it in result if it not in first))})


def text(template: dict) -> str:
    """The template as JSON, one line per parameter and resource. Full indentation would exceed CloudFormation's limit."""

    def section(name: str, value) -> str:
        if not isinstance(value, dict):
            return f"{json.dumps(name)}: {json.dumps(value)}"
        entries = (f"  {json.dumps(key)}: {json.dumps(it)}" for key, it in value.items())
        return json.dumps(name) + ": {\n" + ",\n".join(entries) + "\n}"

    result = "{\n" + ",\n".join(section(*it) for it in template.items()) + "\n}\n"
    if len(result.encode()) > BODY:
        raise TemplateError(
            f"the StackSet template has {len(result.encode())} bytes, but CloudFormation accepts at most {BODY}: "
            "shorten the descriptions in template.yaml"
        )
    return result


def use_name_parameter(value):
    """Replaces the stack's name with the parameter `Name`."""
    if isinstance(value, dict):
        return {name: use_name_parameter(it) for name, it in value.items()}
    if isinstance(value, list):
        return [use_name_parameter(it) for it in value]
    if value == "AWS::StackName":
        return "Name"
    return value.replace("${AWS::StackName}", "${Name}") if isinstance(value, str) else value

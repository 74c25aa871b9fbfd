"""What template.yaml comes to: CloudFormation's own resources, as the SAM translator makes them.

Wants the Python of .tools/sam, where the translator is; asks nothing over the network and wants no credentials.
Intrinsic functions stay as they are.
"""

import logging
import os
from pathlib import Path

import yaml

# The translator asks boto3 for a Region; which one it is shows nowhere in the result.
os.environ["AWS_DEFAULT_REGION"] = "eu-west-1"

from samtranslator.parser.parser import Parser  # noqa: E402
from samtranslator.public.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.translator import Translator  # noqa: E402


class Refused(Exception):
    """The translator does not take the template; the text says why."""


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags."""


def _intrinsic(loader: Loader, suffix: str, node: yaml.Node) -> dict:
    """`!Ref x` is `{"Ref": "x"}`, `!GetAtt a.b` is `{"Fn::GetAtt": ["a", "b"]}`, and so on."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _intrinsic)


def translated(path: Path) -> dict:
    """The template, with the function's code at a place in S3 that there is none of."""
    template = yaml.load(path.read_text(), Loader)
    # The code is uploaded by `sam`, before AWS translates; the translator takes nothing but a place in S3.
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://code/function.zip"
    logging.disable(logging.CRITICAL)
    try:
        # No names of managed policies to look up: the role is the template's own.
        return Translator({}, Parser()).translate(template, parameter_values={})
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise Refused(f"the SAM translator refuses {path.name}: {causes or error.message}") from error
    finally:
        logging.disable(logging.NOTSET)

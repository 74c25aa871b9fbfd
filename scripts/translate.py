"""Expands a SAM template to plain CloudFormation with the SAM translator.

Needs the Python of .tools/sam, but no network or credentials. Does not resolve intrinsic functions.
"""

import logging
import os
from pathlib import Path

import yaml

# The translator requires a Region, but the result does not depend on it.
os.environ["AWS_DEFAULT_REGION"] = "eu-west-1"

from samtranslator.parser.parser import Parser
from samtranslator.public.exceptions import InvalidDocumentException
from samtranslator.translator.translator import Translator


class TemplateError(Exception):
    """The template is invalid. The message says why."""


class Loader(yaml.SafeLoader):
    """A YAML loader that supports the short form of CloudFormation's intrinsic functions."""


def _intrinsic(loader: Loader, suffix: str, node: yaml.Node) -> dict:
    """Converts the short form to the full one: `!GetAtt a.b` becomes `{"Fn::GetAtt": ["a", "b"]}`."""
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
    """The expanded template, with a placeholder for the function's code in S3."""
    template = yaml.load(path.read_text(), Loader)
    # The translator accepts only code in S3, where `sam` uploads it before AWS expands the template.
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://code/function.zip"
    logging.disable(logging.CRITICAL)
    try:
        # No managed policies, because the template uses none.
        return Translator({}, Parser()).translate(template, parameter_values={})
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise TemplateError(f"the SAM translator rejects {path.name}: {causes or error.message}") from error
    finally:
        logging.disable(logging.NOTSET)

"""JSON Schema of the whole contract language, steps included, for editors."""

from __future__ import annotations

from typing import Any

import msgspec

from clearwell.contract.fields import PrivacyShape
from clearwell.contract.language import json_schema
from clearwell.steps.step import Step
from clearwell.steps.table import STEPS


def language_schema() -> dict[str, Any]:
    """The schema that `clearwell contract schema` prints and docs/reference/contract.schema.json holds."""
    return json_schema({step.verb: step_schema(step) for step in STEPS})


def step_schema(step: type[Step]) -> dict[str, Any]:
    """The arguments of one step: what its fields say, with conditions and privacy filled in."""
    schema: dict[str, Any] = msgspec.json.schema(step)["$defs"][step.__name__]
    known = {"when": {"$ref": "#/$defs/condition"}, "privacy": PrivacyShape().schema()}
    properties: dict[str, Any] = schema["properties"]
    for name in known.keys() & properties.keys():
        properties[name] |= known[name]
    schema["description"] = " ".join(schema["description"].split())
    del schema["title"]
    if "parse" in vars(step):  # its one field is the whole argument, as in rename
        (schema,) = properties.values()
    return schema

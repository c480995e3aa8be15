"""The last look at what a pipeline kept: does it have the types that the contract declares? (Decision 0026.)

The decoder, each step and each constant are exact by themselves, so this never fails while they are right. It looks at
some events of every batch, since a mistake of ours in a pipeline shows in nearly all of them, and costs 0.3 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.contract.values import INT_BOUNDS
from clearwell.errors import Fatal
from clearwell.pipeline.wire_types import python_type

EVERY = 64
"""The first event of a batch is looked at, and each one of so many after it."""


class Leaving:
    """Holds what leaves a pipeline to the clean schema."""

    def __init__(self, schema: CleanSchema) -> None:
        declared: list[Any] = [(f"_{at}", _exact(field)) for at, field in enumerate(schema.fields)]
        names = {f"_{at}": field.name for at, field in enumerate(schema.fields)}
        struct = msgspec.defstruct("Leaving", declared, gc=False, forbid_unknown_fields=True, rename=names)
        self._decode = msgspec.json.Decoder(struct).decode
        self._called = f"{schema.stream} v{schema.version}"

    def check(self, values: Sequence[bytes]) -> None:
        """Raise Fatal when a clean event (JSON) is not of the schema's types: better no event than a wrong one."""
        try:
            for value in values[::EVERY]:
                self._decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise Fatal(  # the decoder's own words could quote data (invariant 9)
                f"The pipeline of {self._called} made a clean event that is not of the types its contract declares: "
                "nothing of this batch is passed on. This is a mistake of Clearwell: report it with the contract."
            ) from None


def _exact(field: Field) -> Any:
    """The type of a clean field with all that the decoder can hold it to."""
    exact: Any = python_type(field)
    if field.type in INT_BOUNDS and not field.is_protected_text:
        low, high = INT_BOUNDS[field.type]
        exact = Annotated[int, Meta(ge=low, le=high)]
    elif field.type is Type.LIST and field.items in INT_BOUNDS and not field.is_protected_text:
        low, high = INT_BOUNDS[field.items]
        exact = list[Annotated[int, Meta(ge=low, le=high)]]
    return exact if field.required else exact | None

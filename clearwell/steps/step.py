"""What a step is: arguments that check themselves, an effect on the fields, and the Python it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import msgspec

from clearwell.contract.fields import PrivacyShape
from clearwell.contract.model import Field
from clearwell.errors import nearest
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Scope, Wrong

PrivacyOfNew = Annotated[
    Any,
    msgspec.Meta(
        title="a class of privacy",
        description="Protection of the new field; needed when it is computed from a protected one.",
        extra_json_schema=PrivacyShape().schema(),
    ),
]
"""The `privacy` argument of steps that compute a field; `Scope.privacy` reads it."""

OfField = Annotated[Any, msgspec.Meta(title="a value of the field's type")]

Action = Literal["reject", "clip", "flag"]
_MISSING = "Object missing required field `"
_WORDS = {"array": "a list", "object": "a map", "str": "text", "int": "a whole number", "float": "a number"}
_WORDS |= {"bool": "true or false", "null": "nothing"}

T = TypeVar("T", bound=msgspec.Struct)


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all steps. The docstring of a subclass is its page in the reference; its fields are its arguments.

    Null in, null out, and a null never fails a step, unless the step's own page says otherwise. Steps do no I/O.
    """

    verb: ClassVar[str]
    family: ClassVar[str]
    example: ClassVar[str]

    @classmethod
    def parse(cls, args: Any) -> Self:
        """The step from what the contract says. Raises Wrong."""
        return convert(cls, args)

    def effect(self, scope: Scope) -> None:
        """Check the arguments against the fields, then change the fields as this step will. Raises Wrong."""
        raise NotImplementedError

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        """Write the Python that does it. `before` and `after` are the fields around this step."""
        raise NotImplementedError

    def lookback(self) -> int:
        """How many raw offsets back this step's memory reaches; 0 when it remembers nothing."""
        return 0


def convert(cls: type[T], args: Any) -> T:
    """`args` as a `cls`, with nothing cast. Raises Wrong with the nearest spelling."""
    if not isinstance(args, dict):
        raise Wrong("The arguments must be a map, such as {field: name}.")
    known = [field.encode_name for field in msgspec.structs.fields(cls)]
    for name in args:
        if name not in known:
            raise Wrong(f'There is no argument "{name}".{nearest(str(name), known)}', str(name))
    try:
        return msgspec.convert(args, cls)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        if message.startswith(_MISSING):
            raise Wrong(f'The argument "{message.removeprefix(_MISSING).rstrip("`")}" is missing.') from error
        where = path.rstrip("`").replace("[...]", "")
        said = re.sub("`(\\w+)`", lambda match: _WORDS.get(match[1], match[0]), message)
        raise Wrong(f"{said}{f' for {where}' if where else ''}.", *where.split(".")) from error

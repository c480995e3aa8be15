"""What steps remember of one partition. All of it can be rebuilt from the tail of the raw topic.

Distances are counted in raw offsets, so that what is remembered is a function of the log and not of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from clearwell.contract.model import Field, Type
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Wrong

LONG = 64
"""Characters or bytes; of longer values a digest is remembered, so that a sender can't choose what memory they take."""


class Recent:
    """What each key (an identity, an entity) last came with, for at least the last `window` raw offsets.

    Two generations: `now` takes new values; when it spans a window it becomes `before`, and the older one is forgotten.
    So memory is bounded by two windows and a batch, and forgetting costs nothing an event.
    """

    __slots__ = ("before", "now", "since", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.now: dict[Any, Any] = {}
        self.before: dict[Any, Any] = {}
        self.since: int | None = None

    def turn(self, offset: int) -> None:
        """Called with a batch's first offset, before the batch."""
        if self.since is None:
            self.since = offset
        elif offset - self.since > self.window:
            self.before, self.now, self.since = self.now, {}, offset


def emit_key(code: Code, fields: Sequence[Field]) -> str:
    """An expression for what these fields say: hashable, of bounded size, None where a lone field is null."""
    parts = [_part(code, field) for field in fields]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def check_key(field: Field, *path: str | int) -> None:
    """Raise Wrong when the values of a field don't tell apart."""
    if field.type in (Type.JSON, Type.LIST, Type.FLOAT64):
        raise Wrong(f'"{field.name}" is {field.type}, which does not tell events apart.', *path)


def _part(code: Code, field: Field) -> str:
    variable = code.variable(field.name)
    if field.type not in (Type.STRING, Type.BYTES) or (field.max_length or LONG + 1) <= LONG:
        return variable
    digest = code.reference("digest", digest_of)
    null = "" if field.required else f"{variable} is None or "
    return f"({variable} if {null}_len({variable}) <= {LONG} else {digest}({variable}))"


def digest_of(value: str | bytes) -> bytes | str:
    """What stands for a long value: never equal to a short one, since it is of the other type."""
    if isinstance(value, str):
        return blake2b(value.encode(), digest_size=20).digest()
    return blake2b(value, digest_size=20).hexdigest()

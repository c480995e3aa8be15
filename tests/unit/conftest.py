"""A small contract around the fields and steps under test, run through the real pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from clearwell.contract.load import parse
from clearwell.contract.model import Contract
from clearwell.pipeline import RawBatch, Rejected
from clearwell.pipeline.compiler import Pipeline, compile
from clearwell.privacy.memory_keyring import MemoryKeyring

HEAD = """\
stream: things
version: 1
owner: team@example.com
key: id
event_id: id
event_time: at
{more}
fields:
  id: {{type: string, required: true}}
  at: {{type: timestamp, required: true}}
"""

AT = "2013-01-01T10:00:00Z"


def contract_of(fields: str, steps: Sequence[str] = (), more: str = "") -> Contract:
    """A contract with `id`, `at` and the given fields ("name: {...}" a line) and steps."""
    text = HEAD.format(more=more) + "".join(f"  {line}\n" for line in fields.strip().splitlines() if line.strip())
    if steps:
        text += "steps:\n" + "".join(f"  - {step}\n" for step in steps)
    return parse(text, "things/v1.yaml")


class Things:
    """A pipeline and one partition of it; each call is the next event."""

    def __init__(self, contract: Contract) -> None:
        self.pipeline: Pipeline = compile(contract, MemoryKeyring())
        self._state = self.pipeline.new_state()
        self._offset = 0

    def at(self, offset: int) -> Things:
        """Go on at a later offset."""
        self._offset = offset
        return self

    def raw(self, value: bytes | None) -> dict[str, Any] | Rejected | str:
        """The clean event, or Rejected, or the name of the step that dropped it."""
        out = self.pipeline.process(RawBatch("T" * 22, 0, [self._offset], [value]), self._state)
        self._offset += 1
        assert len(out.offsets) + len(out.dropped) + len(out.rejected) == 1
        if out.rejected:
            return out.rejected[0]
        if out.dropped:
            return out.dropped[0][1]
        clean: dict[str, Any] = msgspec.json.decode(out.values[0])
        return clean

    def one(self, **event: Any) -> Any:
        """Like `raw`, for an event of these fields; `id` and `at` are filled in."""
        return self.raw(msgspec.json.encode({"id": f"e{self._offset}", "at": AT} | event))

    def value(self, field: str, **event: Any) -> Any:
        """The clean value of one field of such an event."""
        clean = self.one(**event)
        assert isinstance(clean, dict), clean
        return clean[field]


@pytest.fixture
def things() -> Callable[..., Things]:
    """Make `Things` of (fields, steps, more)."""
    return lambda fields, steps=(), more="": Things(contract_of(fields, steps, more))

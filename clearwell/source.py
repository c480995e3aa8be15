"""The protocol a connector implements. A source is a noun; a new one costs one file and one entry-point line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec

Position = Mapping[str, Any]
"""Where to go on reading: a small JSON object that only its source understands."""


EVENT_LIMIT = 1_048_576
"""Bytes of the largest event that enters a raw topic; larger ones become a note (`refuse`). The topics allow for it."""

NOTE_HEAD = 1_024
"""Bytes of a refused event that its note keeps, for the one who looks at the dead letter."""


class Refusal(StrEnum):
    """Why a source could make no event of an item: a closed list, so that no header can bring data into a reason."""

    TOO_LARGE = f"the event is larger than {EVENT_LIMIT} bytes"
    ROW_WIDTH = "the row has more or fewer values than the header"
    NOT_UTF8 = "the row is not UTF-8"
    QUOTES = "the quotes of the row do not match"


class SourceEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as the source gave it.

    `id` is stable: reading the same item again gives the same id. `data` is the event as JSON bytes, untouched where
    the source speaks JSON (malformed included: the cleaner judges, not the source). `refused` is the reason why the
    source could not make an event of an item: such an item still goes to the raw
    topic and becomes a dead letter, so that nothing is lost and its neighbours flow (invariant 5).
    """

    id: str
    data: bytes
    refused: Refusal | None = None


def refuse(event_id: str, size: int, head: bytes) -> SourceEvent:
    """The note that stands in for an event of `size` bytes, over EVENT_LIMIT; `head` is how it begins.

    The note is not JSON whatever the head is, so that the cleaner can only reject it.
    """
    note = f"refused: the event has {size} bytes; at most {EVENT_LIMIT} are taken; it begins: "
    return SourceEvent(event_id, note.encode() + head[:NOTE_HEAD], Refusal.TOO_LARGE)


@dataclass(frozen=True, slots=True)
class DiscoveredStream:
    """What a source offers: a name, field names with their contract types, and a few sample rows."""

    name: str
    fields: Mapping[str, str]
    sample: tuple[Mapping[str, Any], ...] = ()


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every source's configuration; unknown keys are refused, and the class is also the spec.

    Mark a field `Annotated[str, PATH]` when it is a path (relative to the spec file), `Annotated[str, SECRET]` when it
    is a secret: then only a reference such as `${env:NAME}` is accepted (invariant 10).
    """


PATH = msgspec.Meta(extra={"clearwell": "path"})
SECRET = msgspec.Meta(extra={"clearwell": "secret"})


class Source(Protocol):
    """Reads events in batches and says where it is. Made by `Source(config)`, which does no I/O.

    Obligations: ids are stable; `read(after)` resumes after the last event of the batch that came with `after`,
    without loss; the items of a batch are in the source's order. What may be raised: ConfigError for what the user can
    mend, Retryable for what may pass.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SourceConfig]]

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`, references already resolved."""

    def check(self) -> None:
        """Prove that the source can be read; raise ConfigError or Retryable with one clear sentence."""

    def discover(self) -> list[DiscoveredStream]:
        """The streams on offer, with types and sample rows."""

    def read(self, after: Position | None) -> AsyncIterator[tuple[list[SourceEvent], Position]]:
        """Batches of events, each with the position after its last event; ends when the source is exhausted."""

    async def close(self) -> None:
        """Let go of everything; calling it again is harmless."""

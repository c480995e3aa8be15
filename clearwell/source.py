"""The protocol a connector implements. A source is a noun; a new one costs one file and one entry-point line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

Position = Mapping[str, Any]
"""Where to go on reading: a small JSON object that only its source understands."""


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """One event as the source gave it.

    `id` is stable: reading the same item again gives the same id. `data` is the event as JSON bytes, untouched where
    the source speaks JSON (malformed included: the cleaner judges, not the source).
    """

    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class DiscoveredStream:
    """What a source offers: a name, field names with their contract types, and a few sample rows."""

    name: str
    fields: Mapping[str, str]
    sample: tuple[Mapping[str, Any], ...] = ()


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every source's configuration; unknown keys are refused, and the class is also the spec."""


class Source(Protocol):
    """Reads events in batches and says where it is.

    Obligations: ids are stable; `read(after)` resumes after the last event of the batch that came with `after`,
    without loss; the items of a batch are in the source's order. What may be raised: ConfigError for what the user can
    mend, Retryable for what may pass.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SourceConfig]]

    def check(self) -> None:
        """Prove that the source can be read; raise ConfigError or Retryable with one clear sentence."""

    def discover(self) -> list[DiscoveredStream]:
        """The streams on offer, with types and sample rows."""

    def read(self, after: Position | None) -> AsyncIterator[tuple[list[SourceEvent], Position]]:
        """Batches of events, each with the position after its last event; ends when the source is exhausted."""

    async def close(self) -> None:
        """Let go of everything; calling it again is harmless."""

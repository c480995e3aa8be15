"""The destination in memory keeps every obligation of a destination that a store without tables can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from clearwell.contract.model import CleanSchema
from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.testing import DestinationSuite


class MemoryCase:
    """A store of its own."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def destination(self, schema: CleanSchema, group: str) -> MemoryDestination:
        """On that store."""
        return MemoryDestination(self.store, schema, group)

    def rows(self) -> Sequence[dict[str, Any]]:
        """The rows, with where they came from."""
        return [
            row | {"_raw_topic": at.raw_topic, "_raw_partition": at.raw_partition, "_raw_offset": at.raw_offset}
            for at, row in self.store.rows.values()
        ]


class TestMemory(DestinationSuite):
    """Without a server."""

    outlives = False
    cannot: ClassVar[dict[str, str]] = {
        "test_other_type": "memory has no tables whose types could differ",
        "test_other_key": "memory has no tables whose key could differ",
    }
    skipped: ClassVar[dict[str, str]] = {"test_what_can_not_work_is_told": "memory is always there"}

    @pytest.fixture
    def case(self) -> MemoryCase:
        """A store of its own."""
        return MemoryCase()

"""What an archive holds, as Polars reads it and as it opens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars
from deltalake import DeltaTable

from clearwell.destinations.archive import ArchivedEvent, open_event
from clearwell.privacy.keyring import Keyring

Place = tuple[str, int, int]
"""Raw topic id, partition, offset."""


def rows_in(url: Path | str) -> list[dict[str, Any]]:
    """All rows, in no order; none where there is no table."""
    if not DeltaTable.is_deltatable(str(url)):
        return []
    return polars.scan_delta(str(url)).collect().to_dicts()


def place_of(row: dict[str, Any]) -> Place:
    """Where in raw a row's event was."""
    return (row["_raw_topic"], row["_raw_partition"], row["_raw_offset"])


def opened(keyring: Keyring, stream: str, rows: Iterable[dict[str, Any]]) -> dict[Place, ArchivedEvent]:
    """The events by place; each is there once."""
    found: dict[Place, ArchivedEvent] = {}
    for row in rows:
        assert place_of(row) not in found, "one event twice"
        found[place_of(row)] = open_event(keyring, stream, row)
    return found

"""What an archive holds, as Polars reads it and as it opens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars
from deltalake import DeltaTable

from clearwell.destinations.lake.archive import ArchivedEvent, open_event
from clearwell.privacy.keyring import Keyring

Place = tuple[str, int, int]
"""Raw topic id, partition, offset."""


def rows_in(url: Path | str, options: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """All rows, in no order; none where there is no table. `options` are what an object store's client is told."""
    told = None if options is None else dict(options)
    if not DeltaTable.is_deltatable(str(url), told):
        return []
    return polars.scan_delta(str(url), storage_options=told).collect().to_dicts()


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

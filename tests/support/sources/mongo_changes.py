"""A collection in the embedded MongoDB-wire server, followed by a change stream."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from pymongo import MongoClient

from clearwell.settings import Settings


class MongoChangesCase:
    """With `snapshot` the documents are there before the first read; else all come as changes since the case began."""

    kind = "mongo_changes"
    finite = False

    def __init__(self, url: str, name: str, *, snapshot: bool = False) -> None:
        self.config: dict[str, Any] = {"url": url, "collection": name, "snapshot": snapshot}
        if not snapshot:
            self.config["start_at"] = (datetime.now(UTC) - timedelta(seconds=2)).isoformat()
        self.broken: dict[str, dict[str, Any]] = {
            "a server that is not there": {"url": "mongodb://someone:secret@127.0.0.1:1/none"},
            "a wrong password": {"url": url.replace("mongodb://", "mongodb://someone:wrong@")},
            "no URL": {"url": "://"},
            "no database": {"url": url.rpartition("/")[0]},
            "a wrong stage": {"pipeline": [{"$none": {}}]},
        }
        self._client = MongoClient[dict[str, Any]](url)
        self.collection = self._client.get_default_database()[name]
        self._filled = 0

    def fill(self, count: int) -> None:
        """Insert the next `count` documents."""
        numbers = range(self._filled, self._filled + count)
        self.collection.insert_many([{"_id": n, "id": f"k{n}", "at": "2026-01-01T00:00:00Z", "n": n} for n in numbers])
        self._filled += count

    def number(self, data: bytes) -> int:
        """The document's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Drop the collection."""
        self.collection.drop()
        self._client.close()


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> MongoChangesCase:
    """A collection of its own."""
    return MongoChangesCase(settings.mongo, unique("documents"))

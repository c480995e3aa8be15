"""Files of one folder, a few events each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from clearwell.settings import Settings


class FileCase:
    """Every `fill` writes one more NDJSON file."""

    kind = "file"
    finite = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config: dict[str, Any] = {"path": str(folder), "batch_events": 100}
        self._filled = 0
        self._files = 0

    @property
    def broken(self) -> Mapping[str, Mapping[str, Any]]:
        """A path that leads nowhere, and a file of no known format."""
        (self.folder / "events.what").write_bytes(b"{}\n")
        return {
            "no such file": {"path": str(self.folder / "nowhere.ndjson")},
            "no format": {"path": str(self.folder / "events.what")},
        }

    def fill(self, count: int) -> None:
        """Write the next `count` events into a new file."""
        self.write(
            b"".join(
                b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n' % (n, n)
                for n in range(self._filled, self._filled + count)
            )
        )
        self._filled += count

    def put(self, data: bytes) -> None:
        """Write a file of one line."""
        self.write(data + b"\n")

    def write(self, content: bytes) -> None:
        """A new file that sorts after those before; it appears whole."""
        path = self.folder / f"{self._files:06}.ndjson"
        path.with_suffix(".part").write_bytes(content)
        path.with_suffix(".part").rename(path)
        self._files += 1

    def number(self, data: bytes) -> int:
        """The event's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Nothing to let go of: the test's folder goes by itself."""


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> FileCase:
    """A folder of its own."""
    return FileCase(folder / unique("files"))

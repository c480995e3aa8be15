"""Lines of a file behind the hostile source, with a fault to choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from clearwell.settings import Settings
from clearwell.testing.hostile import Fault


class HostileCase:
    """Without a fault the suite passes."""

    kind = "hostile"

    def __init__(self, folder: Path, fault: Fault = Fault.NONE, *, finite: bool = True) -> None:
        self.finite = finite
        self._path = folder / "lines"
        self._path.touch()
        self._filled = 0
        self.config: dict[str, Any] = {"path": str(self._path), "fault": fault.value, "endless": not finite}
        self.broken: Mapping[str, Mapping[str, Any]] = {"wrong password": {"password": "not-this-one"}}

    def fill(self, count: int) -> None:
        """Append the next `count` lines."""
        for n in range(self._filled, self._filled + count):
            self.put(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}' % (n, n))
        self._filled += count

    def put(self, data: bytes) -> None:
        """Append a line."""
        with self._path.open("ab") as file:
            file.write(data + b"\n")

    def number(self, data: bytes) -> int:
        """The event's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Nothing to let go of."""


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> HostileCase:
    """A file of its own."""
    return HostileCase(folder)


INSTALLED = {"hostile": "clearwell.testing.hostile:HostileSource", "lax": "clearwell.testing.hostile:LaxSource"}


def install(site: Path) -> Path:
    """Make `site` a folder of installed packages that offers the hostile sources; to be put on `sys.path`."""
    info = site / "hostile_sources-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-sources\nVersion: 1.0\n")
    entries = "\n".join(f"{kind} = {place}" for kind, place in INSTALLED.items())
    (info / "entry_points.txt").write_text(f"[clearwell.sources]\n{entries}\n")
    return site

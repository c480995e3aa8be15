"""A kind of source from a package of its own, whose server keeps something for each connector: a file called `slot`."""

from __future__ import annotations

from pathlib import Path

import pytest

MODULE = '''
from pathlib import Path
from typing import Annotated, ClassVar
import asyncio
from clearwell.errors import ConfigError, Retryable
from clearwell.source import PATH, SourceConfig, SourcePosition, DiscoveredStream

class Config(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A folder.

    folder: where it is.
    """
    folder: Annotated[str, PATH]

class Position(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    n: int

class KeptSource:
    """Reads nothing, and notes each time that it begins to in the file `reads`."""
    name: ClassVar[str] = "kept"
    Config, Position = Config, Position
    id_fields = ()

    def __init__(self, config):
        self._folder = Path(config.folder)

    def check(self):
        pass

    def discover(self):
        return [DiscoveredStream("kept", {})]

    async def read(self, after):
        with (self._folder / "reads").open("a") as reads:
            reads.write("read\\n")
        if (self._folder / "down").exists():
            raise Retryable("The server is down.")
        await asyncio.sleep(3600)
        yield [], after

    async def close(self):
        pass

    def dispose(self):
        if (self._folder / "locked").exists():
            raise ConfigError("The slot is in use: end its reader.")
        (self._folder / "slot").unlink(missing_ok=True)

    def between(self, old, new):
        return f"{(old.n if old else 0) - (new.n if new else 0)} events are read again."

class SentSource:
    """Is sent its events."""
    name: ClassVar[str] = "sent"
    Config = Config
    id_fields = ()

    def __init__(self, config):
        pass

    def check(self):
        pass

    def discover(self):
        return []

    def receive(self, request):
        return []

    async def close(self):
        pass
'''


def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the kinds "kept" and "sent" as a package in the folder `site`, for this process and this test."""
    (site / "kept_for_tests.py").write_text(MODULE)
    info = site / "kept_for_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kept-for-tests\nVersion: 1.0\n")
    entries = "kept = kept_for_tests:KeptSource\nsent = kept_for_tests:SentSource\n"
    (info / "entry_points.txt").write_text(f"[clearwell.sources]\n{entries}")
    monkeypatch.syspath_prepend(str(site))

"""Singer taps over a file of JSON lines: our small one, which is quick to start, and a real one from PyPI."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from clearwell.settings import Settings

SAMPLE = Path(__file__).with_name("sample_tap.py")


class SingerCase:
    """The tap `tap-sample`, a command on the PATH as long as the case is open."""

    kind = "singer"
    finite = True

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        command = path.parent / "bin" / "tap-sample"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!{sys.executable}\n{SAMPLE.read_text()}")
        command.chmod(0o755)
        self._before = {name: os.environ.get(name) for name in ("PATH", "CLEARWELL_TAPS")}
        os.environ["PATH"] = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        os.environ["CLEARWELL_TAPS"] = "tap-sample"
        self.config: dict[str, Any] = {
            "tap": "tap-sample",
            "stream": "events",
            "config": {"path": str(path), "state_every": 5},
            "batch_events": 100,
        }
        self.broken: dict[str, dict[str, Any]] = {
            "no such stream": {"stream": "event"},
            "a setting is missing": {"config": {}},
            "not allowed": {"tap": "tap-other"},
            "no requirement": {"pip": "tap-sample @ file:///etc"},
        }
        self._filled = 0

    def fill(self, count: int) -> None:
        """Append the next `count` lines."""
        with self.path.open("ab") as file:
            for n in range(self._filled, self._filled + count):
                file.write(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n' % (n, n))
        self._filled += count

    def number(self, data: bytes) -> int:
        """The record's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """The environment as it was."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> SingerCase:
    """A file of its own."""
    return SingerCase(folder / f"{unique('events')}.jsonl")

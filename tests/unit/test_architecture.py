"""ARCHITECTURE.md names rooms and files that are there, and every room."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()


def test_what_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:clearwell|services|connectors|tests|docs|schemas)/[\w/.]*[\w/])`", PAGE))
    assert len(named) > 40
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_it_names_every_room() -> None:
    rooms = {folder.parent.name for folder in (ROOT / "clearwell").glob("*/__init__.py")}
    assert not [room for room in sorted(rooms) if f"`{room}/`" not in PAGE]

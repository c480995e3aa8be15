"""The guide's page about dead letters: run from top to bottom, on a platform of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guide

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_page(tmp_path: Path) -> None:
    """It prints what it says; the accounts add up after a fix, a replay, a drop, a park and a delivery."""
    guide.run(guide.blocks("dead-letters.md"), tmp_path, within=800)

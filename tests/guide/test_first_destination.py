"""The guide's page "Your first destination": run from top to bottom, on a platform of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guide

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_page(tmp_path: Path) -> None:
    """It prints what it says; the table and the files hold the four orders."""
    guide.run(guide.blocks("first-destination.md"), tmp_path, within=800)

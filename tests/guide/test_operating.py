"""The guide's page about operating: run from top to bottom, on a platform of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guide

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_page(tmp_path: Path) -> None:
    """It prints what it says of a stream that is paused, resumed, scaled, widened and removed while it runs."""
    guide.run(guide.blocks("operating.md"), tmp_path, within=800)

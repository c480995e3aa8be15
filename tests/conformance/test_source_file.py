"""The file source passes the suite, in each of its forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.testing import SourceSuite
from tests.support.sources.file import FileCase


class TestFolder(SourceSuite):
    """A folder of NDJSON files."""

    options = {"batch_events": 4}

    @pytest.fixture
    def case(self, tmp_path: Path) -> FileCase:
        """The folder."""
        return FileCase(tmp_path / "in")

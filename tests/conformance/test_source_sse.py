"""The source sse passes the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clearwell.testing import SourceSuite
from tests.support.sources.sse import SseCase

pytestmark = pytest.mark.slow


class TestSse(SourceSuite):
    """Gone on with where it stopped."""

    options = {"batch_events": 5}

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[SseCase]:
        """The server."""
        one = SseCase(tmp_path)
        yield one
        one.close()

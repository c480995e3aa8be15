"""The source websocket passes the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clearwell.testing import SourceSuite
from tests.support.sources.websocket import WebSocketCase

pytestmark = pytest.mark.slow


class TestWebSocket(SourceSuite):
    """Gone on with where it stopped."""

    options = {"batch_events": 5}
    ids_may_repeat = True

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[WebSocketCase]:
        """The server."""
        one = WebSocketCase(tmp_path)
        yield one
        one.close()

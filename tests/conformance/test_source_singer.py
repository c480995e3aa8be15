"""The singer source keeps every obligation of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from clearwell.settings import Settings
from clearwell.testing import SourceSuite
from tests.support.sources.singer import SingerCase, open_case

pytestmark = pytest.mark.slow


class TestSingerSource(SourceSuite):
    """On a real server."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 5}

    @pytest.fixture
    def case(self, stack: Settings, tmp_path: Path, unique: Callable[[str], str]) -> Iterator[SingerCase]:
        """A case of its own."""
        made = open_case(stack, tmp_path, unique)
        yield made
        made.close()

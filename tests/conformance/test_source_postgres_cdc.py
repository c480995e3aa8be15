"""`postgres_cdc` over the embedded Postgres: as a stream of changes, and as a snapshot that the stream follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from clearwell.settings import Settings
from clearwell.testing import SourceSuite
from tests.support.sources.postgres_cdc import PostgresCdcCase

pytestmark = pytest.mark.slow


class TestPostgresCdcStream(SourceSuite):
    """All rows come as changes; a batch may end in the middle of a transaction."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 3}

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> Iterator[PostgresCdcCase]:
        case = PostgresCdcCase(stack.postgres, unique("changes"))
        yield case
        case.close()


class TestPostgresCdcSnapshot(SourceSuite):
    """All rows are there before the first read, which makes slot and publication."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 5}
    most_cancellations: ClassVar[int] = 30

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> Iterator[PostgresCdcCase]:
        case = PostgresCdcCase(stack.postgres, unique("rows"), snapshot=True)
        yield case
        case.close()

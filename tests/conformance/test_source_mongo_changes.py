"""`mongo_changes` over the embedded MongoDB-wire server: as a stream of changes, and as a snapshot before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from clearwell.settings import Settings
from clearwell.testing import SourceSuite
from tests.support.sources.mongo_changes import MongoChangesCase

pytestmark = pytest.mark.slow


class TestMongoChangesStream(SourceSuite):
    """All documents come as changes."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 5}
    most_cancellations: ClassVar[int] = 20

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> Iterator[MongoChangesCase]:
        case = MongoChangesCase(stack.mongo, unique("changes"))
        yield case
        case.close()


class TestMongoChangesSnapshot(SourceSuite):
    """All documents are there before the first read."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 5}
    most_cancellations: ClassVar[int] = 20

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> Iterator[MongoChangesCase]:
        case = MongoChangesCase(stack.mongo, unique("documents"), snapshot=True)
        yield case
        case.close()

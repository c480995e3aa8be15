"""The source http_poll passes the suite, with every way of paging."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clearwell.testing import SourceSuite
from tests.support.sources.http_poll import HttpPollCase

pytestmark = pytest.mark.slow


class TestCursor(SourceSuite):
    """Pages by cursor, read once."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[HttpPollCase]:
        """The API."""
        one = HttpPollCase(tmp_path)
        yield one
        one.close()


class TestPageNumber(TestCursor):
    """Pages by number."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    options = {"paging": {"type": "page"}}


class TestOffset(TestCursor):
    """Pages by offset, without ids of their own."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    options = {"paging": {"type": "offset"}, "id_field": None}


class TestLink(TestCursor):
    """Pages by Link header."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    options = {"paging": {"type": "link"}}


class TestSince(TestCursor):
    """From the highest number seen on."""

    options = {"paging": {"type": "since", "param": "since", "field": "n", "limit": 5}}
    skipped = {"test_hostile_data": "an event without the field by which the API is asked can't be paged past"}


class TestAgainAndAgain(TestCursor):
    """Asked again after the last page."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[HttpPollCase]:
        """The API."""
        one = HttpPollCase(tmp_path, every=0.1)
        yield one
        one.close()

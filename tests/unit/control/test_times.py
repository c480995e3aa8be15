"""One grammar of times for every face."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from clearwell.control.times import parse_duration, parse_range, parse_time
from clearwell.errors import ConfigError

DAY = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-27", "2026-11-27T00:00:00Z", "2026-11-27T02:00:00+02:00", "2026-11-27 00:00"]
)
def test_a_date_and_a_time_are_in_utc_unless_they_name_an_offset(text: str) -> None:
    assert parse_time(text, "--at") == DAY


def test_a_duration_counts_back_from_now() -> None:
    assert abs(datetime.now(UTC) - parse_time("2h", "--at") - timedelta(hours=2)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["soon", "", "999999d", "2026-13-01", "0001-01-01T00:00:00+09:00", "2h ", "-2h", "٢h"])
def test_what_is_no_time_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r'^until ".*" is not a time, nor an offset: write 2026-11-27, ') as refused:
        parse_time(text, "until", alternative="an offset")
    assert refused.value.code == "not_a_time"


def test_a_range_is_open_at_both_ends_and_does_not_run_backwards() -> None:
    assert parse_range(None, "2026-11-27", ("from", "to")) == (None, DAY)
    first, last = parse_range("2026-11-27", None, ("from", "to"))
    assert first == DAY and abs(datetime.now(UTC) - last) < timedelta(minutes=1)
    with pytest.raises(ConfigError, match=r"^from is after to"):
        parse_range("2026-11-28", "2026-11-27", ("from", "to"))


def test_a_duration_without_a_unit_counts_days() -> None:
    assert (parse_duration("7", "age"), parse_duration("36h", "age")) == (timedelta(days=7), timedelta(hours=36))
    for wrong in ("", "week", "-1d", "1.5h", "12345678"):
        with pytest.raises(ConfigError, match=r"^age .* is not a duration"):
            parse_duration(wrong, "age")

"""A real deliverer before a lake whose table somebody has damaged or changed: one clear sentence, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars
import pytest

from clearwell.destinations.lake_columns import EVENT_DATE
from clearwell.settings import Settings
from tests.support.archives import rows_in
from tests.support.platform import Platform, Service, until
from tests.support.refusing import CONTRACT, accounts_of, letters

pytestmark = pytest.mark.slow

CANARY = "canary-a61f"


@pytest.fixture
def platform(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Platform]:
    contract = CONTRACT.replace("{to: postgres}", "{to: lake}")
    one = Platform(replace(stack, lake=str(tmp_path / "lake")), tmp_path / "platform", unique("stream"), contract)
    yield one
    one.close()


@pytest.fixture
def table(platform: Platform) -> Path:
    return Path(str(platform.settings.lake), "lake", f"{platform.stream}_v1")


def deliver(platform: Platform) -> Service:
    return platform.start("deliverer", "--destination", "lake", CLEARWELL_LAKE_COMMIT_SECONDS="0.1")


def put(platform: Platform, count: int, start: int = 0) -> Counter[str]:
    """Raw events; their ids, each once."""
    ids = [f"e{n}" for n in range(start, start + count)]
    platform.put(
        [json.dumps({"id": one, "at": "2026-01-01T00:00:00Z", "amount": 1, "note": "fine"}).encode() for one in ids]
    )
    return Counter(ids)


def held(table: Path) -> Counter[str]:
    return Counter(row["id"] for row in rows_in(table))


def ends_with(service: Service, platform: Platform, code: int, said: str) -> None:
    """One line tells of it, with no traceback and nothing of the file."""
    assert service.ended() == code
    platform.services.remove(service)
    lines = [line for line in service.text().splitlines() if " ERROR " in line]
    assert len(lines) == 1 and said in lines[0], service.text()[-2000:]
    assert "Traceback" not in service.text() and CANARY not in service.text()


def garbage_at_its_end(log: Path) -> None:
    sorted(log.glob("*.json"))[-1].write_text("{ this is no JSON " + CANARY)


def a_hole(log: Path) -> None:
    sorted(log.glob("*.json"))[2].unlink()


@pytest.mark.parametrize("harm", [garbage_at_its_end, a_hole])
def test_a_corrupt_log(platform: Platform, table: Path, harm: Callable[[Path], None]) -> None:
    """Positions are in the log: an older copy of it, put back, has what came later delivered again, and once."""
    platform.start("cleaner")
    service = deliver(platform)
    sent = put(platform, 50)
    until(lambda: held(table) == sent)
    log = table / "_delta_log"
    backup = shutil.copytree(log, platform.folder / "backup")
    sent += put(platform, 50, start=50)
    until(lambda: held(table) == sent)
    service.kill()
    harm(log)
    sent += put(platform, 50, start=100)
    ends_with(deliver(platform), platform, 2, "is damaged, so nothing can be read or written: put its _delta_log back")
    shutil.rmtree(log)
    shutil.copytree(backup, log)
    service = deliver(platform)
    until(lambda: held(table) == sent)
    assert accounts_of(platform, "lake").delivered == 150
    assert letters(platform) == []
    assert service.stop() == 0


def test_a_column_dropped_under_us(platform: Platform, table: Path) -> None:
    """The process ends and says so; the next one adds the column again and delivers what waited."""
    platform.start("cleaner")
    service = deliver(platform)
    sent = put(platform, 50)
    until(lambda: held(table) == sent)
    rows = polars.scan_delta(str(table)).collect().drop("note")
    how = {"schema_mode": "overwrite", "partition_by": [EVENT_DATE]}
    rows.write_delta(str(table), mode="overwrite", delta_write_options=how)
    sent += put(platform, 50, start=50)
    ends_with(service, platform, 70, "were changed under Clearwell")
    service = deliver(platform)
    until(lambda: held(table) == sent)
    assert Counter(row["note"] for row in rows_in(table)) == {None: 50, "fine": 50}
    assert accounts_of(platform, "lake").delivered == 100
    assert letters(platform) == [], "that is no fault of the events"
    assert service.stop() == 0

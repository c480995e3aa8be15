"""A real deliverer before a lake whose table somebody has damaged or changed: one clear sentence, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import polars
import pytest

from clearwell.destinations.lake.columns import EVENT_DATE
from clearwell.settings import Settings
from tests.support.archives import rows_in
from tests.support.outage import way_to
from tests.support.platform import Platform, Service, until
from tests.support.refusing import CONTRACT, accounts_of, letters
from tests.support.s3_server import SECRET, S3Server

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


def deliver(platform: Platform, **env: str) -> Service:
    return platform.start("deliverer", "--destination", "lake", CLEARWELL_LAKE_COMMIT_SECONDS="0.1", **env)


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


def test_down_at_the_start(platform: Platform, unique: Callable[[str], str]) -> None:
    """An object store is waited for, and delivered to when it comes up."""
    with S3Server() as s3, way_to(urlsplit(s3.endpoint).port or 0) as way:
        lake = s3.url(unique("lake"))
        env = {name.upper(): value for name, value in s3.options.items()} | {"CLEARWELL_LAKE": lake}
        way.shut()
        sent = put(platform, 50)
        platform.start("cleaner")
        waiting = deliver(platform, **env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{way.port}"})
        said = "does not answer as it should where Clearwell was to make or read it. Trying again"
        until(lambda: said in waiting.text(), 120)
        assert waiting.process.poll() is None
        way.open()
        url = f"{lake}/lake/{platform.stream}_v1"
        until(lambda: Counter(row["id"] for row in rows_in(url, s3.options)) == sent, 120)
        assert "Traceback" not in waiting.text() and SECRET not in waiting.text()
        assert waiting.stop() == 0


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

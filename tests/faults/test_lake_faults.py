"""What breaks a lake: one clear error each, and what was there stays; two writers at once lose nothing."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import polars
import pytest
from deltalake import DeltaTable

from clearwell.destinations.lake.columns import EVENT_DATE
from clearwell.destinations.lake.compaction import compact
from clearwell.destinations.lake.destination import LakeDestination
from clearwell.destinations.lake.errors import translate
from clearwell.destinations.lake.root import TableLocation
from clearwell.destinations.lake.upkeep import CommitPace
from clearwell.destinations.protocol import Claim
from clearwell.errors import ClearwellError, ConfigError, Fatal, Retryable
from clearwell.testing.destination_cases import told
from clearwell.testing.destination_events import SIMPLE, TOPIC, batch_of, batches_of, some_events
from tests.support.s3_server import SECRET, S3Server
from tests.support.small_disk import small_disk

EVENTS = some_events(1, 60, 20)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table"


def filled(table: Path, rows: int = 30) -> tuple[LakeDestination, Claim]:
    """A writer that has written so many rows."""
    made = LakeDestination(TableLocation(str(table)), SIMPLE, "group")
    made.open()
    claim = made.claim(TOPIC, 0, 1)
    for batch in batches_of(EVENTS[:rows], claim, 10):
        made.write(batch)
    return made, claim


def garbage_in_the_log(table: Path) -> None:
    newest(table).write_text("{ this is no JSON canary-7")


def a_hole_in_the_log(table: Path) -> None:
    sorted((table / "_delta_log").glob("*.json"))[2].unlink()


def newest(table: Path) -> Path:
    return sorted((table / "_delta_log").glob("*.json"))[-1]


@pytest.mark.parametrize("harm", [garbage_in_the_log, a_hole_in_the_log])
def test_a_corrupt_log(table: Path, harm: Callable[[Path], None]) -> None:
    filled(table)
    backup = shutil.copytree(table / "_delta_log", table.parent / "backup")
    harm(table)
    with told("a corrupt log", ("canary-7",), ConfigError) as error:
        LakeDestination(TableLocation(str(table)), SIMPLE, "group").open()
    assert "is damaged" in str(error.error)
    shutil.rmtree(table / "_delta_log")
    shutil.copytree(backup, table / "_delta_log")
    mended, claim = filled(table, 60)
    assert claim.next_offset == 30 and mended.row_count() == 60


def test_a_column_whose_type_somebody_changed(table: Path) -> None:
    """A running writer ends, and so does one that starts: both say which column."""
    writer, claim = filled(table)
    rows = polars.scan_delta(str(table)).collect().with_columns(polars.col("number").cast(polars.String))
    rows.write_delta(
        str(table), mode="overwrite", delta_write_options={"schema_mode": "overwrite", "partition_by": [EVENT_DATE]}
    )
    with told("a changed type", (), ConfigError):
        writer.write(batch_of(EVENTS[30:], claim, 60))
    with told("a changed type", (), ConfigError) as error:
        LakeDestination(TableLocation(str(table)), SIMPLE, "group").open()
    assert '"number"' in str(error.error)
    assert polars.scan_delta(str(table)).collect().height == 30


def test_a_full_disk(tmp_path: Path) -> None:
    """Retryable while it is full; the same batch goes in, once, when there is room."""
    with small_disk(tmp_path / "disk", 2) as disk:
        writer, claim = filled(disk.folder / "table")
        disk.fill()
        batch = batch_of(EVENTS[30:], claim, 60)
        with told("a full disk", (), Retryable) as error:
            writer.write(batch)
        assert "no space left" in str(error.error)
        disk.make_room()
        writer.write(batch)
        assert writer.row_count() == 60


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    """Told by ConfigError; /proc refuses even root."""
    with told("no rights", (), ClearwellError) as error:
        LakeDestination(TableLocation("/proc/lake/table"), SIMPLE, "group").open()
    assert not isinstance(error.error, Fatal)


@pytest.mark.slow
def test_wrong_keys_of_an_object_store() -> None:
    with S3Server(refuses=True) as server, told("wrong keys", (SECRET,), ConfigError) as error:
        LakeDestination(TableLocation(server.url("table"), server.options), SIMPLE, "group").open()
    assert "refuses the credentials" in str(error.error)


def test_a_clock_that_an_object_store_finds_wrong() -> None:
    """As S3 answers; the server of these tests looks at no clock."""
    answer = f"status 403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code><AWSAccessKeyId>{SECRET}</AWSAccessKeyId>"
    error = translate(OSError(answer), TableLocation("s3://bucket/table"), "write")
    assert isinstance(error, ConfigError)
    assert (
        str(error) == "The store of the Delta table s3://bucket/table finds this machine's clock wrong: set it right."
    )


def test_two_writers_and_a_compaction_at_once(table: Path) -> None:
    """Of different partitions, while somebody compacts: each event once."""
    filled(table, 0)
    failures: list[Exception] = []

    def write(partition: int) -> None:
        try:
            made = LakeDestination(TableLocation(str(table)), SIMPLE, "group", CommitPace(0.0, 3))
            made.open()
            claim = made.claim(TOPIC, partition, 1)
            for at in range(0, 60, 5):
                made.write(batch_of(EVENTS[at : at + 5], claim, at + 5, partition=partition))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(partition,)) for partition in (1, 2)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(Retryable):
        compact(TableLocation(str(table)))
    for thread in threads:
        thread.join()
    assert not failures
    places = polars.scan_delta(str(table)).select("_raw_partition", "_raw_offset").collect()
    assert (places.height, places.n_unique()) == (120, 120)
    assert any(one["operation"] == "OPTIMIZE" for one in DeltaTable(str(table)).history())


def test_many_compactions_at_once(table: Path) -> None:
    """deltalake alone would join the same files twice, and double their rows."""
    writer, claim = filled(table, 0)
    for at in range(60):
        writer.write(batch_of(EVENTS[at : at + 1], claim, at + 1))
    told_of: list[str] = []
    joined: list[int] = []

    def tidy() -> None:
        try:
            joined.append(compact(TableLocation(str(table))).removed)
        except Retryable as busy:
            told_of.append(str(busy))

    threads = [threading.Thread(target=tidy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert polars.scan_delta(str(table)).collect().height == 60
    assert sum(joined) == 60 and len(joined) + len(told_of) == 4
    assert all("Somebody compacts" in one for one in told_of)
    assert compact(TableLocation(str(table))).removed == 0, "the lease was not given back"

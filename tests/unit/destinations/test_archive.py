"""The archive without Kafka: each raw event once, whatever is written again; sealed whole, and it opens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from clearwell.destinations.lake.archive import Archive, ArchivedEvent, RawRange, open_event
from clearwell.destinations.lake.root import TableLocation
from clearwell.errors import ConfigError, Fatal
from clearwell.privacy.envelope import SealError
from clearwell.privacy.key_file import LocalKeyring
from tests.support.archives import opened, place_of, rows_in

TOPIC = "T" * 22
CANARY = "canary-5cb2"


@dataclass
class Record:
    """As aiokafka gives it."""

    offset: int
    value: bytes | None = CANARY.encode()
    key: bytes | None = CANARY.encode()
    headers: list[tuple[str, bytes | None]] = field(default_factory=lambda: [("ce_id", CANARY.encode())])
    timestamp: int = 1_700_000_000_123


@pytest.fixture
def keyring(tmp_path: Path) -> LocalKeyring:
    return LocalKeyring.create(tmp_path / "keys.json")


@pytest.fixture
def archive(tmp_path: Path, keyring: LocalKeyring) -> Archive:
    made = Archive(TableLocation(str(tmp_path / "archive")), "flights", keyring, "archive.flights")
    made.open()
    return made


def piece(first: int, end: int, records: Sequence[Any] | None = None, partition: int = 0) -> RawRange:
    """All offsets of the range, unless said otherwise."""
    return RawRange(
        TOPIC, partition, first, end, [Record(o) for o in range(first, end)] if records is None else records
    )


def test_every_part_of_an_event_is_sealed_and_opens(tmp_path: Path, archive: Archive, keyring: LocalKeyring) -> None:
    records = [
        Record(0),
        Record(2, None, b"tombstone", []),
        Record(3, b"", None, [("x", None), ("content-type", b"application/json"), ("x", b"again")]),
    ]
    archive.write([piece(0, 4, records)])
    rows = rows_in(tmp_path / "archive")
    assert CANARY not in str(rows)
    assert CANARY.encode() not in b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    assert {(r["ingest_date"], r["ingested_at"]) for r in rows} == {
        (date(2023, 11, 14), datetime(2023, 11, 14, 22, 13, 20, 123000, UTC))
    }
    assert sorted(row["size"] for row in rows) == [0, 0, len(CANARY)]
    assert opened(keyring, "flights", rows) == {
        (TOPIC, 0, one.offset): ArchivedEvent(one.key, one.value, one.headers) for one in records
    }


def test_an_event_opens_at_its_own_place_alone(tmp_path: Path, archive: Archive, keyring: LocalKeyring) -> None:
    archive.write([piece(0, 1)])
    (row,) = rows_in(tmp_path / "archive")
    for stream, moved in (
        ("other", row),
        ("flights", row | {"_raw_offset": 1}),
        ("flights", row | {"_raw_topic": "x"}),
    ):
        with pytest.raises(SealError) as error:
            open_event(keyring, stream, moved)
        assert CANARY not in str(error.value)
    assert CANARY not in repr(open_event(keyring, "flights", row))


def test_events_sealed_before_a_rotation_still_open(tmp_path: Path, archive: Archive, keyring: LocalKeyring) -> None:
    archive.write([piece(0, 1)])
    rotated = LocalKeyring.rotate(tmp_path / "keys.json")
    other = Archive(archive.table.place, "flights", rotated, "archive.flights")
    other.write([piece(1, 2)])
    rows = rows_in(tmp_path / "archive")
    assert {row["sealed"].split(".")[1] for row in rows} == {"local-1", "local-2"}
    assert len(opened(rotated, "flights", rows)) == 2


def test_any_owner_at_any_time_writes_each_event_once(tmp_path: Path, keyring: LocalKeyring) -> None:
    """Two owners with pieces cut differently, in any interleaving, as after rebalances and kills."""
    rng = random.Random(3)
    place = TableLocation(str(tmp_path / "archive"))
    owners = [Archive(place, "flights", keyring, "archive.flights") for _ in range(2)]
    owners[0].open()
    ends = {0: 200, 1: 150}
    while any(owners[0].next_offset(TOPIC, p) < end for p, end in ends.items()):
        pieces = []
        for partition, end in ends.items():
            known = owners[0].next_offset(TOPIC, partition)
            first = rng.randint(max(0, known - 30), known)
            pieces.append(piece(first, min(end, first + rng.randint(1, 40)), partition=partition))
            if rng.random() < 0.3:
                pieces.append(pieces[-1])
        rng.choice(owners).write(pieces)
    places = [place_of(row) for row in rows_in(tmp_path / "archive")]
    assert sorted(places) == [(TOPIC, p, o) for p, end in sorted(ends.items()) for o in range(end)]


def test_a_piece_beyond_the_position_is_refused(tmp_path: Path, archive: Archive) -> None:
    archive.write([piece(0, 3)])
    with pytest.raises(Fatal, match="stands at offset 3 of partition 0, before offset 4"):
        archive.write([piece(4, 6)])
    archive.write([piece(3, 6, [Record(5)])])  # a hole in the log is none in the archive
    assert [archive.next_offset(TOPIC, p) for p in (0, 1)] == [6, 0]
    assert len(rows_in(tmp_path / "archive")) == 4


def test_a_recreated_topic_starts_anew(tmp_path: Path, archive: Archive) -> None:
    archive.write([piece(0, 3)])
    archive.write([replace(piece(0, 2), topic_id="U" * 22)])
    assert len(rows_in(tmp_path / "archive")) == 5


def test_another_table_in_the_way(tmp_path: Path, keyring: LocalKeyring) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(str(tmp_path / "archive"), pa.table({"a": [1]}))
    with pytest.raises(ConfigError, match="Clearwell did not make it"):
        Archive(TableLocation(str(tmp_path / "archive")), "flights", keyring, "g").open()

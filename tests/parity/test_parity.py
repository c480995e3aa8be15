"""Invariant 8: what the live cleaner gave and what a backfill gives are the same rows, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clearwell.backfill.manifest import Manifest
from clearwell.contract.load import load, parse
from clearwell.demo.flights import BROKEN
from clearwell.privacy.envelope import MARK, unseal
from clearwell.testing import TestPlatform
from tests.support.platform import FLIGHTS, numbered

Row = dict[str, Any]
Identity = tuple[int, int]
"""Raw partition and offset."""

EVERY_TYPE = """
stream: every_type
version: 1
owner: someone@example.com
key: id
event_id: id
event_time: at
subject: person
unknown_fields: keep
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  person: {type: string, privacy: encrypt}
  email: {type: string, privacy: hash}
  phone: {type: string, privacy: mask}
  age: {type: int32, privacy: {generalise: 10}}
  small: {type: int32}
  large: {type: int64}
  real: {type: float64}
  price: {type: decimal, precision: 12, scale: 3}
  yes: {type: bool}
  day: {type: date}
  blob: {type: bytes}
  any: {type: json}
  tags: {type: list, items: string}
  secret: {type: int64, privacy: encrypt}
steps:
  - trim: {fields: [email]}
  - fill: {field: small, previous: 500, by: [person]}
  - deduplicate: {by: id, window: 1990}
  - derive: {field: who, concat: [person], privacy: pseudonym}
"""


def every_type(count: int) -> Iterator[bytes]:
    """Events of all types with nulls, values at the edge, and unknown fields."""
    for n in range(count):
        yield json.dumps(
            {
                "id": f"e{n % (count - 50)}",
                "at": f"2024-02-{n % 29 + 1:02d}T23:59:59.{n:06d}{'Z' if n % 2 else '+05:30'}",
                "person": f"p{n % 7}" if n % 5 else None,
                "email": f" a{n}@example.com ",
                "phone": f"+3160000{n:04d}",
                "age": n % 90,
                "small": n if n % 3 else None,
                "large": 2**63 - 1 - n,
                "real": n / 7 * 10.0 ** (n % 300 - 150),
                "price": f"{n}.{n % 1000:03d}",
                "yes": bool(n % 2),
                "day": f"19{n % 100:02d}-12-31",
                "blob": "AAEC/w==",
                "any": [None, {"ü": n, "x": [1.5, "z"]}, n][n % 3],
                "tags": ["a", "ü", ""][: n % 4],
                "secret": n * 1_000_003,
                **({"more": {"n": n}} if n % 4 == 0 else {}),
            }
        ).encode()


def live(platform: TestPlatform) -> dict[Identity, Row]:
    """What a model gets, by raw identity."""
    rows: dict[Identity, Row] = {}
    with platform.subscription("model") as events:
        for batch in events:
            for offset, row in zip(batch.raw_offsets, batch.arrow().to_pylist(), strict=True):
                assert (batch.partition, offset) not in rows
                rows[batch.partition, offset] = row
    return rows


def history(folder: Path) -> dict[Identity, Row]:
    """What a backfill has written, by raw identity."""
    table = pa.concat_tables([pq.read_table(file) for file in sorted(folder.rglob("part-*.parquet"))])
    return {(row.pop("clearwell_partition"), row.pop("clearwell_offset")): row for row in table.to_pylist()}


def in_the_clear(platform: TestPlatform, row: Row) -> Row:
    """A row with its sealed values opened, since each sealing has a nonce of its own."""
    stream = platform.contract.stream
    return {
        name: unseal(platform.keyring, stream, name, row["id"], value)
        if isinstance(value, str) and value.startswith(MARK)
        else value
        for name, value in row.items()
    }


def compare(platform: TestPlatform, into: Path) -> tuple[dict[Identity, Row], Manifest]:
    """Field by field; returns the live rows and the manifest of the backfill."""
    manifest, served, replayed = platform.backfill(into), live(platform), history(into)
    assert served.keys() == replayed.keys()
    for identity, row in served.items():
        one, other = in_the_clear(platform, row), in_the_clear(platform, replayed[identity])
        assert one == other, identity
        assert [type(value) for value in one.values()] == [type(value) for value in other.values()], identity
    return served, manifest


@pytest.mark.parametrize("seed", range(2))
def test_flights_live_and_backfilled_are_the_same(tmp_path: Path, seed: int) -> None:
    """Live with cleaners that are killed: what the steps remember is rebuilt, and some events are cleaned twice."""
    platform = TestPlatform(load(FLIGHTS), partitions=2)
    for partition in range(2):
        platform.put(*numbered(600), *BROKEN, *numbered(300, start=500), *BROKEN, partition=partition)
    assert platform.run_with_kills(seed, batch_size=100) > 1
    served, manifest = compare(platform, tmp_path)
    assert len(served) == manifest.kept == 2 * 800
    assert manifest.dropped == 2 * 100 and manifest.rejected >= 2 * len(BROKEN)


def test_every_type_and_protection_is_the_same(tmp_path: Path) -> None:
    platform = TestPlatform(parse(EVERY_TYPE, "every_type/v1.yaml"))
    platform.put(*every_type(2_000))
    platform.run()
    served, manifest = compare(platform, tmp_path)
    assert (len(served), manifest.kept, manifest.dropped, manifest.rejected) == (1_950, 1_950, 50, 0)
    assert served[0, 0].keys() >= {"extra", "who", "person"}

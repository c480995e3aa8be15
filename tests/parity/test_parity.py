"""Invariant 8: what the live cleaner gave and what a backfill gives are the same rows, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearwell.demo.flights import BROKEN
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import cleaner_group, raw_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.steps import bind
from clearwell.subscriptions.subscription import Subscription
from tests.support.backfills import Row, backfill, opener, table
from tests.support.platform import Platform, numbered, until

pytestmark = pytest.mark.slow

EVERY_TYPE = """
stream: $stream
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


def cleaned(platform: Platform) -> Callable[[], bool]:
    """Whether the cleaner has committed all of raw."""
    topic, group = raw_topic(platform.stream), cleaner_group(platform.stream, 1)

    def check() -> bool:
        platform.alive()
        done = committed(platform.settings.kafka, group, topic)
        ends = admin.end_offsets(platform.settings.kafka, topic)
        return all(done.get(partition, (0, ""))[0] == end for partition, end in ends.items())

    return check


def live(platform: Platform) -> dict[tuple[int, int], Row]:
    """What a model gets, by partition and raw offset."""
    found: dict[tuple[int, int], Row] = {}
    codec = CleanCodec(bind(platform.contract).schema)
    with Subscription(platform.stream, KafkaLog(platform.settings.kafka), codec, idle=2.0) as events:
        for batch in events:
            for offset, row in zip(batch.raw_offsets, batch.arrow().to_pylist(), strict=True):
                assert (batch.partition, offset) not in found
                found[batch.partition, offset] = row
    return found


def history(folder: Path) -> dict[tuple[int, int], Row]:
    """What a backfill has written, by partition and raw offset."""
    return {(row.pop("clearwell_partition"), row.pop("clearwell_offset")): row for row in table(folder).to_pylist()}


def assert_same(platform: Platform, one: dict[tuple[int, int], Row], other: dict[tuple[int, int], Row]) -> None:
    """Field by field; sealed values are opened first, since each sealing has a nonce of its own."""
    assert one.keys() == other.keys()
    for place, row in one.items():
        opened = opener(platform, row["id"])
        for name, value in row.items():
            assert opened(name, value) == opened(name, other[place][name]), (place, name)
            assert type(value) is type(other[place][name]), (place, name)


def both(platform: Platform, into: Path) -> tuple[dict[tuple[int, int], Row], Any]:
    """Clean live and backfill, compare; returns the live rows and the manifest."""
    until(cleaned(platform))
    done = backfill(platform, "run", "--into", str(into), "--chunk", "1000")
    found = live(platform)
    assert_same(platform, found, history(Path(done["folder"])))
    return found, done["manifest"]


def test_flights_live_and_backfilled_are_the_same(platform: Platform, tmp_path: Path) -> None:
    platform.put([*numbered(4_000), *BROKEN])
    cleaner = platform.start("cleaner")
    until(platform.cleaned)
    cleaner.kill()  # what the steps remember is rebuilt, and some events are cleaned twice
    platform.put([*numbered(1_500, start=3_000), *BROKEN])
    platform.start("cleaner")
    found, manifest = both(platform, tmp_path)
    assert len(found) == manifest["kept"] >= 4_500
    assert manifest["dropped"] >= 1_000 and manifest["rejected"] >= len(BROKEN)


def test_every_type_and_protection_is_the_same(platform_of: Callable[[str], Platform], tmp_path: Path) -> None:
    platform = platform_of(EVERY_TYPE)
    platform.put(every_type(2_000), partition=0)
    platform.start("cleaner")
    found, manifest = both(platform, tmp_path)
    assert (len(found), manifest["kept"], manifest["dropped"], manifest["rejected"]) == (2_000 - 50, 2_000 - 50, 50, 0)
    assert found[0, 0].keys() >= {"extra", "who", "person"}

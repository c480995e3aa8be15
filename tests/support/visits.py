"""A small stream of visits to shops, a view of it with every kind of feature, and batches of its events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.protocol import CleanBatch

START = datetime(2013, 1, 1, tzinfo=UTC)
SCHEMA = CleanSchema(
    "visits",
    1,
    (
        Field("id", Type.STRING, required=True),
        Field("at", Type.TIMESTAMP, required=True),
        Field("shop", Type.STRING),
        Field("day", Type.INT32, required=True),
        Field("n", Type.INT64),
        Field("x", Type.FLOAT64),
        Field("cost", Type.DECIMAL, precision=12, scale=2),
    ),
    ("id",),
    "id",
    "at",
)
NAMES = [field.name for field in SCHEMA.fields]
OPTIONS: dict[str, Any] = {
    "entity": {"name": "shop_day", "keys": ["shop", "day"]},
    "lateness": "6h",
    "features": {
        "last_n": "n",
        "visits": {"count": "id", "window": "2h", "slide": "30m"},
        "n_sum": {"sum": "n", "window": "2h", "slide": "30m"},
        "x_sum": {"sum": "x", "window": "4h"},
        "x_mean": {"mean": "x", "window": "4h"},
        "cost_sum": {"sum": "cost", "window": "2h"},
        "cost_max": {"max": "cost", "window": "2h"},
        "first_at": {"min": "at", "window": "2h"},
        "x_last": {"last": "x", "window": "2h", "slide": "30m"},
        "n_kinds": {"distinct": "n", "window": "2h", "slide": "30m"},
    },
}

Row = tuple[Any, ...]


def rows_of(seed: int, count: int) -> list[Row]:
    rng = random.Random(seed)
    rows: list[Row] = []
    for i in range(count):
        at = START + timedelta(minutes=i // 2 - rng.randrange(300))
        shop, day, n = rng.choice(["a", "b", None]), rng.randrange(2), rng.choice([None, rng.randrange(9)])
        rows.append((f"v{i}", at, shop, day, n, rng.uniform(-1e9, 1e9), Decimal(rng.randrange(10_000)) / 100))
    return rows


def serving_since(dsn: str, destination: FeaturesDestination, began: datetime) -> None:
    """As if the view had been there since then: what is of before that is never late."""
    with psycopg.connect(dsn) as session:
        session.execute(
            "UPDATE clearwell_delivery.views SET began = %s WHERE view_name = %s", (began, destination.view.name)
        )
    destination.open()


def deliver(
    destination: FeaturesDestination,
    rows: Sequence[Row],
    offsets: Sequence[int],
    size: int = 50,
    partition: int = 0,
    topic: str = "raw-a",
) -> None:
    """Rows whose raw offsets are `offsets`, in that order, of the incarnation `topic` of raw."""
    claim = destination.claim("clean-a", partition, 1)
    for at in range(0, len(rows), size):
        some, places = rows[at : at + size], offsets[at : at + size]
        destination.write(batch(some, places, claim.epoch, at + len(some), partition, topic))


def batch(
    rows: Sequence[Row], offsets: Sequence[int], epoch: int, end: int, partition: int = 0, topic: str = "raw-a"
) -> CleanBatch:
    begin, topics = end - len(rows), [topic] * len(rows)
    return CleanBatch(
        "clean-a", partition, end, epoch, rows, [b"{}"] * len(rows), range(begin, end), topics, offsets, {}
    )


def keys_of(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return sorted({row[2:4] for row in rows if row[2] is not None})

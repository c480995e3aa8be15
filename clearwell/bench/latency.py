"""How long an event takes from the raw topic into Postgres, at a steady pace."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from itertools import islice

import psycopg
from aiokafka import AIOKafkaProducer
from psycopg import sql

from clearwell.bench.scene import PARTITIONS, Scene, events
from clearwell.errors import Fatal
from clearwell.kafka.names import raw_topic
from clearwell.kafka.security import security_of

PACE = 2_000
SECONDS = 20
TICK = 0.05
"""Events are sent in bursts of PACE x TICK, so that sending costs little."""

PRODUCED = dict[int, list[tuple[int, float]]]
"""Partition → (raw offset, monotonic time just before it was sent), offsets rising."""


def latency_p99(bench_scene: Scene) -> float:
    """The 99th percentile (ms) of the time until an event is visible in the table; an upper bound, within one look."""
    return asyncio.run(_measure(bench_scene))


async def _measure(bench_scene: Scene) -> float:
    produced: PRODUCED = {partition: [] for partition in range(PARTITIONS)}
    sender = asyncio.create_task(_send(bench_scene, produced))
    waits = await _look(bench_scene, produced, sender)
    waits.sort()
    return round(1000 * waits[min(len(waits) - 1, int(len(waits) * 0.99))], 1)


async def _send(bench_scene: Scene, produced: PRODUCED) -> None:
    source = (value.replace(b'{"id":"', b'{"id":"paced-', 1) for value in events(PACE * SECONDS))
    login = security_of(bench_scene.settings.kafka).client_options()
    async with AIOKafkaProducer(bootstrap_servers=bench_scene.settings.kafka, linger_ms=0, **login) as producer:
        start = time.monotonic()
        for tick in range(int(SECONDS / TICK)):
            await asyncio.sleep(max(0.0, start + tick * TICK - time.monotonic()))
            sent = time.monotonic()
            burst = [
                (
                    number % PARTITIONS,
                    await producer.send(raw_topic(bench_scene.stream), value, partition=number % PARTITIONS),
                )
                for number, value in enumerate(islice(source, int(PACE * TICK)))
            ]
            for partition, future in burst:
                produced[partition].append(((await future).offset, sent))


async def _look(bench_scene: Scene, produced: PRODUCED, sender: asyncio.Task[None]) -> list[float]:
    """Poll the highest raw offset a partition: rows of a partition become visible in order."""
    query = sql.SQL(
        "SELECT _raw_partition, max(_raw_offset) FROM {} WHERE id >= 'paced-' AND id < 'paced.' GROUP BY 1"
    ).format(sql.Identifier(bench_scene.stream))
    waits: list[float] = []
    seen = dict.fromkeys(produced, 0)
    deadline = time.monotonic() + SECONDS + 60
    async with await psycopg.AsyncConnection.connect(bench_scene.settings.postgres, autocommit=True) as connection:
        while not (sender.done() and all(seen[p] == len(produced[p]) for p in produced)):
            if time.monotonic() > deadline:
                raise Fatal("Events sent at a steady pace did not arrive within a minute.")
            rows = await (await connection.execute(query)).fetchall()
            now = time.monotonic()
            for partition, highest in rows:
                upto = bisect_right(produced[partition], highest, key=lambda pair: pair[0])
                waits.extend(now - sent for _, sent in produced[partition][seen[partition] : upto])
                seen[partition] = max(seen[partition], upto)
            await asyncio.sleep(0.02)
    await sender
    return waits

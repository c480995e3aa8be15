"""The raw limits: the least code that reads the same events, run as a process of its own (`python -m`).

`read`: aiokafka `getmany` and a JSON decode, nothing else. `bare`: confluent-kafka `consume`, a decode into typed rows
and the same upsert, with no cleaning, no privacy, no accounts and one process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from dataclasses import replace

import msgspec
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import Consumer
from psycopg import sql

from clearwell import settings
from clearwell.bench.scene import PARTITIONS
from clearwell.contract.load import find
from clearwell.contract.model import CleanSchema
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.protocol import CleanBatch
from clearwell.kafka.names import raw_topic
from clearwell.kafka.security import security_of
from clearwell.pipeline.clean import CleanCodec

FLUSH = 5_000


async def read(bootstrap: str, topic: str, total: int) -> float:
    """Events a second of `getmany` with a JSON decode of each value."""
    login = security_of(bootstrap).client_options()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=4_194_304, **login
    )
    decode = msgspec.json.Decoder().decode
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    seen, start = 0, time.perf_counter()
    while seen < total:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=FLUSH)).values():
            for record in records:
                decode(record.value)
            seen += len(records)
    seconds = time.perf_counter() - start
    await consumer.stop()
    return seen / seconds


def bare(location: settings.Settings, stream: str, total: int) -> float:
    """Events a second of consume, decode and upsert of the raw fields into a table of its own, dropped at the end."""
    contract = find(location.schemas, stream)
    fields = tuple(replace(field, privacy=None) for field in contract.fields)
    schema = CleanSchema(stream, 1, fields, contract.key, contract.event_id, "time_hour")
    codec = CleanCodec(schema)
    table = f"{stream}_{uuid.uuid4().hex[:8]}"
    store = PostgresDestination(location.postgres, schema, table, table)
    store.open()
    epoch = store.claim("bare", 0, 0).epoch
    reading = {"bootstrap.servers": location.kafka, "group.id": table, "auto.offset.reset": "earliest"}
    consumer = Consumer(reading | security_of(location.kafka).librdkafka_options())
    consumer.subscribe([raw_topic(stream)])
    seen, start = 0, 0.0
    while seen < total:
        messages = consumer.consume(FLUSH, timeout=0.5)
        if not messages:
            continue
        start = start or time.perf_counter()
        values = [message.value() or b"" for message in messages]
        rows = codec.decode(values)
        seen += len(rows)
        offsets = range(seen - len(rows), seen)
        store.write(CleanBatch("bare", 0, seen, epoch, rows, values, offsets, ["bare"] * len(rows), offsets, {}))
    seconds = time.perf_counter() - start
    consumer.close()
    store.close()
    with psycopg.connect(location.postgres) as connection:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
    return seen / seconds


def main() -> None:
    """`python -m clearwell.bench.limits read|bare STREAM TOTAL`: prints {"events_per_second": …}."""
    kind, stream, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
    location = settings.load()
    rate = (
        asyncio.run(read(location.kafka, raw_topic(stream), total)) if kind == "read" else bare(location, stream, total)
    )
    sys.stdout.write(json.dumps({"events_per_second": rate}) + "\n")


if __name__ == "__main__":
    main()

"""A stream of its own for one measurement: contract, topics and raw events, removed again at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from aiokafka import AIOKafkaProducer
from psycopg import sql
from pymongo import MongoClient

from clearwell.contract.load import find
from clearwell.contract.model import Contract
from clearwell.demo.flights import flights
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.kafka.security import security_of
from clearwell.kafka.topics import plans
from clearwell.privacy.key_file import LocalKeyring
from clearwell.registry import Registry, contracts, jobs
from clearwell.settings import Settings

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Scene:
    """One bench stream. `schemas` is a folder with its contract alone; `env` is what its services run under."""

    settings: Settings
    contract: Contract
    schemas: Path
    env: dict[str, str]

    @property
    def stream(self) -> str:
        """The stream's name, which is also its table's."""
        return self.contract.stream


@contextmanager
def scene(settings: Settings) -> Iterator[Scene]:
    """The flights contract under a name nobody has, with empty topics; all of it goes at the end."""
    if security_of(settings.kafka).context is not None:
        raise ConfigError("The bench's raw limits are measured in the clear: run it on a Kafka without TLS.")
    stream = f"bench_{uuid.uuid4().hex[:10]}"
    schemas = Path(tempfile.mkdtemp(prefix="clearwell-bench-"))
    try:
        _copy_contract(settings.schemas / "flights" / "v1.yaml", schemas, stream)
        contract = find(schemas, stream)
        admin.ensure_topics(settings.kafka, stream, contract.version, partitions=PARTITIONS)
        _publish(settings, contract, (schemas / stream / "v1.yaml").read_text())
        env = {
            **os.environ,
            "CLEARWELL_HOME": str(settings.home),
            "CLEARWELL_KAFKA": settings.kafka,
            "CLEARWELL_POSTGRES": settings.postgres,
            "CLEARWELL_MONGO": settings.mongo,
            "CLEARWELL_KEYS": str(_keys(schemas)),
            "CLEARWELL_SCHEMAS": str(schemas),
        }
        yield Scene(settings, contract, schemas, env)
    finally:
        _forget(settings, stream)
        admin.delete_topics(settings.kafka, [plan.name for plan in plans(stream, 1)])
        with psycopg.connect(settings.postgres) as connection:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(stream)))
        with MongoClient[Any](settings.mongo) as client:
            client.get_default_database()[stream].drop()
        shutil.rmtree(schemas, ignore_errors=True)


def _publish(settings: Settings, contract: Contract, text: str) -> None:
    """The bench runs its jobs itself: they are marked as ended, so that no worker takes them."""
    registry = Registry(settings.postgres)
    with registry.session() as session:
        contracts.publish(session, contract.stream, contract.version, 0, text)
        jobs.derive(session, contract)
        jobs.end(session, contract.stream)
    registry.close()


def _forget(settings: Settings, stream: str) -> None:
    registry = Registry(settings.postgres)
    with registry.session() as session:
        contracts.forget(session, stream)
        jobs.forget(session, [job.spec.name for job in jobs.list_jobs(session, stream)])
    registry.close()


def events(count: int) -> Iterator[bytes]:
    """`count` flights as JSON; from the second round on the ids are new ones."""
    for round_ in itertools.count():
        for event in itertools.islice(flights(), count - round_ * 336_776):
            if round_:
                event["id"] = f"{round_}-{event['id']}"
            yield json.dumps(event, separators=(",", ":")).encode()
        if count <= (round_ + 1) * 336_776:
            return


def fill_raw(bench_scene: Scene, count: int, skip: int = 0) -> None:
    """Put `count` flights into the raw topic, spread over its partitions by id; those after the first `skip`."""
    values = itertools.islice(events(skip + count), skip, None)
    asyncio.run(_fill(bench_scene.settings.kafka, raw_topic(bench_scene.stream), values))


async def _fill(bootstrap: str, topic: str, values: Iterable[bytes]) -> None:
    login = security_of(bootstrap).client_options()
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="zstd", max_batch_size=1_000_000, **login
    ) as producer:
        batches: dict[int, Any] = {}
        sent = []
        for value in values:
            partition = zlib.crc32(value[:40]) % PARTITIONS
            batch = batches.get(partition) or producer.create_batch()
            if batch.append(key=None, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=None, value=value, timestamp=None)
            batches[partition] = batch
        for partition, batch in batches.items():
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)


def _keys(folder: Path) -> Path:
    """A key file of the scene's own: what a bench seals need never be opened."""
    path = folder / "keys.json"
    LocalKeyring.create(path)
    return path


def _copy_contract(original: Path, schemas: Path, stream: str) -> None:
    text = original.read_text()
    folder = schemas / stream
    folder.mkdir(parents=True)
    for what in ("stream", "table", "collection"):
        text = text.replace(f"{what}: flights", f"{what}: {stream}")
    (folder / "v1.yaml").write_text(text)

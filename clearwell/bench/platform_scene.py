"""A platform of its own on the servers of another: many small streams and one busy one, removed again at the end.

Registry and tables are in a database of their own, so that neither side's workers see the other's jobs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import yaml
from aiokafka import AIOKafkaProducer
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from pymongo import MongoClient

from clearwell.bench.figures import administrator_url
from clearwell.contract.load import load
from clearwell.control.contract_publication import apply, plan_publish
from clearwell.control.platform import Actor, Platform, user_name
from clearwell.errors import ConfigError, Fatal
from clearwell.kafka import admin, groups
from clearwell.kafka.names import raw_topic
from clearwell.kafka.security import security_of
from clearwell.kafka.topics import plans
from clearwell.privacy.key_file import LocalKeyring
from clearwell.registry import jobs
from clearwell.registry.migrate import migrate
from clearwell.settings import Settings

_SMALL = """\
stream: {stream}
version: 1
owner: bench@example.com
description: One of many streams in which next to nothing happens.
key: id
event_id: id
event_time: at
fields:
  id: {{type: string, required: true}}
  at: {{type: timestamp, required: true}}
  amount: {{type: int64}}
routes:
  - {{to: postgres, table: {stream}}}
  - {{to: mongo, collection: {stream}}}
"""


_OWN = ("CLEARWELL_WORKER", "CLEARWELL_STREAM", "CLEARWELL_LEASE_SECONDS")
"""Variables that make a process another than the usual one."""


@dataclass(slots=True)
class PlatformScene:
    """`env` is what its processes run under; `streams` are those published so far."""

    platform: Platform
    folder: Path
    env: dict[str, str]
    name: str
    streams: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """Of this platform: the servers are the other's, the database is its own."""
        return self.platform.settings

    def publish_small(self, count: int) -> list[str]:
        """Publish so many streams, each with a cleaner, a copier and two deliverers; returns their names."""
        first = len(self.streams)
        names = [f"{self.name}_{number:03}" for number in range(first, first + count)]
        self._publish({name: _SMALL.format(stream=name) for name in names})
        return names

    def publish_busy(self, original: Path) -> Path:
        """Publish the flights under another name, into Postgres alone; returns the contract's file."""
        name = f"{self.name}_busy"
        contract = yaml.safe_load(original.read_text())
        contract |= {"stream": name, "routes": [{"to": "postgres", "table": name}]}
        self._publish({name: yaml.safe_dump(contract, sort_keys=False)})
        return self._file(name)

    def send(self, stream: str, value: bytes) -> None:
        """Append one raw event, durably."""
        asyncio.run(_send(self.settings.kafka, raw_topic(stream), value))

    def row_count(self, table: str) -> int:
        """Rows in a stream's table; 0 while there is none."""
        with psycopg.connect(self.settings.postgres) as connection:
            there = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
            if there is None or there[0] is None:
                return 0
            counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            return int(counted[0]) if counted else 0

    def _publish(self, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            self._file(name).parent.mkdir(parents=True)
            self._file(name).write_text(text)
        plan = plan_publish(self.platform, [self._file(name) for name in texts])
        if plan.refused:
            raise Fatal(f"The bench's contracts are refused: {plan.refused[0].refusal}")
        self.streams += texts  # before: what has topics is removed, also where publishing ends half-way
        apply(self.platform, Actor(user_name(), "bench"), plan)

    def _file(self, stream: str) -> Path:
        return self.folder / "schemas" / stream / "v1.yaml"


@contextmanager
def platform_scene(settings: Settings) -> Iterator[PlatformScene]:
    """An empty platform; at the end its streams, topics, groups, tables and collections go."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    folder = Path(tempfile.mkdtemp(prefix="clearwell-bench-"))
    postgres = urlsplit(settings.postgres)._replace(path=f"/{name}").geturl()
    own = replace(settings, postgres=postgres, schemas=folder / "schemas", keys=folder / "keys.json")
    env = {
        **{name: value for name, value in os.environ.items() if name not in _OWN},
        "CLEARWELL_HOME": str(settings.home),
        "CLEARWELL_KAFKA": settings.kafka,
        "CLEARWELL_POSTGRES": postgres,
        "CLEARWELL_MONGO": settings.mongo,
        "CLEARWELL_KEYS": str(own.keys),
        "CLEARWELL_SCHEMAS": str(own.schemas),
        "CLEARWELL_LISTEN": "127.0.0.1:0",
        "CLEARWELL_METRICS": "127.0.0.1:0",
    }
    owner = sql.Identifier(urlsplit(postgres).username or "")
    _on_server(settings, sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), owner))
    try:
        LocalKeyring.create(own.keys)
        migrate(postgres)
        with Platform(own) as platform:
            made = PlatformScene(platform, folder, env, name)
            try:
                yield made
            finally:
                _remove(made)
    finally:
        _on_server(settings, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        shutil.rmtree(folder, ignore_errors=True)


def _on_server(settings: Settings, statement: sql.Composed) -> None:
    with psycopg.connect(administrator_url(settings), autocommit=True) as connection:
        try:
            connection.execute(statement)
        except InsufficientPrivilege:
            raise ConfigError("The role of CLEARWELL_POSTGRES may make no database: grant it CREATEDB.") from None


def _remove(made: PlatformScene) -> None:
    kafka = made.settings.kafka
    admin.delete_topics(kafka, [plan.name for stream in made.streams for plan in plans(stream, 1)])
    for group in _groups(made):
        groups.delete(kafka, group)
    with MongoClient[Any](made.settings.mongo) as client:
        for stream in made.streams:
            client.get_default_database()[stream].drop()


def _groups(made: PlatformScene) -> Sequence[str]:
    contracts = [load(made.folder / "schemas" / stream / "v1.yaml") for stream in made.streams]
    return [spec.group for contract in contracts for spec in jobs.specs_of(contract)]


async def _send(bootstrap: str, topic: str, value: bytes) -> None:
    login = security_of(bootstrap).client_options()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **login) as producer:
        await producer.send_and_wait(topic, value)

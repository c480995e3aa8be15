"""A power cut takes the end of Kafka's log, other events get the same offsets: each reader tells it, and goes on."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from clearwell import settings
from clearwell.cli.main import clearwell
from clearwell.errors import Fatal
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, raw_topic
from clearwell.local import stack as embedded
from clearwell.pipeline.clean import CleanCodec
from clearwell.registry import migrate, subscriptions
from clearwell.registry.database import Registry
from clearwell.registry.subscriptions import RegisteredSubscription
from clearwell.settings import Settings
from clearwell.steps import bind
from clearwell.subscriptions.subscription import Subscription
from tests.support.platform import PARTITIONS, Platform, until

pytestmark = pytest.mark.slow

CONTRACT = """
stream: $stream
version: 1
owner: me@example.com
description: Events of a stream whose log loses some.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
routes:
  - {to: postgres, table: $stream}
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A stack of the test's own, since its Kafka loses events."""
    folder = tmp_path / "home"
    try:
        yield folder
    finally:
        admin.close()
        embedded.down(folder, wipe=True)
        shutil.rmtree(folder, ignore_errors=True)


def up(home: Path, schemas: Path) -> Settings:
    embedded.up(home, services=False, schemas=schemas)
    return settings.load({"CLEARWELL_HOME": str(home), "CLEARWELL_SCHEMAS": str(schemas)})


def cut(home: Path, topic: str, keep: int) -> None:
    """As a power cut before the disk had it all: each partition ends before the first batch that begins at `keep`."""
    logs = next(path for path in home.rglob(f"{topic}-0") if path.is_dir()).parent
    for partition in range(PARTITIONS):
        folder = logs / f"{topic}-{partition}"
        (segment,) = folder.glob("*.log")
        data, at = segment.read_bytes(), 0
        while at < len(data) and struct.unpack_from(">q", data, at)[0] < keep:
            at += 12 + struct.unpack_from(">i", data, at + 8)[0]
        segment.write_bytes(data[:at])
        for index in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
            index.unlink()
    for name in (".kafka_cleanshutdown", "recovery-point-offset-checkpoint", "replication-offset-checkpoint"):
        (logs / name).unlink(missing_ok=True)


def events(name: str, count: int) -> list[bytes]:
    return [b'{"id":"%s-%d","at":"2026-03-01T00:00:00Z"}' % (name.encode(), number) for number in range(count)]


def put(platform: Platform, name: str, count: int) -> None:
    """`count` events into each partition."""
    for partition in range(PARTITIONS):
        platform.put(events(f"{name}{partition}", count), partition)


def ids(platform: Platform) -> set[str]:
    with psycopg.connect(platform.settings.postgres) as connection:
        rows = connection.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(platform.stream))).fetchall()
    return {str(one) for (one,) in rows}


def model(platform: Platform) -> Subscription:
    return Subscription(
        "learner", KafkaLog(platform.settings.kafka), CleanCodec(bind(platform.contract).schema), idle=3
    )


def run(platform: Platform, *arguments: str) -> str:
    done = CliRunner().invoke(clearwell, [*arguments], env=platform.env(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_log_that_went_back_is_told_and_gone_on_from(home: Path, tmp_path: Path) -> None:
    where = up(home, tmp_path)
    migrate(where.postgres)
    platform = Platform(where, tmp_path, "cuts", CONTRACT)
    with closing(Registry(where.postgres)) as registry, registry.session() as session:
        subscriptions.add(session, RegisteredSubscription("learner", "cuts", 1, ("id", "at"), "test"))
    cleaner, deliverer = platform.start("cleaner"), platform.start("deliverer", "--destination", "postgres")
    for half in ("old", "lost"):
        put(platform, half, 50)
        platform.settle()
    learnt = []
    with model(platform) as follower:
        for batch in follower:
            learnt += [row["id"] for row in batch.dicts()]
            batch.commit()
    assert len(learnt) == len(set(learnt)) == 400
    assert cleaner.stop() == deliverer.stop() == 0
    admin.close()
    embedded.down(home, wipe=False)
    cut(home, raw_topic("cuts"), 50)
    cut(home, clean_topic("cuts", 1), 50)

    platform.settings = replace(up(home, tmp_path / "schemas"), keys=platform.settings.keys)
    ends = until(lambda: admin.end_offsets(platform.settings.kafka, raw_topic("cuts")))
    assert ends == dict.fromkeys(range(PARTITIONS), 50), "the scene is not what it should be"
    put(platform, "new", 100)  # the offsets of old events, and beyond

    for late in (platform.start("cleaner"), platform.start("deliverer", "--destination", "postgres")):
        assert late.ended() == Fatal.exit_code
        assert "has lost what was read of it at offsets" in late.text()
        assert "Traceback" not in late.text()
    platform.services.clear()
    with pytest.raises(Fatal, match="clearwell stream realign cuts"), model(platform) as follower:
        next(follower)
    assert ids(platform) == set(learnt), "nothing was taken for a repeat, and nothing delivered"

    dry = json.loads(run(platform, "stream", "realign", "cuts", "--dry-run", "--json"))
    assert {(one["group"], one["goes_on"]) for one in dry["readers"] if "cleaner" in one["group"]} == {
        ("cleaner.cuts.v1", 50)
    }
    run(platform, "stream", "realign", "cuts")
    run(platform, "destination", "pause", "postgres", "--stream", "cuts")
    clean_ends = admin.end_offsets(platform.settings.kafka, clean_topic("cuts", 1))
    places = ",".join(f"{partition}:{end}" for partition, end in clean_ends.items())
    run(platform, "destination", "replay", "postgres", "--stream", "cuts", "--from", places)
    run(platform, "destination", "resume", "postgres", "--stream", "cuts")
    last = platform.start("cleaner"), platform.start("deliverer", "--destination", "postgres")
    found = platform.settle()
    for service in last:
        service.kill()
    new = {f"new{partition}-{number}" for partition in range(PARTITIONS) for number in range(100)}
    assert ids(platform) == set(learnt) | new, "each event that took the place of a lost one has arrived"
    assert found.balanced, found
    assert found.destinations[0].outlived == 200, "it keeps what it had of the lost ones"
    assert (found.total("raw"), found.total("clean"), found.total("missing")) == (600, 600, 0)
    again = []
    with model(platform) as follower:
        for batch in follower:
            again += [row["id"] for row in batch.dicts()]
            batch.commit()
    assert set(again) == new
    assert len(again) == 400
    assert run(platform, "stream", "realign", "cuts").startswith("The logs of cuts are those that were read")

"""The demo, step by step: stack, source, subscription, drain, accounts, backfill, a model from each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet

from clearwell import settings
from clearwell.contract.load import find, find_file
from clearwell.contract.model import Contract
from clearwell.control import backfills
from clearwell.control.backfills import Backfilled, plan_backfill
from clearwell.control.connector_registration import plan_registration, register
from clearwell.control.connector_spec import load_spec
from clearwell.control.platform import Actor, Platform, user_name
from clearwell.control.schemas_publication import apply_schemas, plan_schemas
from clearwell.control.stages import Stages
from clearwell.control.subscriptions import plan_subscription, subscribe
from clearwell.demo.flights import STREAM, SourceFile, write_contract, write_source
from clearwell.demo.follower import Follower
from clearwell.demo.model import FIELDS, DelayModel
from clearwell.demo.stages import DeadLetters, Snapshot
from clearwell.errors import ConfigError, Fatal
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, dead_topic, model_group
from clearwell.kafka.range_reader import reader
from clearwell.local import stack
from clearwell.reconciliation import Balance, balance
from clearwell.reconciliation.account_holders import RegisteredHolders
from clearwell.settings import Settings

SUBSCRIPTION = "delay-model"
LOOK = 0.5
"""Seconds between two looks at the stages."""

PATIENCE = 300.0
"""Seconds without progress after which the demo gives up."""

Show = Callable[[Snapshot], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo found, in events; errors of the models in minutes of delay."""

    raw: int
    clean: int
    dropped: int
    dead: int
    postgres: int
    mongo: int
    carriers: int
    subscribed: int
    backfilled: int
    seconds: float
    balanced: bool
    drain_seconds: float
    reasons: dict[str, int]
    live_model_error: float | None
    """None where an earlier run had followed everything already."""
    backfill_model_error: float
    training_set: str


def run(home: Path, events: int, progress: Callable[[str, int, int], None], say: Say, show: Show) -> Summary:
    """Run the demo in the data folder `home`. Raises ClearwellError; what was started keeps running."""
    start = time.monotonic()
    made = write_contract(settings.schemas_folder())
    if made is not None:
        say(f"wrote the contract of the flights: {made}")
    say("starting Kafka, PostgreSQL, MongoDB and our services")
    stack.up(home, progress=progress)
    where = settings.load()
    contract = find(where.schemas, STREAM)
    _publish(where)
    say("writing the source file: real flights, with a few dozen broken events among them")
    source = write_source(home / "demo", events)
    _refuse_other_data(where, source)
    _subscribe(where, contract)
    follower = Follower(SUBSCRIPTION)
    follower.start()
    _register(where, home, source)
    say(f"registered the connector; {source.events:,} events are on their way")
    drained = time.monotonic()
    asyncio.run(_drain(where, contract, source.events, follower, show))
    drain_seconds = time.monotonic() - drained
    follower.finish()
    say("taking the accounts")
    accounts = balance(KafkaLog(where.kafka), contract, RegisteredHolders(where))
    say("replaying history into a training set")
    backfilled = _backfill(where, home / "training" / STREAM)
    learned, unseen = _train(Path(backfilled.folder))
    subscribed = _followed(where, contract) - accounts.total("repeats")
    held = {destination.name: destination.row_count or 0 for destination in accounts.destinations}
    return Summary(
        raw=accounts.total("raw"),
        clean=accounts.total("clean"),
        dropped=accounts.total("dropped"),
        dead=accounts.total("dead"),
        postgres=held["postgres"],
        mongo=held["mongo"],
        carriers=held["features.carrier_delays"],
        subscribed=subscribed,
        backfilled=backfilled.manifest.kept,
        seconds=round(time.monotonic() - start, 1),
        balanced=_agrees(accounts, source, backfilled.manifest.kept, subscribed),
        drain_seconds=round(drain_seconds, 1),
        reasons=accounts.reasons,
        live_model_error=round(follower.model.mean_error, 2) if follower.events else None,
        backfill_model_error=round(learned.error(unseen), 2),
        training_set=backfilled.folder,
    )


def _agrees(accounts: Balance, source: SourceFile, backfilled: int, subscribed: int) -> bool:
    """The accounts add up, and to what was put in."""
    return (
        accounts.balanced
        and accounts.settled
        and (accounts.total("clean"), accounts.total("dropped"), accounts.total("dead"))
        == (source.good, source.repeated, source.bad)
        and backfilled == subscribed == source.good
    )


def _followed(settings: Settings, contract: Contract) -> int:
    """Clean records that the model has committed; repeats after a crash of the cleaner are among them."""
    topic = clean_topic(STREAM, contract.version)
    return sum(offset for offset, _ in committed(settings.kafka, model_group(SUBSCRIPTION), topic).values())


def _refuse_other_data(settings: Settings, source: SourceFile) -> None:
    brought = sum(admin.end_offsets(settings.kafka, f"raw.{STREAM}").values())
    if brought not in (0, source.events):
        raise ConfigError(
            f"raw.{STREAM} already holds {brought:,} events, not the {source.events:,} of this demo: "
            "run `clearwell down --wipe` first, or give the demo a data folder of its own with --home."
        )


def _publish(settings: Settings) -> None:
    """So that the topics are there, and a worker takes the jobs."""
    with Platform(settings) as platform:
        plan = plan_schemas(platform, [find_file(settings.schemas, STREAM)])
        for planned in apply_schemas(platform, Actor(user_name(), "demo"), plan).contracts:
            if planned.refusal is not None:
                raise planned.refusal


def _subscribe(settings: Settings, contract: Contract) -> None:
    with Platform(settings) as platform:
        plan = plan_subscription(
            platform, SUBSCRIPTION, STREAM, contract.version, FIELDS, "predict delays at arrival", "earliest"
        )
        subscribe(platform, Actor(user_name(), "demo"), plan)


def _register(settings: Settings, home: Path, source: SourceFile) -> None:
    spec = home / "demo" / "connector.yaml"
    config = {"path": str(source.path), "id_field": "id"}
    spec.write_text(
        json.dumps({"name": "flights-demo", "source": "file", "stream": STREAM, "config": config}, indent=2) + "\n"
    )
    with Platform(settings) as platform:
        register(platform, Actor(user_name(), "demo"), plan_registration(platform, load_spec(spec)))


async def _drain(settings: Settings, contract: Contract, expected: int, follower: Follower, show: Show) -> None:
    """Look at all stages until none waits for anything."""
    stages = Stages(settings, contract, [SUBSCRIPTION])
    async with reader(settings.kafka) as log:
        letters = DeadLetters(log, STREAM, lambda: admin.end_offsets(settings.kafka, dead_topic(STREAM)))
        snapshot, moved, before = Snapshot(), time.monotonic(), -1
        while not (snapshot.stages and snapshot.idle and snapshot.done("source") >= expected):
            await letters.update()
            snapshot = Snapshot(await asyncio.to_thread(stages.counts), dict(letters.reasons))
            show(snapshot)
            total = sum(stage.done for stage in snapshot.stages)
            if total != before:
                moved, before = time.monotonic(), total
            if follower.failure is not None:
                raise follower.failure
            if time.monotonic() - moved > PATIENCE:
                raise Fatal(f"Nothing moved for {PATIENCE:.0f} s: look at `clearwell status` and the logs it names.")
            await asyncio.sleep(LOOK)
    stages.close()


def _backfill(where: Settings, into: Path) -> Backfilled:
    """Replay everything into a training set, as cron would."""
    with Platform(where) as platform:
        return backfills.apply(
            platform, Actor(user_name(), "demo"), plan_backfill(platform, STREAM, into), lambda _: None
        )


def _train(training: Path) -> tuple[DelayModel, list[dict[str, float]]]:
    """A model trained on nine tenths of the training set, and the tenth it has not seen."""
    rows = parquet.read_table(training, columns=list(FIELDS)).to_pylist()
    unseen = rows[9::10]
    model = DelayModel()
    model.learn(row for index, row in enumerate(rows) if index % 10 != 9)
    return model, unseen

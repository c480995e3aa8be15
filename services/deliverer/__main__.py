"""`python -m services.deliverer --stream S --version N --destination D`: fills one store until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial

from clearwell import settings
from clearwell.contract.load import find
from clearwell.contract.model import Contract, Route
from clearwell.destinations.protocol import Inspectable
from clearwell.errors import ClearwellError, ConfigError
from clearwell.kafka import admin
from clearwell.kafka.lineage import Lineage
from clearwell.kafka.log_client import KafkaLog, log_of
from clearwell.kafka.names import clean_topic, deliverer_group, raw_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.plugins.routes import open_destination
from clearwell.privacy.open import open_keyring
from clearwell.records.origins import Origins
from clearwell.records.recent_history import RecentHistory
from clearwell.registry import Registry
from clearwell.registry.deliveries import Delivery
from clearwell.settings import Settings
from clearwell.steps import bind
from clearwell.worker import faust_app
from clearwell.worker.gaps import Gaps
from clearwell.worker.topic_identity import TopicIdentity
from services.deliverer.health import Health
from services.deliverer.pause import Pausable
from services.deliverer.positions import StorePositions
from services.deliverer.refused import RefusedRows
from services.deliverer.service import Deliverer
from services.deliverer.store import Store
from services.deliverer.writer import Writer
from services.lean import arrow_with_system_memory, arrow_without_pandas
from services.losses import LossNotes


async def make(stream: str, version: int | None, destination: str) -> faust_app.Job:
    """The app, its topic and its work. Raises ConfigError when anything it needs is missing (invariant 6)."""
    where = settings.load()
    contract = find(where.schemas, stream, version)
    route = contract.route(destination)
    group = deliverer_group(stream, contract.version, destination)
    health = Health(Registry(where.postgres), Delivery(group, stream, contract.version, destination))
    await asyncio.to_thread(health.begin)
    try:
        return await _job(where, contract, route, group, health)
    except ClearwellError as error:
        health.last_words(error)
        raise


async def _job(where: Settings, contract: Contract, route: Route, group: str, health: Health) -> faust_app.Job:
    schema = bind(contract).schema
    topic = clean_topic(contract.stream, contract.version)
    admin.require_topics(where.kafka, contract.stream, contract.version)
    lineage = Lineage(
        log_of(KafkaLog(where.kafka), topic), lambda partition, end: _way_out(contract, route, partition, end)
    )
    identity = TopicIdentity(topic, lambda: admin.topic_now(where.kafka, topic), lineage)
    store = Store(open_destination(where, route, schema, group), health)
    arrow_without_pandas()
    await require_table(store, identity, route.to)
    await store.call(store.destination.open)
    positions = StorePositions(store, identity)
    app = faust_app.build_app(group, where.kafka, positions)
    tail = RecentHistory(KafkaLog(where.kafka), contract.stream)
    refused = RefusedRows(route.to, contract, open_keyring(where), tail, lambda: faust_app.producer_of(app))
    origins = Origins(partial(admin.id_and_ends, where.kafka, raw_topic(contract.stream)))
    gaps = Gaps(KafkaLog(where.kafka), topic, group, LossNotes(where, topic, group), health.lost)
    codec = CleanCodec(schema)
    work = Deliverer(
        Writer(store, refused.bury), refused, positions, identity, origins, gaps, codec, route.wants(schema)
    )
    pausable = Pausable(work, positions, health)
    return faust_app.Job(app, identity, pausable, pausable)


async def require_table(store: Store, identity: TopicIdentity, to: str) -> None:
    """Raise ConfigError when what held the delivered events is gone: a new one would lack them, and nobody be told."""
    destination = store.destination
    if not isinstance(destination, Inspectable) or await store.call(destination.is_there):
        return
    topic_id = await identity.refresh()
    delivered = sum(one.delivered for one in await store.call(lambda: destination.accounts(topic_id)))
    if delivered:
        raise ConfigError(
            f"The table of {to} is gone, and with it {delivered:,} events that were delivered into it: put it back, or "
            f"fill a new one by `clearwell destination pause {to}`, `clearwell destination replay {to} --from earliest`"
            f" and `clearwell destination resume {to}`."
        )


def _way_out(contract: Contract, route: Route, partition: int, end: int) -> str:
    """Where the clean log has parted from what a destination was given."""
    return (
        f"{route.to} keeps what it has. While it is paused, `clearwell destination replay {route.to} --stream "
        f"{contract.stream} --from {partition}:{end}` lets it go on from where the two part."
    )


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.deliverer", description=__doc__)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--version", type=int, default=None, help="contract version; the highest by default")
    parser.add_argument("--destination", required=True, help="the `to` of one of the contract's routes")
    args = parser.parse_args()
    arrow_with_system_memory()
    faust_app.set_up_logging()
    faust_app.run(lambda: make(args.stream, args.version, args.destination))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.deliverer --stream S --version N --destination D`: fills one store until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import sys

from clearwell import settings
from clearwell.arrow_memory import keep_pandas_out, use_system_memory
from clearwell.contract.load import find
from clearwell.contract.model import Contract, Route
from clearwell.errors import ClearwellError
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, deliverer_group
from clearwell.plugins.open_destination import open_destination
from clearwell.privacy.open_keyring import open_keyring
from clearwell.registry import Registry
from clearwell.registry.deliveries import Delivery
from clearwell.settings import Settings
from clearwell.steps import bind
from clearwell.worker import faust_app
from clearwell.worker.deliverer import open_deliverer
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.job import GetProducer, Job
from services.deliverer.health import Health
from services.deliverer.pause import Pausable
from services.losses import LossNotes


async def make(stream: str, version: int | None, destination: str, producer: GetProducer) -> Job:
    """The job. Raises ConfigError when anything it needs is missing (invariant 6)."""
    process_settings = settings.load()
    contract = find(process_settings.schemas, stream, version)
    route = contract.route(destination)
    group = deliverer_group(stream, contract.version, destination)
    health = Health(Registry(process_settings.postgres), Delivery(group, stream, contract.version, destination))
    await asyncio.to_thread(health.begin)
    try:
        return await _job(process_settings, contract, route, group, health, producer)
    except ClearwellError as error:
        health.report_failure(error)
        raise


async def _job(
    process_settings: Settings, contract: Contract, route: Route, group: str, health: Health, producer: GetProducer
) -> Job:
    admin.require_topics(process_settings.kafka, contract.stream, contract.version)
    store = DestinationThread(open_destination(process_settings, route, bind(contract).schema, group), health)
    keep_pandas_out()
    client, topic = KafkaLog(process_settings.kafka), clean_topic(contract.stream, contract.version)
    note_loss = LossNotes(process_settings, topic, group)
    work = await open_deliverer(
        client, contract, route, open_keyring(process_settings), store, note_loss, producer, health.lost
    )
    pausable = Pausable(work, work.positions, health)
    return Job(client, group, work.identity, work.positions, pausable, pausable)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.deliverer", description=__doc__)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--version", type=int, default=None, help="contract version; the highest by default")
    parser.add_argument("--destination", required=True, help="the `to` of one of the contract's routes")
    args = parser.parse_args()
    use_system_memory()
    faust_app.set_up_logging()
    faust_app.run(lambda producer: make(args.stream, args.version, args.destination, producer))


if __name__ == "__main__":
    sys.exit(main())

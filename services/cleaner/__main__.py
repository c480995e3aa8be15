"""`python -m services.cleaner --stream S --version N`: cleans one stream until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from clearwell import settings
from clearwell.contract.load import find
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import cleaner_group, raw_topic
from clearwell.pipeline.compiler import compile
from clearwell.privacy.open_keyring import open_keyring
from clearwell.worker import faust_app
from clearwell.worker.cleaner import open_cleaner
from clearwell.worker.job import GetProducer, Job
from services.cleaner.connector_stop import ConnectorStop
from services.losses import LossNotes


async def make(stream: str, version: int | None, producer: GetProducer) -> Job:
    """The job. Raises ConfigError or Fatal when anything it needs is missing (invariant 6)."""
    process_settings = settings.load()
    contract = find(process_settings.schemas, stream, version)
    keyring = open_keyring(process_settings)
    pipeline = compile(contract, keyring)
    admin.require_topics(process_settings.kafka, stream, contract.version)
    client, group = KafkaLog(process_settings.kafka), cleaner_group(stream, contract.version)
    stop_connector, note_loss = (
        ConnectorStop(process_settings.postgres, stream),
        LossNotes(process_settings, raw_topic(stream), group),
    )
    work = open_cleaner(client, pipeline, keyring, stop_connector, note_loss, producer)
    return Job(client, group, work.identity, work.positions, work)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.cleaner", description=__doc__)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--version", type=int, default=None, help="contract version; the highest by default")
    args = parser.parse_args()
    faust_app.set_up_logging()
    faust_app.run(lambda producer: make(args.stream, args.version, producer))


if __name__ == "__main__":
    sys.exit(main())

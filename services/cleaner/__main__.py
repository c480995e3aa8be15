"""`python -m services.cleaner --stream S --version N`: cleans one stream until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from clearwell import settings
from clearwell.contract.load import find
from clearwell.kafka import admin
from clearwell.kafka.lineage import Lineage, way_out
from clearwell.kafka.log_client import KafkaLog, log_of
from clearwell.kafka.names import cleaner_group, raw_topic
from clearwell.pipeline.compiler import compile
from clearwell.privacy.open import open_keyring
from clearwell.records.recent_history import RecentHistory
from clearwell.worker import faust_app
from clearwell.worker.gaps import Gaps
from clearwell.worker.positions import GroupPositions
from clearwell.worker.topic_identity import TopicIdentity
from services.cleaner.senders import Senders
from services.cleaner.service import Cleaner
from services.losses import LossNotes


async def make(stream: str, version: int | None) -> faust_app.Job:
    """The app, its topic and its work. Raises ConfigError or Fatal when anything it needs is missing (invariant 6)."""
    where = settings.load()
    contract = find(where.schemas, stream, version)
    keyring = open_keyring(where)
    pipeline = compile(contract, keyring)
    topic = raw_topic(stream)
    admin.require_topics(where.kafka, stream, contract.version)
    lineage = Lineage(log_of(KafkaLog(where.kafka), topic), way_out(stream))
    identity = TopicIdentity(topic, lambda: admin.topic_now(where.kafka, topic), lineage)
    group, positions = cleaner_group(stream, contract.version), GroupPositions(identity)
    app = faust_app.build_app(group, where.kafka, positions)
    gaps = Gaps(KafkaLog(where.kafka), topic, group, LossNotes(where, topic, group))
    tail = RecentHistory(KafkaLog(where.kafka), stream)
    senders = Senders(where.postgres, stream)
    work = Cleaner(pipeline, keyring, identity, positions, gaps, tail, senders, lambda: faust_app.producer_of(app))
    return faust_app.Job(app, identity, work)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.cleaner", description=__doc__)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--version", type=int, default=None, help="contract version; the highest by default")
    args = parser.parse_args()
    faust_app.set_up_logging()
    faust_app.run(lambda: make(args.stream, args.version))


if __name__ == "__main__":
    sys.exit(main())

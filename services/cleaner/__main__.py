"""`python -m services.cleaner --stream S --version N`: cleans one stream until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from clearwell import settings
from clearwell.contract.load import find
from clearwell.kafka import admin, worker
from clearwell.kafka.bounded import log_of
from clearwell.kafka.gaps import Gaps
from clearwell.kafka.identity import TopicIdentity
from clearwell.kafka.lineage import Lineage, way_out
from clearwell.kafka.names import cleaner_group, raw_topic
from clearwell.kafka.positions import GroupPositions
from clearwell.kafka.tail import Tail
from clearwell.pipeline.compile import compile
from clearwell.privacy.open import open_keyring
from services.cleaner.senders import Senders
from services.cleaner.service import Cleaner
from services.losses import LossNotes


async def make(stream: str, version: int | None) -> worker.Job:
    """The app, its topic and its work. Raises ConfigError or Fatal when anything it needs is missing (invariant 6)."""
    where = settings.load()
    contract = find(where.schemas, stream, version)
    keyring = open_keyring(where)
    pipeline = compile(contract, keyring)
    topic = raw_topic(stream)
    admin.require_topics(where.kafka, stream, contract.version)
    lineage = Lineage(log_of(where.kafka, topic), way_out(stream))
    identity = TopicIdentity(topic, lambda: admin.topic_now(where.kafka, topic), lineage)
    group, positions = cleaner_group(stream, contract.version), GroupPositions(identity)
    app = worker.build_app(group, where.kafka, positions)
    gaps = Gaps(where.kafka, topic, group, LossNotes(where, topic, group))
    tail = Tail(where.kafka, stream)
    senders = Senders(where.postgres, stream)
    work = Cleaner(pipeline, keyring, identity, positions, gaps, tail, senders, lambda: worker.producer_of(app))
    return worker.Job(app, identity, work)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.cleaner", description=__doc__)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--version", type=int, default=None, help="contract version; the highest by default")
    args = parser.parse_args()
    worker.set_up_logging()
    worker.run(lambda: make(args.stream, args.version))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.letters --stream S`: copies a stream's dead letters into Postgres until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from clearwell import settings
from clearwell.kafka import admin, worker
from clearwell.kafka.bounded import log_of
from clearwell.kafka.gaps import Gaps
from clearwell.kafka.identity import TopicIdentity
from clearwell.kafka.lineage import Lineage, way_out
from clearwell.kafka.names import dead_topic, letters_group
from clearwell.kafka.positions import GroupPositions
from clearwell.letters.arrive import Judge
from clearwell.privacy.open import open_keyring
from clearwell.registry import Registry
from services.letters.service import LetterCopier
from services.losses import LossNotes


async def make(stream: str) -> worker.Job:
    """The app, its topic and its work. Raises ConfigError or Retryable when anything it needs is missing."""
    where = settings.load()
    topic, group = dead_topic(stream), letters_group(stream)
    keyring = open_keyring(where)  # a letter that does not open is none of ours
    lineage = Lineage(log_of(where.kafka, topic), way_out(stream))
    identity = TopicIdentity(topic, lambda: admin.topic_now(where.kafka, topic), lineage)
    app = worker.build_app(group, where.kafka, GroupPositions(identity))
    gaps = Gaps(where.kafka, topic, group, LossNotes(where, topic, group))
    return worker.Job(app, identity, LetterCopier(Judge(stream, keyring), Registry(where.postgres), identity, gaps))


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.letters", description=__doc__)
    parser.add_argument("--stream", required=True)
    args = parser.parse_args()
    worker.set_up_logging()
    worker.run(lambda: make(args.stream))


if __name__ == "__main__":
    sys.exit(main())

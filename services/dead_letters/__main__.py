"""`python -m services.dead_letters --stream S`: copies a stream's dead letters into Postgres until it is stopped."""

from __future__ import annotations

import argparse
import sys

from clearwell import settings
from clearwell.dead_letters.copier import DeadLetterCopier
from clearwell.dead_letters.verify import DeadTopicVerifier
from clearwell.kafka.lineage import way_out
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import dead_letters_group, dead_topic
from clearwell.privacy.open_keyring import open_keyring
from clearwell.registry import Registry
from clearwell.worker import faust_app
from clearwell.worker.gaps import Gaps
from clearwell.worker.job import Job
from clearwell.worker.positions import GroupPositions
from clearwell.worker.topic_identity import TopicIdentity
from services.losses import LossNotes


async def make(stream: str) -> Job:
    """The job. Raises ConfigError or Retryable when anything it needs is missing."""
    process_settings = settings.load()
    topic, group = dead_topic(stream), dead_letters_group(stream)
    verifier = DeadTopicVerifier(stream, open_keyring(process_settings))  # what does not open is none of ours
    client = KafkaLog(process_settings.kafka)
    identity = TopicIdentity.of(client, topic, way_out(stream))
    gaps = Gaps(client, topic, group, LossNotes(process_settings, topic, group))
    copier = DeadLetterCopier(verifier, Registry(process_settings.postgres), identity, gaps)
    return Job(client, group, identity, GroupPositions(identity), copier)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.dead_letters", description=__doc__)
    parser.add_argument("--stream", required=True)
    args = parser.parse_args()
    faust_app.set_up_logging()
    faust_app.run(lambda _: make(args.stream))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.archiver --stream S`: archives a stream's raw events until it is told to stop."""

from __future__ import annotations

import argparse
import sys

from clearwell import settings
from clearwell.contract.load import find
from clearwell.contract.model import ARCHIVE, Contract
from clearwell.destinations.lake.archive import Archive, archive_place
from clearwell.destinations.lake.upkeep import CommitPace
from clearwell.errors import ConfigError
from clearwell.kafka.lineage import way_out
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import archive_group, raw_topic
from clearwell.plugins.lakes import lake_root
from clearwell.privacy.open_keyring import open_keyring
from clearwell.worker import faust_app
from clearwell.worker.gaps import Gaps
from clearwell.worker.job import Job
from clearwell.worker.topic_identity import TopicIdentity
from services.archiver.positions import ArchivePositions
from services.archiver.service import Archiver
from services.archiver.writer import ArchiveWriter
from services.losses import LossNotes


async def make(stream: str, to: str) -> Job:
    """The job. Raises ConfigError or Retryable when anything it needs is missing."""
    process_settings, pace = settings.load(), CommitPace.of()
    require_route(find(process_settings.schemas, stream), to)
    root = lake_root(process_settings, to.partition(".")[2] or None)
    topic, group = raw_topic(stream), archive_group(stream, to)
    archive = Archive(archive_place(root, stream), stream, open_keyring(process_settings), group, pace)
    writer = ArchiveWriter(archive, pace.seconds)
    await writer.open()
    client = KafkaLog(process_settings.kafka)
    identity = TopicIdentity.of(client, topic, way_out(stream))
    positions = ArchivePositions(writer, identity)
    gaps = Gaps(client, topic, group, LossNotes(process_settings, topic, group))
    return Job(client, group, identity, positions, Archiver(writer, positions, identity, gaps))


def require_route(contract: Contract, to: str) -> None:
    """Raise ConfigError unless the contract wants its raw events in that archive."""
    if to not in [route.to for route in contract.archives]:
        raise ConfigError(f"{contract.location.file} has no route to {to}: add `- to: {to}` to its routes.")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="services.archiver", description=__doc__)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--to", default=ARCHIVE, help="the `to` of the contract's route: archive, or archive.<lake>")
    args = parser.parse_args()
    faust_app.set_up_logging()
    faust_app.run(lambda _: make(args.stream, args.to))


if __name__ == "__main__":
    sys.exit(main())

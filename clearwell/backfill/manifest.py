"""The last file of a run: what was read, under which contract, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from clearwell.backfill.files import write_durably
from clearwell.backfill.part import ChunkAccount
from clearwell.backfill.plan import OffsetRange, ReplayPlan, file_name

MANIFEST = "_manifest.json"
"""Readers of a folder of Parquet pass over names that begin with an underscore."""


class PartitionAccount(msgspec.Struct, frozen=True):
    """Raw offsets [first, end) of one partition: kept + dropped + rejected + gone + empty of them."""

    partition: int
    first: int
    end: int
    kept: int
    dropped: int
    rejected: int
    gone: int
    files: tuple[str, ...]
    empty: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """`contract` and `pipeline` are SHA-256 of the contract's file and of the compiled pipeline's source.

    `gone_before` maps a partition to offsets before the range that retention had removed (see `ReplayPlan.gone`).
    `empty` offsets of the range are no events: markers of transactions, and what was aborted.
    """

    run: str
    stream: str
    version: int
    contract: str
    pipeline: str
    clearwell: str
    topic: str
    topic_id: str
    start: str | None
    end: str | None
    kept: int
    dropped: int
    rejected: int
    gone: int
    partitions: tuple[PartitionAccount, ...]
    gone_before: dict[int, int]
    started: str
    ended: str
    complete: bool
    empty: int = 0


def make(plan: ReplayPlan, pipeline: str, accounts: Mapping[OffsetRange, ChunkAccount]) -> Manifest:
    """The manifest of a run whose chunks are all written."""
    partitions = tuple(_partition(whole, plan, accounts) for whole in plan.ranges)
    request = plan.request
    return Manifest(
        run=plan.run,
        stream=request.stream,
        version=request.version,
        contract=request.contract,
        pipeline=pipeline,
        clearwell=version("clearwell"),
        topic=plan.topic,
        topic_id=plan.topic_id,
        start=str(request.start) if request.start else None,
        end=str(request.end) if request.end else None,
        kept=sum(partition.kept for partition in partitions),
        dropped=sum(partition.dropped for partition in partitions),
        rejected=sum(partition.rejected for partition in partitions),
        gone=sum(partition.gone for partition in partitions),
        partitions=partitions,
        gone_before=plan.gone,
        started=_moment(plan.made),
        ended=_moment(datetime.now(UTC).timestamp()),
        complete=True,
        empty=sum(partition.empty for partition in partitions),
    )


def _partition(whole: OffsetRange, plan: ReplayPlan, accounts: Mapping[OffsetRange, ChunkAccount]) -> PartitionAccount:
    chunks = [chunk for chunk in plan.chunks() if chunk.partition == whole.partition]
    written = [accounts[chunk] for chunk in chunks]
    return PartitionAccount(
        whole.partition,
        whole.first,
        whole.end,
        sum(account.kept for account in written),
        sum(account.dropped for account in written),
        sum(account.rejected for account in written),
        sum(account.gone for account in written),
        tuple(map(file_name, chunks)),
        sum(account.empty for account in written),
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write(folder: Path, manifest: Manifest) -> None:
    """Make the manifest durable in a run's folder."""
    with write_durably(folder / MANIFEST) as unfinished:
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read(folder: Path) -> Manifest | None:
    """The manifest of a finished run; None when it is not there."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None

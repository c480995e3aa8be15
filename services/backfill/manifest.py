"""The last file of a run: what was read, under which contract, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from services.backfill.files import written
from services.backfill.part import Account
from services.backfill.plan import Plan, Range, file_name

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

    `gone_before` maps a partition to offsets before the range that retention had removed (see `Plan.gone`).
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


def make(plan: Plan, pipeline: str, accounts: Mapping[Range, Account]) -> Manifest:
    """The manifest of a run whose chunks are all written."""
    partitions = tuple(_partition(one, plan, accounts) for one in plan.ranges)
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
        kept=sum(one.kept for one in partitions),
        dropped=sum(one.dropped for one in partitions),
        rejected=sum(one.rejected for one in partitions),
        gone=sum(one.gone for one in partitions),
        partitions=partitions,
        gone_before=plan.gone,
        started=_moment(plan.made),
        ended=_moment(datetime.now(UTC).timestamp()),
        complete=True,
        empty=sum(one.empty for one in partitions),
    )


def _partition(whole: Range, plan: Plan, accounts: Mapping[Range, Account]) -> PartitionAccount:
    chunks = [one for one in plan.chunks() if one.partition == whole.partition]
    found = [accounts[one] for one in chunks]
    return PartitionAccount(
        whole.partition,
        whole.first,
        whole.end,
        sum(one.kept for one in found),
        sum(one.dropped for one in found),
        sum(one.rejected for one in found),
        sum(one.gone for one in found),
        tuple(file_name(one) for one in chunks),
        sum(one.empty for one in found),
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write(folder: Path, manifest: Manifest) -> None:
    """Make the manifest durable in a run's folder."""
    with written(folder / MANIFEST) as beside:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read(folder: Path) -> Manifest | None:
    """The manifest of a finished run; None when it is not there."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None

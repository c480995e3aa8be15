"""The reconciliation of a stream as people and programs see it: of its sources, partitions and destinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from clearwell.control.platform import Platform
from clearwell.control.published_contracts import published_contract
from clearwell.kafka.log_client import KafkaLog
from clearwell.reconciliation import Balance
from clearwell.reconciliation import balance as reconcile
from clearwell.reconciliation.account_holders import RegisteredHolders
from clearwell.reconciliation.destination_ledger import DestinationBalance
from clearwell.reconciliation.offset_ledger import PartitionBalance
from clearwell.reconciliation.source_accounts import SourceBalance


class SourceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A connector's account of its source, as `control.connectors.ConnectorStatus` has it."""

    name: str
    state: str
    balanced: bool
    read: int | None
    accepted: int
    refused: int
    at_source: int | None
    passed_over: int | None
    difference: str | None


class DestinationAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination took, in events, and holds, in rows: as `DestinationBalance` of the reconciliation has it.

    `filtered`: its route wants none of them; `row_count`: None where it can't tell.
    """

    name: str
    balanced: bool
    expected: int
    delivered: int
    refused: int
    refused_without_dead_letter: int
    filtered: int
    keys: int
    row_count: int | None
    waiting: int
    older: int
    lost: int
    late: int
    outlived: int


class UnreadDestination(msgspec.Struct, frozen=True, kw_only=True):
    """A destination that does not take this version, and why: its account can't be read."""

    name: str
    error: str


class StreamBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of one stream at one moment; the totals are those of its partitions, in events.

    `settled`: nothing is under way; `cleaned`: a cleaner has read this version at some time; `reasons`: dead letters by
    reason.
    """

    stream: str
    version: int
    balanced: bool
    settled: bool
    cleaned: bool
    raw: int
    clean: int
    dropped: int
    dead: int
    expired: int
    missing: int
    doubled: int
    forged: int
    repeats: int
    waiting: int
    lost: int
    reasons: Mapping[str, int]
    sources: Sequence[SourceAccount]
    partitions: Sequence[PartitionBalance]
    destinations: Sequence[DestinationAccount]
    unread: Sequence[UnreadDestination]


TOTALS = ("raw", "clean", "dropped", "dead", "expired", "missing", "doubled", "forged", "repeats", "waiting", "lost")
"""Columns that a partition and the whole have alike."""


def take_balance(platform: Platform, stream: str, version: int | None = None) -> StreamBalance:
    """Read all that a stream's topics and destinations still hold; `version` None is the highest. Blocks.

    Raises ConfigError when there is no such contract or a topic is missing, Retryable when a server does not answer.
    """
    contract = published_contract(platform, stream, version)
    log, holders = KafkaLog(platform.settings.kafka), RegisteredHolders(platform.settings)
    return stream_balance(reconcile(log, contract, holders))


def stream_balance(balance: Balance) -> StreamBalance:
    """A reconciliation as a result."""
    return StreamBalance(
        stream=balance.stream,
        version=balance.version,
        balanced=balance.balanced,
        settled=balance.settled,
        cleaned=balance.cleaned,
        **{name: balance.total(name) for name in TOTALS},
        reasons=balance.reasons,
        sources=[_source_account(source) for source in balance.sources],
        partitions=balance.partitions,
        destinations=[_destination_account(destination) for destination in balance.destinations],
        unread=[UnreadDestination(name=name, error=error) for name, error in balance.unread],
    )


def _source_account(source: SourceBalance) -> SourceAccount:
    return SourceAccount(
        name=source.name,
        state=source.state.value,
        balanced=source.balanced,
        read=source.counts.read,
        accepted=source.counts.accepted,
        refused=source.counts.refused,
        at_source=source.counts.held,
        passed_over=source.counts.passed_over,
        difference=source.difference,
    )


def _destination_account(destination: DestinationBalance) -> DestinationAccount:
    return DestinationAccount(
        name=destination.name,
        balanced=destination.balanced,
        expected=destination.expected,
        delivered=destination.delivered,
        refused=destination.refused,
        refused_without_dead_letter=destination.unknown,
        filtered=destination.filtered,
        keys=destination.keys,
        row_count=destination.row_count,
        waiting=destination.waiting,
        older=destination.older,
        lost=destination.lost,
        late=destination.late,
        outlived=destination.outlived,
    )

"""The accounts of a platform in memory, besides its log: those of the sources it read and of its destinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clearwell.contract.model import CleanSchema, Route
from clearwell.destinations.protocol import Destination
from clearwell.reconciliation.source_accounts import SourceBalance
from clearwell.registry.connectors import State
from clearwell.registry.positions import Counts


class MemoryHolders:
    """An `AccountHolders` without a registry."""

    def __init__(self, counts: Mapping[str, Counts], make: Callable[[Route], Destination]) -> None:
        """`counts` are those of connectors by name; `make` makes the destination of a route."""
        self._counts = counts
        self._make = make

    def sources(self, stream: str) -> tuple[SourceBalance, ...]:
        return tuple(
            SourceBalance(name, State.RUNNING, counts, counts.difference())
            for name, counts in sorted(self._counts.items())
        )

    def destination(self, route: Route, schema: CleanSchema, group: str) -> Destination:
        return self._make(route)

    def replayed(self, stream: str, destination: str, topic_id: str) -> frozenset[tuple[int, int]]:
        return frozenset()  # nobody replays dead letters here

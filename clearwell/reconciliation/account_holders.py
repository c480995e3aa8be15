"""Who has accounts of a stream besides its log: the connectors that fed it, and the destinations that took it."""

from __future__ import annotations

from contextlib import closing
from typing import Protocol

from clearwell.contract.model import CleanSchema, Route
from clearwell.destinations.protocol import Destination
from clearwell.plugins.open_destination import open_destination
from clearwell.reconciliation.source_accounts import SourceBalance, source_balances
from clearwell.registry import Registry, dead_letters
from clearwell.settings import Settings


class AccountHolders(Protocol):
    """Where a balance finds what the log does not tell. Methods block; they raise Retryable and ConfigError."""

    def sources(self, stream: str) -> tuple[SourceBalance, ...]:
        """What each connector of a stream counted at its source, and what it brought."""

    def destination(self, route: Route, schema: CleanSchema, group: str) -> Destination:
        """The destination of a route, not yet open; whoever asks closes it."""

    def replayed(self, stream: str, destination: str, topic_id: str) -> frozenset[tuple[int, int]]:
        """Clean partitions and offsets of a destination's dead letters that a replay delivered."""


class RegisteredHolders:
    """Those that the registry knows."""

    def __init__(self, settings: Settings) -> None:
        """Connects to nothing yet."""
        self._settings = settings

    def sources(self, stream: str) -> tuple[SourceBalance, ...]:
        with closing(Registry(self._settings.postgres)) as registry:
            return source_balances(registry, stream)

    def destination(self, route: Route, schema: CleanSchema, group: str) -> Destination:
        return open_destination(self._settings, route, schema, group)

    def replayed(self, stream: str, destination: str, topic_id: str) -> frozenset[tuple[int, int]]:
        with closing(Registry(self._settings.postgres)) as registry, registry.session() as session:
            return dead_letters.delivered(session, stream, destination, topic_id)

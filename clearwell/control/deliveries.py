"""Which deliveries a person means by a destination and, where several streams lead to it, a stream."""

from __future__ import annotations

from collections.abc import Sequence

from clearwell.contract.model import Contract
from clearwell.control.platform import Platform
from clearwell.control.published_contracts import current_contracts
from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry.deliveries import Delivery, deliveries_of


def find_deliveries(platform: Platform, destination: str, stream: str | None) -> list[tuple[Contract, Delivery]]:
    """The deliveries to a destination, of one stream or of all, by stream.

    Raises ConfigError (code "no_route") with the nearest name when there is none.
    """
    contracts = current_contracts(platform)
    every = [(contract, delivery) for contract in contracts for delivery in deliveries_of(contract)]
    to_it = [pair for pair in every if pair[1].destination == destination]
    if not to_it:
        raise _unknown(destination, contracts, sorted({delivery.destination for _, delivery in every}))
    selected = [pair for pair in to_it if stream in (None, pair[1].stream)]
    if not selected:
        suggestion = nearest(str(stream), [delivery.stream for _, delivery in to_it])
        raise ConfigError(
            f'"{stream}" has no route to {destination}.{suggestion}', code="no_route", hint=Hint("destinations.list")
        )
    return selected


def find_delivery(platform: Platform, destination: str, stream: str | None) -> tuple[Contract, Delivery]:
    """The only one. Raises as `find_deliveries`, and ConfigError (code "several_streams") where a stream is needed."""
    pairs = find_deliveries(platform, destination, stream)
    if len(pairs) > 1:
        streams = ", ".join(delivery.stream for _, delivery in pairs)
        raise ConfigError(
            f"Several streams are delivered to {destination}: {streams}.",
            code="several_streams",
            hint=Hint("destinations.name_stream"),
        )
    return pairs[0]


def _unknown(destination: str, contracts: Sequence[Contract], known: Sequence[str]) -> ConfigError:
    for contract in contracts:
        if any(route.to == destination for route in contract.archives):
            return ConfigError(
                f"{destination} is no destination of clean events: an archiver writes each raw event into it once, so "
                "there is nothing to pause or to deliver again.",
                code="archive_route",
                hint=Hint("lake.check", contract.stream),
            )
    suggestion = nearest(destination, known) or f" There are: {', '.join(known) or 'none'}."
    return ConfigError(f'No published contract has a route to "{destination}".{suggestion}', code="no_route")

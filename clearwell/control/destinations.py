"""Destinations as people and programs see them: which there are, and how each delivery to them is doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from clearwell.contract.model import Contract
from clearwell.control.deliveries import find_deliveries
from clearwell.control.platform import Platform
from clearwell.control.published_contracts import current_contracts
from clearwell.errors import ClearwellError
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.names import clean_topic
from clearwell.plugins.open_destination import open_destination
from clearwell.registry import deliveries, destinations
from clearwell.registry.deliveries import Delivery, RegisteredDelivery
from clearwell.registry.destinations import RegisteredDestination
from clearwell.settings import Settings
from clearwell.steps import bind


class DeliveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one delivery is doing. `behind`: clean events that it has not passed; None where nobody could be asked."""

    stream: str
    version: int
    destination: str
    state: str
    behind: int | None
    last_error: str | None
    last_error_at: datetime | None
    next_try_at: datetime | None


class DeliveryDetails(DeliveryStatus, frozen=True, kw_only=True):
    """With what the destination itself says: events that it took, and the offset to go on from by partition.

    All of them are None where it can't be asked; `error` is then why. `filtered` are those that its route left out.
    """

    delivered: int | None = None
    filtered: int | None = None
    duplicates: int | None = None
    refused: int | None = None
    positions: Mapping[str, int] | None = None
    error: str | None = None


class DestinationList(msgspec.Struct, frozen=True, kw_only=True):
    """The registered destinations, and the deliveries to these and to the platform's own."""

    destinations: Sequence[RegisteredDestination]
    deliveries: Sequence[DeliveryStatus]


class DestinationDetails(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one destination; `registered` is None for the platform's own."""

    destination: str
    registered: RegisteredDestination | None
    deliveries: Sequence[DeliveryDetails]


def list_destinations(platform: Platform) -> DestinationList:
    """All destinations and deliveries; these also of older versions and of routes that are gone. Blocks."""
    settings = platform.settings
    with platform.looking() as session:
        registered = destinations.list_destinations(session)
        known = {row.delivery.group: row for row in deliveries.list_deliveries(session)}
    current = [delivery for contract in current_contracts(platform) for delivery in deliveries.deliveries_of(contract)]
    groups = {delivery.group for delivery in current}
    former = [row for group, row in known.items() if group not in groups]
    rows = [_status(delivery, known.get(delivery.group), behind(settings, delivery)) for delivery in current]
    return DestinationList(
        destinations=registered,
        deliveries=[DeliveryStatus(**row) for row in (*rows, *_former(settings, former, current))],
    )


def show_destination(platform: Platform, destination: str, stream: str | None = None) -> DestinationDetails:
    """One destination, asked itself, for one stream or all. Blocks.

    Raises ConfigError, with the nearest name, when no route leads to it.
    """
    pairs = find_deliveries(platform, destination, stream)
    with platform.looking() as session:
        kind, _, name = destination.partition(".")
        registered = destinations.find(session, kind, name)
        known = [deliveries.find(session, delivery.group) for _, delivery in pairs]
    return DestinationDetails(
        destination=destination,
        registered=registered,
        deliveries=[
            DeliveryDetails(**_status(delivery, row, None) | _answer(platform.settings, contract, delivery))
            for (contract, delivery), row in zip(pairs, known, strict=True)
        ],
    )


def behind(settings: Settings, delivery: Delivery) -> int | None:
    """Clean events that a deliverer's group has not acknowledged; None when Kafka can't be asked."""
    topic = clean_topic(delivery.stream, delivery.version)
    try:
        ends = admin.end_offsets(settings.kafka, topic)
        passed = committed(settings.kafka, delivery.group, topic)
    except ClearwellError:  # no such topic yet, or Kafka is away: the rest is shown
        return None
    return sum(max(0, end - passed.get(partition, (0, ""))[0]) for partition, end in ends.items())


def _status(delivery: Delivery, registered: RegisteredDelivery | None, behind: int | None) -> dict[str, Any]:
    health = None if registered is None else registered.health
    return {
        "stream": delivery.stream,
        "version": delivery.version,
        "destination": delivery.destination,
        "state": "not started" if registered is None else str(registered.state),
        "behind": behind,
        "last_error": None if health is None else health.last_error,
        "last_error_at": None if health is None else health.last_error_at,
        "next_try_at": None if health is None else health.next_try_at,
    }


def _former(
    settings: Settings, former: Sequence[RegisteredDelivery], current: Sequence[Delivery]
) -> list[dict[str, Any]]:
    """Deliveries that no contract asks for any more: nobody is to think that their data is gone with them."""
    newest = {delivery.stream: delivery.version for delivery in current}
    rows = []
    for registered in former:
        delivery = registered.delivery
        newer = newest.get(delivery.stream, 0)
        state = f"ended: v{newer} is newer" if newer > delivery.version else "ended: no route"
        rows.append(_status(delivery, registered, behind(settings, delivery)) | {"state": state})
    return rows


def _answer(settings: Settings, contract: Contract, delivery: Delivery) -> dict[str, Any]:
    """What the destination says of a delivery; its error where it can't be asked."""
    route = contract.route(delivery.destination)
    topic = clean_topic(delivery.stream, delivery.version)
    try:
        destination = open_destination(settings, route, bind(contract).schema, delivery.group)
        try:
            accounts = destination.accounts(admin.topic_id(settings.kafka, topic))
            ends = admin.end_offsets(settings.kafka, topic)
        finally:
            destination.close()
    except ClearwellError as error:
        return {"error": str(error)}
    return {
        "behind": sum(ends.values()) - sum(account.next_offset for account in accounts),
        "delivered": sum(account.delivered for account in accounts),
        "filtered": sum(account.unrouted for account in accounts),
        "duplicates": sum(account.repeats for account in accounts),
        "refused": sum(account.refused for account in accounts),
        "positions": {str(account.partition): account.next_offset for account in accounts},
    }

"""`clearwell destination list | show`: which stores there are, and how each delivery fares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Group, RenderableType

from clearwell import settings
from clearwell.cli.connector.look import sheet
from clearwell.cli.connector.open import open_session, shown_time
from clearwell.cli.destination.life import chosen
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.contract.load import newest_contracts
from clearwell.contract.model import Contract
from clearwell.errors import ClearwellError
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.names import clean_topic
from clearwell.plugins.routes import open_destination
from clearwell.registry import deliveries, destinations
from clearwell.registry.deliveries import Delivery, Standing
from clearwell.registry.destinations import Store
from clearwell.settings import Settings
from clearwell.steps import bind

HEADS = ("stream", "version", "destination", "state", "behind", "last_error", "next_try_at")


@click.command("list")
@home_option
@json_option
def list_command(as_json: bool) -> None:
    """Show the stores, and how each delivery fares.

    The stores that were added; and of each route: state, clean events it is behind (as Kafka knows it), last error,
    next try. Deliveries of older versions, and of routes that are gone, are shown too: what they stored is there.
    A delivery that is "failing" needs a person: its last error says what to do.

    \b
      clearwell destination list
      clearwell destination list --json
    """
    where = settings.load()
    with open_session() as session:
        stores = [_store(one) for one in destinations.all_of(session)]
        standings = {one.delivery.group: one for one in deliveries.all_of(session)}
    every = [one for contract in newest_contracts(where.schemas) for one in deliveries.deliveries_of(contract)]
    rows = [_row(one, standings.get(one.group)) | {"behind": behind(where, one)} for one in every]
    rows += _former(
        where, [one for group, one in standings.items() if group not in {now.group for now in every}], every
    )
    emit(as_json, {"stores": stores, "deliveries": rows}, lambda: _listed(stores, rows))


@click.command()
@click.argument("to", metavar="DESTINATION")
@click.option("--stream", help="Of this stream alone; default: all that have a route to it.")
@home_option
@json_option
def show(to: str, stream: str | None, as_json: bool) -> None:
    """Show all that is known of one destination.

    What each delivery to it has passed, asked of the store itself; and its options (references, never secrets).

    \b
      clearwell destination show postgres.warehouse
    """
    where = settings.load()
    pairs = chosen(to, stream)
    with open_session() as session:
        stored = destinations.find(session, *to.split(".", 1)) if "." in to else None
        standings = [deliveries.find(session, delivery.group) for _, delivery in pairs]
    found = [
        _row(delivery, standing) | _asked(where, contract, delivery)
        for (contract, delivery), standing in zip(pairs, standings, strict=True)
    ]
    store = {} if stored is None else _store(stored)
    emit(as_json, {"to": to, "store": store, "deliveries": found}, lambda: _sheets(store, found))


def behind(where: Settings, delivery: Delivery) -> int | None:
    """Clean events that a deliverer's group has not acknowledged; None when Kafka can't be asked."""
    topic = clean_topic(delivery.stream, delivery.version)
    try:
        ends = admin.end_offsets(where.kafka, topic)
        passed = committed(where.kafka, delivery.group, topic)
    except ClearwellError:  # no such topic yet, or Kafka is away: the rest is shown
        return None
    return sum(max(0, end - passed.get(partition, (0, ""))[0]) for partition, end in ends.items())


def _row(one: Delivery, standing: Standing | None) -> dict[str, Any]:
    state = "not started" if standing is None else "paused" if standing.paused else str(standing.condition.state)
    return {
        "stream": one.stream,
        "version": one.version,
        "destination": one.destination,
        "state": state,
        "last_error": None if standing is None else standing.condition.last_error,
        "last_error_at": None if standing is None else shown_time(standing.condition.last_error_at),
        "next_try_at": None if standing is None else shown_time(standing.condition.next_try_at),
    }


def _former(where: Settings, standings: list[Standing], every: list[Delivery]) -> list[dict[str, Any]]:
    """Deliveries that no contract asks for any more: nobody is to think that their data is gone with them."""
    newest = {one.stream: one.version for one in every}
    rows = []
    for standing in standings:
        one = standing.delivery
        newer = newest.get(one.stream, 0)
        state = f"ended: v{newer} is newer" if newer > one.version else "ended: no route"
        rows.append(_row(one, standing) | {"state": state, "behind": behind(where, one)})
    return rows


def _store(one: Store) -> dict[str, Any]:
    return {"to": one.to, "config": dict(one.config), "updated_at": shown_time(one.updated_at)}


def _asked(where: Settings, contract: Contract, delivery: Delivery) -> dict[str, Any]:
    """What the store says of a delivery; its error where it can't be asked."""
    route = contract.route(delivery.destination)
    topic = clean_topic(delivery.stream, delivery.version)
    try:
        store = open_destination(where, route, bind(contract).schema, delivery.group)
        try:
            accounts = store.accounts(admin.topic_id(where.kafka, topic))
            ends = admin.end_offsets(where.kafka, topic)
        finally:
            store.close()
    except ClearwellError as error:
        return {"store_says": str(error)}
    counts = {name: sum(getattr(one, name) for one in accounts) for name in _COUNTS}
    positions = {str(one.partition): one.next_offset for one in accounts}
    return counts | {"behind": sum(ends.values()) - sum(positions.values()), "positions": positions}


_COUNTS = ("delivered", "unrouted", "repeats", "refused")


def _listed(stores: list[dict[str, Any]], rows: list[dict[str, Any]]) -> RenderableType:
    cells = [["" if row[head] is None else row[head] for head in HEADS] for row in rows]
    parts: list[RenderableType] = []
    if stores:
        options = [", ".join(f"{key}: {value}" for key, value in one["config"].items()) for one in stores]
        names = [one["to"] for one in stores]
        parts += [table(("store", "options"), list(zip(names, options, strict=True))), ""]
    parts.append(table(HEADS, cells) if rows else "No contract has a route.")
    return Group(*parts)


def _sheets(store: Mapping[str, Any], found: list[dict[str, Any]]) -> str:
    return "\n\n".join(sheet(one) for one in (store, *found) if one)

"""`clearwell destination pause | resume`: one deliverer, or all of a store."""

from __future__ import annotations

from collections.abc import Sequence

import click

from clearwell import settings
from clearwell.cli.connector.open import open_session
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.contract.load import newest_contracts
from clearwell.contract.model import Contract
from clearwell.errors import ConfigError, nearest
from clearwell.registry import deliveries
from clearwell.registry.deliveries import Delivery


@click.command()
@click.argument("to", metavar="DESTINATION")
@click.option("--stream", help="Of this stream alone; default: all that have a route to it.")
@dry_run_option
@home_option
@json_option
def pause(to: str, stream: str | None, dry_run: bool, as_json: bool) -> None:
    """Stop delivering; each deliverer keeps its place.

    It is seen within two seconds, and at each start. Nothing is lost while Kafka keeps the clean topic.

    \b
      clearwell destination pause postgres.warehouse
      clearwell destination pause mongo --stream flights
    """
    _set_paused(to, stream, True, dry_run, as_json)


@click.command()
@click.argument("to", metavar="DESTINATION")
@click.option("--stream", help="Of this stream alone; default: all that have a route to it.")
@dry_run_option
@home_option
@json_option
def resume(to: str, stream: str | None, dry_run: bool, as_json: bool) -> None:
    """Deliver on from where it was paused.

    Or from where `clearwell destination replay` has set it back to.

    \b
      clearwell destination resume postgres.warehouse
      clearwell destination resume mongo --stream flights
    """
    _set_paused(to, stream, False, dry_run, as_json)


def chosen(to: str, stream: str | None) -> list[tuple[Contract, Delivery]]:
    """The deliveries to `to`, of one stream or all. Raises ConfigError with the nearest name when there is none."""
    declared = newest_contracts(settings.schemas_folder())
    every = [(one, delivery) for one in declared for delivery in deliveries.deliveries_of(one)]
    found = [pair for pair in every if pair[1].destination == to]
    if not found:
        raise _unknown(to, declared, sorted({delivery.destination for _, delivery in every}))
    of_stream = [pair for pair in found if stream in (None, pair[1].stream)]
    if not of_stream:
        streams = [delivery.stream for _, delivery in found]
        raise ConfigError(f'"{stream}" has no route to {to}.{nearest(str(stream), streams)} See `destination list`.')
    return of_stream


def _unknown(to: str, declared: Sequence[Contract], known: Sequence[str]) -> ConfigError:
    if any(route.to == to for one in declared for route in one.archives):
        return ConfigError(
            f"{to} is no destination of clean events: an archiver writes each raw event into it once, so there is "
            "nothing to pause or to deliver again. `clearwell lake check STREAM` proves that it is whole."
        )
    hint = nearest(to, known) or f" There are: {', '.join(known) or 'none'}."
    return ConfigError(f'No contract has a route to "{to}".{hint}')


def _set_paused(to: str, stream: str | None, paused: bool, dry_run: bool, as_json: bool) -> None:
    found = [delivery for _, delivery in chosen(to, stream)]
    rows = []
    with open_session() as session:
        for one in found:
            before = bool(deliveries.is_paused(session, one.group))
            if before != paused and not dry_run:
                deliveries.set_paused(session, one, paused)
            rows.append({"stream": one.stream, "version": one.version, "paused": paused, "before": before})
    emit(as_json, {"to": to, "dry_run": dry_run, "deliveries": rows}, lambda: "\n".join(
        _told(f"{row['stream']}.v{row['version']} to {to}", paused, row["before"] == paused, dry_run) for row in rows
    ))  # fmt: skip


def _told(what: str, paused: bool, same: bool, dry_run: bool) -> str:
    state = "paused" if paused else "going on"
    if same:
        return f"{what} is {state} already."
    return f"{what} {'would be' if dry_run else 'is'} {state}."

"""`clearwell features get`: what is served now, or was at an instant. Without Feast."""

from __future__ import annotations

from typing import Any

import click

from clearwell import settings
from clearwell.cli.features.shown import cell
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.contract.features import FeatureView
from clearwell.control.times import parse_time
from clearwell.destinations.features.read import OnlineRow, read_online
from clearwell.errors import ConfigError, nearest
from clearwell.features.declared import find_view
from clearwell.features.keys import parse_entity


@click.command()
@click.argument("view")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--feature", "names", multiple=True, help="Only this feature; may be given again.")
@click.option("--at", help="Of this time, or so long ago: 2013-01-01T10:00:00Z, 2h; default: now.")
@home_option
@json_option
def get(view: str, keys: tuple[str, ...], names: tuple[str, ...], at: str | None, as_json: bool) -> None:
    """Read the features of entities from the online store.

    KEY is the value of the entity's key, or the values of several in order, with commas between.

    \b
      clearwell features get carrier_delays UA DL
      clearwell features get carrier_delays UA --feature flights_1d --at 2013-12-31T12:00:00Z
      clearwell features get legs JFK,LAX

    Of an instant before an entity's newest event, the features without a window are not known: the store keeps the
    newest alone; nor are windows that begin before what is kept of tiles (`clearwell features compact`). Use
    `clearwell features history` for those.
    """
    one = find_view(settings.schemas_folder(), view).view
    entities = [parse_entity(one, key) for key in keys]
    chosen = _chosen(one, names)
    rows = read_online(settings.load(), one, entities, None if at is None else parse_time(at, "--at"))
    emit(
        as_json, {"view": view, "rows": [_object(one, row, chosen) for row in rows]}, lambda: _sheet(one, rows, chosen)
    )


def _chosen(view: FeatureView, names: tuple[str, ...]) -> list[str]:
    known = [one.name for one in view.features]
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f" There are: {', '.join(known)}."
            raise ConfigError(f'The view "{view.name}" has no feature "{name}".{hint}')
    return [name for name in known if not names or name in names]


def _object(view: FeatureView, row: OnlineRow, chosen: list[str]) -> dict[str, Any]:
    return {
        "entity": {key.name: value for key, value in zip(view.entity.keys, row.entity, strict=True)},
        "known": row.event_time is not None,
        "event_time": row.event_time,
        "expired": row.expired,
        "pruned": [name for name in row.pruned if name in chosen],
        "values": {name: row.values[name] for name in chosen},
    }


def _sheet(view: FeatureView, rows: list[OnlineRow], chosen: list[str]) -> Any:
    """A line an entity, so that they can be compared; nulls are empty."""
    heads = [*(key.name for key in view.entity.keys), "newest event", *chosen]
    made = table(
        heads, [[*map(str, row.entity), _state(row), *(cell(row.values[name]) for name in chosen)] for row in rows]
    )
    pruned = [name for name in chosen if any(name in row.pruned for row in rows)]
    if pruned:
        made.caption = f"Too long ago for what is kept of {', '.join(pruned)}: see `clearwell features history`."
    return made


def _state(row: OnlineRow) -> str:
    if row.event_time is None:
        return "unknown"
    return row.event_time.isoformat(timespec="seconds") + (" (past its ttl)" if row.expired else "")

"""`clearwell features list | show`: what contracts declare, and what windows leave out. Needs no stack and no Feast."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group

from clearwell import settings
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.contract.feature_language import spelled
from clearwell.contract.features import Feature
from clearwell.errors import ConfigError, Retryable
from clearwell.features.declared import Declared, declared_views, find_view
from clearwell.features.left_out import LeftOut, left_out


@click.command("list")
@home_option
@json_option
def list_command(as_json: bool) -> None:
    """Show the feature views of all contracts."""
    found = [_summary(one) for one in declared_views(settings.schemas_folder())]
    heads = ("view", "stream", "entity", "plain", "windowed", "ttl")
    rows = [[one[head] for head in heads] for one in found]
    nothing = "No contract has a feature view: give one a route `to: features.<view>`."
    emit(as_json, {"views": found}, lambda: table(heads, rows) if rows else nothing)


@click.command()
@click.argument("view")
@home_option
@json_option
def show(view: str, as_json: bool) -> None:
    """Show one feature view: its entity and features, their types and windows.

    Where the stack runs, also how many events its windows leave out: late ones, and those (beneath) of before the
    windows that are still served.

    \b
      clearwell features show carrier_delays
    """
    one = find_view(settings.schemas_folder(), view)
    summary = _summary(one)
    keys = [{"name": key.name, "type": str(key.clean_type)} for key in one.view.entity.keys]
    features = [_feature(feature) for feature in one.view.features]
    without = _left_out(one)
    counts = {"late": without.late if without else None, "beneath": without.beneath if without else None}
    told = (
        summary
        | counts
        | {"owner": one.contract.owner, "keys": keys, "features": features, "digest": one.view.digest()}
    )
    spelled_keys = ", ".join(f"{key['name']} {key['type']}" for key in keys)
    heads = ("feature", "type", "of", "aggregate", "window", "slide")
    emit(
        as_json,
        told,
        lambda: Group(
            f"{view}: of {one.view.entity.name} ({spelled_keys}), from {summary['stream']}, owned by {told['owner']}",
            f"ttl {summary['ttl']}, lateness {summary['lateness']}, definition {told['digest']}\n",
            table(heads, [[feature[head] or "" for head in heads] for feature in features]),
            *_said_of(one, without),
        ),
    )


def _left_out(one: Declared) -> LeftOut | None:
    """None where nothing runs, or the view was never delivered to."""
    try:
        return left_out(settings.load(), one.view)
    except (ConfigError, Retryable):
        return None


def _said_of(one: Declared, without: LeftOut | None) -> list[str]:
    if without is None:
        return ["", "What its windows leave out is not known: its stack does not run, or nothing was delivered to it."]
    return ["", *(without.lines(one.view) or ["Its windows leave nothing out."])]


def _summary(one: Declared) -> dict[str, Any]:
    view = one.view
    return {
        "view": view.name,
        "stream": f"{view.stream} v{view.version}",
        "entity": view.entity.name,
        "plain": len(view.plain),
        "windowed": len(view.aggregated),
        "ttl": "for ever" if view.ttl is None else spelled(view.ttl),
        "lateness": spelled(view.lateness),
    }


def _feature(one: Feature) -> dict[str, str | None]:
    return {
        "feature": one.name,
        "type": f"list of {one.source.items}" if one.source.items else str(one.type),
        "of": one.source.name,
        "aggregate": None if one.aggregate is None else str(one.aggregate),
        "window": None if one.window is None else spelled(one.window.length),
        "slide": None if one.window is None else spelled(one.window.slide),
    }

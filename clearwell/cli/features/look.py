"""`clearwell feature list | show`: what contracts declare, and what windows leave out. Needs no stack and no Feast."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.console import Group, RenderableType

from clearwell.cli.features.cells import render_excluded
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import platform_if_any
from clearwell.control.features import ViewDetails, list_views, show_view
from clearwell.settings import schemas_folder


@click.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show the feature views of all contracts."""
    views = list_views(schemas_folder())
    heads = ("view", "stream", "entity", "plain", "windowed", "ttl")
    rows = [[getattr(view, head) for head in heads] for view in views]
    nothing = "No contract has a feature view: give one a route `to: features.<view>`."
    emit(as_json, {"views": views}, lambda: table(heads, rows) if rows else nothing)


@click.command()
@click.argument("view")
@common_options
def show(view: str, as_json: bool) -> None:
    """Show one feature view: its entity and features, their types and windows.

    Where the stack runs, also how many events its windows leave out: late ones, and those (beneath) of before the
    windows that are still served.

    \b
      clearwell feature show carrier_delays
    """
    with platform_if_any() as platform:
        details = show_view(schemas_folder(), view, platform)
    emit(as_json, details, lambda: _render(details))


def _render(view: ViewDetails) -> RenderableType:
    keys = ", ".join(f"{key.name} {key.type}" for key in view.keys)
    heads = ("feature", "type", "of", "aggregate", "window", "slide")
    return Group(
        f"{view.view}: of {view.entity} ({keys}), from {view.stream}, owned by {view.owner}",
        f"ttl {view.ttl}, lateness {view.lateness}, definition {view.digest}\n",
        table(heads, [[getattr(feature, head) or "" for head in heads] for feature in view.features]),
        "",
        *_excluded(view),
    )


def _excluded(view: ViewDetails) -> Iterator[str]:
    if view.late is None or view.beneath is None:
        yield "What its windows leave out is not known: its stack does not run, or nothing was delivered to it."
    elif not (view.late or view.beneath):
        yield "Its windows leave nothing out."
    else:
        yield from render_excluded(view.late, view.beneath, view.lateness)

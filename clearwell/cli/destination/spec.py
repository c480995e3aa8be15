"""`clearwell destination spec`: which kinds of destination there are, and what each can be told."""

from __future__ import annotations

from collections.abc import Iterator

import click

from clearwell.cli.connector.spec import lines_of, option_lines
from clearwell.cli.output import console, emit, json_option, say, table
from clearwell.errors import ConfigError
from clearwell.plugins.kinds import DESTINATIONS, destination_class, kinds
from clearwell.plugins.options import describe_destination, destination_schema, route_options


@click.command()
@click.argument("kind", required=False)
@json_option
def spec(kind: str | None, as_json: bool) -> None:
    """Show the kinds of destination, and their options.

    All kinds, or every option of one KIND; with --json its JSON Schema.

    \b
      clearwell destination spec
      clearwell destination spec postgres
    """
    if kind is None:
        rows = [(name, _summary(name)) for name in kinds(DESTINATIONS)]
        shown = [{"kind": name, "summary": summary} for name, summary in rows]
        emit(as_json, {"kinds": shown}, lambda: table(("kind", "how it is filled"), rows))
    elif as_json:
        emit(as_json, destination_schema(kind), str)
    else:
        say("\n".join(_lines(kind, min(console().width, 120))))


def _lines(kind: str, width: int) -> Iterator[str]:
    if destination_class(kind).registered:
        yield from lines_of(describe_destination(kind), width, f"Options of `clearwell destination add {kind}.NAME`")
    else:
        yield f"{kind}: {describe_destination(kind).summary}"
    options = route_options(kind)
    if options:
        yield ""
        yield "Options of a contract's route, beside `to` and `when`"
        for option in options:
            yield from option_lines(option, width)


def _summary(name: str) -> str:
    """One kind that can't be loaded does not hide the others."""
    try:
        return describe_destination(name).summary
    except ConfigError as error:
        return str(error)

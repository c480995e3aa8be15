"""`clearwell destination spec`: which kinds of destination there are, and what each can be told."""

from __future__ import annotations

import click

from clearwell.cli.kinds import emit_kinds, say_kind
from clearwell.cli.output import emit, json_option
from clearwell.control.kinds import destination_schema, list_destination_kinds, show_destination_kind


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
        emit_kinds(as_json, list_destination_kinds(), "how it is filled")
    elif as_json:
        emit(as_json, destination_schema(kind), str)
    else:
        heading = f"Options of `clearwell destination register {kind}.NAME`"
        say_kind(show_destination_kind(kind), heading, "Options of a contract's route, beside `to` and `when`")

"""`clearwell connector spec`: which kinds of source there are, and what each can be told."""

from __future__ import annotations

import click

from clearwell.cli.kinds import emit_kinds, say_kind
from clearwell.cli.output import emit, json_option
from clearwell.control.kinds import list_source_kinds, show_source_kind, source_schema


@click.command()
@click.argument("kind", required=False)
@json_option
def spec(kind: str | None, as_json: bool) -> None:
    """Show the kinds of source, and their options.

    All kinds, or every option of one KIND; with --json its JSON Schema.

    \b
      clearwell connector spec
      clearwell connector spec file
    """
    if kind is None:
        emit_kinds(as_json, list_source_kinds(), "what it reads")
    elif as_json:
        emit(as_json, source_schema(kind), str)
    else:
        say_kind(show_source_kind(kind), "Options under `config:`")

"""`clearwell connector spec`: which kinds of source there are, and what each can be told."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import click

from clearwell.cli.output import console, emit, json_option, say, table
from clearwell.errors import ConfigError
from clearwell.plugins.kinds import kinds, source_class
from clearwell.plugins.options import KindDescription, Option, describe_source, source_schema, summary_of


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
        rows = [(name, _summary(name)) for name in kinds()]
        shown = [{"kind": name, "summary": summary} for name, summary in rows]
        emit(as_json, {"kinds": shown}, lambda: table(("kind", "what it reads"), rows))
    elif as_json:
        emit(as_json, source_schema(kind), str)
    else:
        found = describe_source(kind)
        say("\n".join(lines_of(found, min(console().width, 120))))


def lines_of(found: KindDescription, width: int, heading: str = "Options under `config:`") -> Iterator[str]:
    """What people read of a kind, in lines of `width` characters; its options stand below `heading`."""
    yield f"{found.name}: {found.summary}"
    if found.push:
        yield "It is sent events at /push/<name of the connector>; it has no position."
    for paragraph in filter(None, found.text.split("\n\n")):
        yield ""
        yield from textwrap.wrap(paragraph, width)
    yield ""
    yield heading
    for option in found.options:
        yield from option_lines(option, width)


def option_lines(option: Option, width: int) -> Iterator[str]:
    """What people read of one option."""
    yield f"  {option.name}  {', '.join(_facts(option))}"
    yield from textwrap.wrap(option.text, width, initial_indent="      ", subsequent_indent="      ")


def _facts(option: Option) -> Sequence[str]:
    default = [] if option.default is None else [f"default {option.default}"]
    secret = {
        "whole": ["secret: a reference such as ${env:NAME}"],
        "in url": ["a password in it is a reference such as ${env:NAME}"],
    }
    return [option.type, *(["required"] if option.required else default), *secret.get(option.secret or "", [])]


def _summary(name: str) -> str:
    """One kind that can't be loaded does not hide the others."""
    try:
        return summary_of(source_class(name))
    except ConfigError as error:
        return str(error)

"""How kinds of source and of destination are shown: all of them, or the options of one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from clearwell.cli.output import console, emit, say, table
from clearwell.control.kinds import KindDetails, KindSummary

_SECRETS = {
    "whole": "secret: a reference such as ${env:NAME}",
    "in url": "a password in it is a reference such as ${env:NAME}",
}


def emit_kinds(as_json: bool, kinds: Sequence[KindSummary], head: str) -> None:
    """Print all kinds; `head` stands over their summaries."""
    rows = [(kind.kind, kind.summary) for kind in kinds]
    emit(as_json, {"kinds": kinds}, lambda: table(("kind", head), rows))


def say_kind(kind: KindDetails, heading: str, route_heading: str = "") -> None:
    """Print what people read of one kind; its options stand below their headings."""
    say("\n".join(_lines(kind, (heading, route_heading), min(console().width, 120))))


def _lines(kind: KindDetails, headings: tuple[str, str], width: int) -> Iterator[str]:
    yield f"{kind.kind}: {kind.summary}"
    if kind.pushed:
        yield "It is sent events at /push/<name of the connector>; it has no position."
    for paragraph in filter(None, kind.text.split("\n\n")):
        yield ""
        yield from textwrap.wrap(paragraph, width)
    for heading, options in zip(headings, (kind.options, kind.route_options), strict=True):
        if options:
            yield ""
            yield heading
        for option in options:
            facts = _facts(option.type, option.required, option.default, option.secret)
            yield f"  {option.name}  {', '.join(facts)}"
            yield from textwrap.wrap(option.text, width, initial_indent="      ", subsequent_indent="      ")


def _facts(type_: str, required: bool, default: str | None, secret: str | None) -> Iterator[str]:
    yield type_
    if required:
        yield "required"
    elif default is not None:
        yield f"default {default}"
    if secret is not None:
        yield _SECRETS[secret]

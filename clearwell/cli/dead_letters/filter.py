"""Which dead letters a command is about: by id, or by what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from clearwell.control.dead_letters import DeadLetterFilter, DeadLetterState
from clearwell.control.times import parse_time
from clearwell.errors import ConfigError

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def filter_options(function: AnyFunction) -> AnyFunction:
    """Adds the filters, which the command receives by name and gives to `filter_of`."""
    for option in (
        click.option("--until", metavar="TIME", help="Rejected before this time, or longer ago than 2h, 7d, …"),
        click.option("--since", metavar="TIME", help="Rejected at this time (UTC) or later, or since 2h, 7d, …"),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice([state.value for state in DeadLetterState]),
            help="In this state; may be repeated.",
        ),
        click.option("--rejected", is_flag=True, help="Only raw events that the contract rejected."),
        click.option("--destination", help="Only clean events that this destination refused."),
        click.option("--step", help='Rejected by this step: "validate", "6.bounds", "deliver", …'),
        click.option("--reason", help="A part of the reason."),
        click.option("--stream", help="Of this stream."),
    ):
        function = option(function)
    return function


def selection_options(function: AnyFunction) -> AnyFunction:
    """Adds what a command that changes dead letters takes: `ids`, the filters, and `yes`, which confirms them."""
    function = click.option("--yes", is_flag=True, help="Do it to all that the filters mean.")(function)
    return click.argument("ids", metavar="[ID]...", type=int, nargs=-1)(filter_options(function))


def filter_of(
    options: dict[str, Any], ids: Sequence[int] = (), default: Sequence[DeadLetterState] = ()
) -> DeadLetterFilter:
    """The filter of a command's options; without --state it means the states of `default`. Raises ConfigError."""
    if options["rejected"] and options["destination"]:
        raise ConfigError("--rejected and --destination exclude each other: an event failed in one place.")
    return DeadLetterFilter(
        ids=ids,
        stream=options["stream"],
        reason=options["reason"],
        step=options["step"],
        destination="" if options["rejected"] else options["destination"],
        states=tuple(map(DeadLetterState, options["states"])) or tuple(default),
        since=_time(options, "since"),
        until=_time(options, "until"),
    )


def _time(options: dict[str, Any], name: str) -> datetime | None:
    text: str | None = options[name]
    return None if text is None else parse_time(text, f"--{name}")

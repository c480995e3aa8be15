"""Which dead letters a command is about: by id, or by what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import click
from sqlalchemy.orm import Session

from clearwell import settings
from clearwell.contract.load import newest_contracts
from clearwell.control.times import parse_time
from clearwell.errors import ClearwellError, ConfigError
from clearwell.registry import dead_letters
from clearwell.registry.dead_letters import Filter, Letter, LetterState

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def filter_options(function: AnyFunction) -> AnyFunction:
    """Adds the filters, which the command receives by name and gives to `wanted`."""
    for option in (
        click.option("--until", metavar="TIME", help="Rejected before this time, or longer ago than 2h, 7d, …"),
        click.option("--since", metavar="TIME", help="Rejected at this time (UTC) or later, or since 2h, 7d, …"),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice([one.value for one in LetterState]),
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
    """Adds what a command that changes letters takes: `ids`, the filters, and `yes`, without which these only tell."""
    function = click.option("--yes", is_flag=True, help="Do it to all that the filters mean.")(function)
    return click.argument("ids", metavar="[ID]...", type=int, nargs=-1)(filter_options(function))


def wanted(given: dict[str, Any], default: Sequence[LetterState] = ()) -> Filter:
    """The filter of a command's options; without --state it means the states of `default`. Raises ConfigError."""
    if given["rejected"] and given["destination"]:
        raise ConfigError("--rejected and --destination exclude each other: an event failed in one place.")
    return Filter(
        stream=given["stream"],
        reason=given["reason"],
        step=given["step"],
        destination="" if given["rejected"] else given["destination"],
        states=tuple(map(LetterState, given["states"])) or tuple(default),
        since=_moment(given, "since"),
        until=_moment(given, "until"),
    )


def require_known(session: Session, chosen: Filter) -> None:
    """Raises ConfigError, with the nearest spelling, for a name that neither a dead letter nor a contract has."""
    try:
        declared = newest_contracts(settings.schemas_folder())
    except ClearwellError:  # a wrong contract hides no dead letters
        declared = []
    if any(one.stream == chosen.stream for one in declared):
        chosen = replace(chosen, stream=None)
    if any(route.to == chosen.destination for one in declared for route in one.routes):
        chosen = replace(chosen, destination=None)
    dead_letters.check(session, chosen)


def select(
    session: Session, ids: Sequence[int], given: dict[str, Any], states: Sequence[LetterState], verb: str
) -> list[Letter]:
    """The letters that a command shall change: those of `ids`, or those of its filters that are in one of `states`.

    Raises ConfigError when neither says anything, an id is not there or not in one of `states`, or a name is misspelt.
    """
    named = any(value for value in given.values())
    if bool(ids) == named:
        raise ConfigError("Say which dead letters: by their ids, or by --stream, --reason and the other filters.")
    if ids:
        found = dead_letters.find(session, Filter(ids=ids))
        for one in found:
            if one.state not in states:
                raise ConfigError(f"Dead letter {one.id} is {one.state}, so it can't be {verb}.{_advice(one, states)}")
        return found
    if given["states"] and not set(given["states"]) & set(states):
        raise ConfigError(f"Only dead letters that are {' or '.join(states)} can be {verb}.")
    chosen = wanted(given, states)
    require_known(session, chosen)
    return [one for one in dead_letters.find(session, chosen) if one.state in states]


def _advice(letter: Letter, states: Sequence[LetterState]) -> str:
    if letter.state is LetterState.PARKED and letter.has_event and LetterState.WAITING in states:
        return f" `clearwell dead release {letter.id}` lets it wait again."
    return ""


def _moment(given: dict[str, Any], option: str) -> datetime | None:
    text: str | None = given[option]
    return None if text is None else parse_time(text, f"--{option}")

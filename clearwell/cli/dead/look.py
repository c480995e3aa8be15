"""`clearwell dead list | stats`: which dead letters there are."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from clearwell.cli.dead.filter import filter_options, require_known, wanted
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.cli.results import format_time
from clearwell.cli.session import open_session
from clearwell.registry import dead_letters
from clearwell.registry.dead_letters import Count, Letter, LetterState

UNSETTLED = (LetterState.WAITING, LetterState.FIXED, LetterState.PARKED)


@click.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="At most this many; default: 50.")
@home_option
@json_option
def list_command(limit: int, as_json: bool, **given: Any) -> None:
    """Show dead letters, newest first.

    Without --state, those that nobody has dealt with: waiting, fixed and parked.

    \b
      clearwell dead list --stream flights --since 2h
      clearwell dead list --reason "is not one of" --state waiting --json
      clearwell dead list --destination postgres
    """
    chosen = wanted(given, UNSETTLED)
    with open_session() as session:
        require_known(session, chosen)
        found = dead_letters.find(session, chosen, limit, newest=True)
        total = sum(one.letters for one in dead_letters.stats(session, chosen))
    emit(as_json, {"letters": [as_object(one) for one in found], "total": total}, lambda: _lines(found, total))


@click.command()
@filter_options
@home_option
@json_option
def stats(as_json: bool, **given: Any) -> None:
    """Count dead letters by reason.

    And by stream, destination, step and state; the most frequent first.

    \b
      clearwell dead stats --stream flights
    """
    chosen = wanted(given)
    with open_session() as session:
        require_known(session, chosen)
        found = dead_letters.stats(session, chosen)
    emit(as_json, {"counts": [_count(one) for one in found], "total": sum(one.letters for one in found)},
         lambda: counts(found))  # fmt: skip


def counts(found: list[Count]) -> Any:
    """Counts as a table for people."""
    if not found:
        return "There is no such dead letter."
    heads = ("letters", "stream", "state", "destination", "step", "reason", "oldest", "newest")
    rows = [
        (*(one.letters, one.stream, one.state, one.destination, one.step, one.reason),
         *(format_time(one.oldest), format_time(one.newest)))
        for one in found
    ]  # fmt: skip
    return table(heads, rows)


def as_object(letter: Letter) -> dict[str, Any]:
    """A letter for programs: without its event."""
    shown: dict[str, Any] = msgspec.to_builtins(letter)
    return shown | {"destination": letter.destination or None}


def _count(one: Count) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(one)
    return shown | {"destination": one.destination or None}


def _lines(found: list[Letter], total: int) -> Any:
    if not found:
        return "There is no such dead letter."
    heads = ("id", "stream", "state", "tries", "rejected at", "partition/offset", "destination", "step", "reason")
    rows = [
        (str(one.id), one.stream, one.state, str(one.attempts), format_time(one.rejected_at),
         f"{one.raw_partition}/{one.raw_offset}", one.destination, one.step, one.reason)
        for one in found
    ]  # fmt: skip
    made = table(heads, rows)
    if total > len(found):
        made.caption = f"the newest {len(found):,} of {total:,}; --limit shows more, `clearwell dead stats` counts all"
        made.caption_justify = "left"
    return made

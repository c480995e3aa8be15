"""`clearwell dead drop | park | release`: decisions about dead letters that send nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import click
from sqlalchemy.orm import Session

from clearwell.cli.dead.filter import select, selection_options
from clearwell.cli.output import counted, dry_run_option, emit, home_option, json_option, table
from clearwell.cli.session import open_session
from clearwell.errors import ConfigError
from clearwell.registry import dead_decisions
from clearwell.registry.dead_letters import OPEN, Letter, LetterState

Change = Callable[[Session, Sequence[int]], int]


@click.command()
@selection_options
@dry_run_option
@home_option
@json_option
def drop(ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Give dead letters up.

    Their events are deleted from the registry, their lines stay. The sealed record stays in the dead topic
    until its retention ends.

    \b
      clearwell dead drop 17 18
      clearwell dead drop --stream flights --until 30d --dry-run
    """
    _decide("dropped", (*OPEN, LetterState.PARKED), dead_decisions.drop, ids, yes, dry_run, as_json, given)


@click.command()
@selection_options
@dry_run_option
@home_option
@json_option
def park(ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Leave dead letters alone.

    Until they are released, no replay takes them along.

    \b
      clearwell dead park 17
      clearwell dead park --stream flights --reason "origin is not one of" --yes
    """
    _decide("parked", OPEN, dead_decisions.park, ids, yes, dry_run, as_json, given)


@click.command()
@selection_options
@dry_run_option
@home_option
@json_option
def release(ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Let parked dead letters wait again.

    Their tries are counted from zero.

    \b
      clearwell dead release 17
    """
    _decide("released", (LetterState.PARKED,), dead_decisions.release, ids, yes, dry_run, as_json, given)


def _decide(
    verb: str,
    states: Sequence[LetterState],
    change: Change,
    ids: Sequence[int],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    with open_session() as session:
        found = select(session, ids, given, states, verb)
        if not dry_run:
            require_yes(found, ids, yes, verb)
        changed = len(found) if dry_run else change(session, [one.id for one in found])
    shown = {"changed": 0 if dry_run else changed, "chosen": len(found), "dry_run": dry_run}
    emit(as_json, shown | {"ids": [one.id for one in found]}, lambda: told(found, verb, changed, dry_run))


def require_yes(found: Sequence[Letter], ids: Sequence[int], yes: bool, verb: str) -> None:
    """Raises ConfigError, with the count, when filters choose letters and nobody said --yes."""
    if found and not ids and not yes:
        raise ConfigError(
            f"{counted(len(found), 'dead letter')} would be {verb}. Nothing was changed: look with --dry-run, or do it "
            "with --yes."
        )


def told(found: Sequence[Letter], verb: str, changed: int, dry_run: bool) -> Any:
    """What was done, or would be."""
    if not found:
        return f"There is no dead letter that can be {verb}."
    if not dry_run:
        return f"{counted(changed, 'dead letter')} {'was' if changed == 1 else 'were'} {verb}."
    alike = Counter((one.stream, one.destination, one.step, one.reason) for one in found)
    made = table(
        (f"would be {verb}", "stream", "destination", "step", "reason"),
        [(count, *what) for what, count in alike.most_common()],
    )
    made.caption, made.caption_justify = f"{len(found):,} in all; nothing was changed", "left"
    return made

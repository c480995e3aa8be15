"""`clearwell dead-letter discard | park | reopen`: decisions about dead letters that send nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import click
from rich.console import RenderableType

from clearwell.cli.dead_letters.filter import filter_of, selection_options
from clearwell.cli.output import change_options, counted, emit, table
from clearwell.cli.platform import actor, open_platform
from clearwell.control.dead_letter_changes import (
    PARTICIPLES,
    DeadLetterDecision,
    DeadLetterPlan,
    apply,
    plan_discard,
    plan_park,
    plan_reopen,
)
from clearwell.control.dead_letters import DeadLetterFilter
from clearwell.control.platform import Platform
from clearwell.errors import ConfigError


@click.command()
@selection_options
@change_options
def discard(ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Discard dead letters.

    Their events are deleted from the registry, their lines stay. The sealed record stays in the dead topic
    until its retention ends.

    \b
      clearwell dead-letter discard 17 18
      clearwell dead-letter discard --stream flights --until 30d --dry-run
    """
    _decide(plan_discard, filter_of(options, ids), yes, dry_run, as_json)


@click.command()
@selection_options
@change_options
def park(ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Leave dead letters alone.

    Until they are reopened, no replay takes them along.

    \b
      clearwell dead-letter park 17
      clearwell dead-letter park --stream flights --reason "origin is not one of" --yes
    """
    _decide(plan_park, filter_of(options, ids), yes, dry_run, as_json)


@click.command()
@selection_options
@change_options
def reopen(ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Let parked dead letters wait again.

    Their attempts are counted from zero.

    \b
      clearwell dead-letter reopen 17
    """
    _decide(plan_reopen, filter_of(options, ids), yes, dry_run, as_json)


def confirm(plan: DeadLetterPlan, selection: DeadLetterFilter, yes: bool) -> None:
    """Raises ConfigError, with the count, when filters select dead letters and nobody said --yes."""
    if plan.letters and not selection.ids and not yes:
        raise ConfigError(
            f"{counted(len(plan.letters), 'dead letter')} would be {PARTICIPLES[plan.action]}. Nothing was changed: "
            "look with --dry-run, or do it with --yes."
        )


def render_plan(plan: DeadLetterPlan) -> RenderableType:
    """What would be done."""
    participle = PARTICIPLES[plan.action]
    if not plan.letters:
        return f"There is no dead letter that can be {participle}."
    alike = Counter((letter.stream, letter.destination, letter.step, letter.reason) for letter in plan.letters)
    rows = [(count, *columns) for columns, count in alike.most_common()]
    overview = table((f"would be {participle}", "stream", "destination", "step", "reason"), rows)
    overview.caption, overview.caption_justify = f"{len(plan.letters):,} in all; nothing was changed", "left"
    return overview


def _decide(
    make_plan: Callable[[Platform, DeadLetterFilter], DeadLetterDecision],
    selection: DeadLetterFilter,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    changed = 0
    with open_platform() as platform:
        plan = make_plan(platform, selection)
        if not dry_run:
            confirm(plan, selection, yes)
            changed = apply(platform, actor(), plan)
    ids = [letter.id for letter in plan.letters]
    result = {"changed": changed, "chosen": len(ids), "dry_run": dry_run, "ids": ids}
    sentence = f"{counted(changed, 'dead letter')} {'was' if changed == 1 else 'were'} {PARTICIPLES[plan.action]}."
    emit(as_json, result, lambda: render_plan(plan) if dry_run or not ids else sentence)

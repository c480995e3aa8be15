"""`clearwell dead-letter replay`: send the events of dead letters again, each on the path it failed on."""

from __future__ import annotations

from typing import Any

import click

from clearwell.cli.dead_letters.decide import confirm, render_plan
from clearwell.cli.dead_letters.filter import filter_of, selection_options
from clearwell.cli.output import change_options, counted, emit, say
from clearwell.cli.platform import actor, open_platform
from clearwell.control.dead_letter_changes import plan_replay
from clearwell.control.dead_letter_changes import replay as replay_dead_letters
from clearwell.dead_letters.replay import ReplayResult


@click.command()
@selection_options
@change_options
@click.pass_context
def replay(
    ctx: click.Context, /, ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Send the events of dead letters again.

    An event that the contract rejected goes into raw, and through the pipeline, once more. One that a destination
    refused goes to that destination alone. What comes back counts as an attempt; after the last one the dead letter is
    parked. A replay that was broken off is settled first: no event is ever sent twice. One that can't be replayed holds
    up no other; exit code 1 where there was one.

    \b
      clearwell dead-letter replay 17
      clearwell dead-letter replay --stream flights --state fixed --yes
      clearwell dead-letter replay --stream flights --destination postgres --dry-run
    """
    result, settled = ReplayResult(), 0
    with open_platform() as platform:
        selection = filter_of(options, ids)
        plan = plan_replay(platform, selection)
        if not dry_run:
            confirm(plan, selection, yes)
            result, settled = replay_dead_letters(platform, actor(), plan, lambda text: say(text, err=True))
    value = {
        "chosen": len(plan.letters),
        "dry_run": dry_run,
        "sent": result.sent,
        "delivered": result.taken,
        "refused": result.refused,
        "passed_over": result.passed,
        "failed": result.failed,
        "why": result.why,
        "settled": settled,
    }
    emit(as_json, value, lambda: render_plan(plan) if dry_run or not plan.letters else _render(result, settled))
    ctx.exit(1 if result.failed else 0)


def _render(result: ReplayResult, settled: int) -> str:
    lines = []
    if settled:
        lines.append(f"Sent before, by a replay that was broken off: {counted(settled, 'event')}.")
    if result.sent:
        lines.append(f"In raw again: {counted(result.sent, 'event')}. What is rejected again waits here, or is parked.")
    if result.taken:
        lines.append(f"Taken by their destination: {counted(result.taken, 'event')}.")
    if result.refused:
        lines.append(f"Refused again: {counted(result.refused, 'event')}, which wait here, or are parked.")
    if result.passed:
        lines.append(f"Changed by somebody else meanwhile: {counted(result.passed, 'dead letter')}.")
    if result.failed:
        lines.append(f"Not replayed, and still here: {counted(result.failed, 'dead letter')}, such as: {result.why}")
    return "\n".join(lines)

"""`clearwell dead replay`: send the events of dead letters again, each the way it failed on."""

from __future__ import annotations

from typing import Any

import click

from clearwell import settings
from clearwell.cli.dead.decide import require_yes, told
from clearwell.cli.dead.filter import select, selection_options
from clearwell.cli.output import counted, dry_run_option, emit, home_option, json_option, say
from clearwell.cli.session import open_registry
from clearwell.dead_letters.replay import Replayer, Result
from clearwell.privacy.open import open_keyring
from clearwell.registry.dead_letters import OPEN


@click.command()
@selection_options
@dry_run_option
@home_option
@json_option
@click.pass_context
def replay(ctx: click.Context, /, ids: tuple[int, ...], yes: bool, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Send the events of dead letters again.

    An event that the contract rejected goes into raw, and through the pipeline, once more. One that a destination
    refused goes to that destination alone. What comes back counts as a try; after the last one the letter is parked.
    A replay that was broken off is settled first: no event is ever sent twice. One that can't be replayed holds up no
    other; exit code 1 where there was one.

    \b
      clearwell dead replay 17
      clearwell dead replay --stream flights --state fixed --yes
      clearwell dead replay --stream flights --destination postgres --dry-run
    """
    with open_registry() as registry:
        with registry.session() as session:
            found = select(session, ids, given, OPEN, "replayed")
        if not dry_run:
            require_yes(found, ids, yes, "replayed")
        result, settled = Result(), 0
        if found and not dry_run:
            where = settings.load()
            replayer = Replayer(where, registry, open_keyring(where), lambda text: say(text, err=True))
            settled = replayer.settle(sorted({one.stream for one in found}))
            result = replayer.replay(found)
    shown = {
        "chosen": len(found),
        "dry_run": dry_run,
        "sent": result.sent,
        "delivered": result.taken,
        "refused": result.refused,
        "passed_over": result.passed,
        "failed": result.failed,
        "why": result.why,
        "settled": settled,
    }
    emit(as_json, shown, lambda: told(found, "replayed", 0, True) if dry_run or not found else _told(result, settled))
    ctx.exit(1 if result.failed else 0)


def _told(result: Result, settled: int) -> str:
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
        lines.append(f"Dealt with meanwhile: {counted(result.passed, 'dead letter')}.")
    if result.failed:
        lines.append(f"Not replayed, and still here: {counted(result.failed, 'dead letter')}, such as: {result.why}")
    return "\n".join(lines)

"""`clearwell destination replay`: deliver again what a destination has had."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from clearwell.cli.output import change_options, emit, progress
from clearwell.cli.platform import actor, open_platform
from clearwell.control.destination_replay import DestinationReplay, Since, apply_replay, plan_replay
from clearwell.control.times import parse_time

_OFFSETS = re.compile(r"[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*\Z")


@click.command()
@click.argument("destination", metavar="DESTINATION")
@click.option("--stream", help="Whose events; needed where several streams are delivered to it.")
@click.option("--from", "since", required=True, metavar="WHEN", help="earliest, a time, 2h or 7d, or 0:1200,1:900.")
@click.option("--yes", is_flag=True, help="Do it where events are given away, and go out a second time.")
@change_options
def replay(destination: str, stream: str | None, since: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Deliver again from an earlier position, while paused.

    A time, or an age such as 2h, means when events were cleaned. Offsets are those of the clean topic, by partition.

    In a database, what is there already does not change: a row is replaced only by a newer one, an event is kept once.
    What is missing, or was spoilt, comes back once it was deleted. The windows and the history of a feature view hold
    each event for good, so that only its newest values come back. A webhook or a topic gets each event again, with the
    id that it had: that needs --yes.

    \b
      clearwell destination pause postgres --stream flights
      clearwell destination replay postgres --stream flights --from earliest --dry-run
      clearwell destination replay postgres --stream flights --from 2026-11-01T00:00:00Z
      clearwell destination resume postgres --stream flights
      clearwell destination replay http.partner --from 2h --yes
    """
    start = _parse_since(since)
    with open_platform() as platform:
        with progress() as report:
            plan = plan_replay(platform, destination, stream, start, while_running=dry_run, report=report)
        if not dry_run:
            apply_replay(platform, actor(), plan, redeliver=yes)
    shown = {
        "destination": destination,
        "stream": plan.delivery.stream,
        "dry_run": dry_run,
        "events": plan.events,
        "redelivers": plan.redelivers,
        "old": plan.old,
        "new": plan.new,
    }
    emit(as_json, shown, lambda: "\n".join(_render(plan, dry_run)))


def _parse_since(since: str) -> Since:
    """What --from means: offsets by partition, a time, or the oldest event (None)."""
    if since == "earliest":
        return None
    if _OFFSETS.match(since):
        pairs = (pair.split(":") for pair in since.split(","))
        return {int(partition): int(offset) for partition, offset in pairs}
    return parse_time(since, "--from", alternative="`earliest`, nor offsets such as 0:1200,1:900")


def _render(plan: DestinationReplay, dry_run: bool) -> Iterator[str]:
    stream, destination = plan.delivery.stream, plan.delivery.destination
    if plan.old == plan.new:
        yield f"{stream} to {destination} is not beyond that position: there is nothing to deliver again."
        return
    will, verb = "would be" if dry_run else "are to be", "sent" if plan.redelivers else "delivered"
    yield f"{plan.events:,} events of {stream} {will} {verb} to {destination} again:"
    for partition, offset in plan.new.items():
        if offset != plan.old[partition]:
            yield f"  partition {partition}: from offset {offset:,}, it is at {plan.old[partition]:,}"
    if not dry_run:
        yield f"`clearwell destination resume {destination} --stream {stream}` begins."
    elif plan.redelivers:
        yield "Whoever receives them gets them a second time."

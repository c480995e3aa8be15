"""`clearwell stream realign`: go on where a log is no longer the one that was read."""

from __future__ import annotations

import click

from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.control.realignment import Realignment, plan_realignment, realign


@click.command("realign")
@click.argument("stream")
@click.option("--version", type=click.IntRange(1), help="Of the contract; the highest by default.")
@change_options
def realign_command(stream: str, version: int | None, dry_run: bool, as_json: bool) -> None:
    """Go on where Kafka has lost events that were read already.

    After a power cut, or the election of a broker that lacked some, a partition may end earlier than what was read of
    it, and its next events get the same offsets again. Whoever read it stops and says so. This command tells where the
    log parts from what was read, and lets the cleaner, the archive, the copier of dead letters and each model go on
    from there. What was read stays where it is: stores keep the rows of events that Kafka has lost.

    Events from there on are cleaned under a new origin, so that none passes for a repeat; a model may get some again
    that it had before. A destination says itself how it goes on, by `clearwell destination replay`.

    \b
      clearwell stream realign flights --dry-run
      clearwell stream realign flights
    """
    plan = plan_and_apply(lambda platform: plan_realignment(platform, stream, version), realign, dry_run)
    readers = [
        {
            "group": parted.group,
            "topic": parted.topic,
            "partition": parted.partition,
            "read": parted.read,
            "goes_on": parted.goes_on,
        }
        for parted in plan.readers
    ]
    emit(as_json, {"stream": stream, "dry_run": dry_run, "readers": readers}, lambda: _sentences(plan, dry_run))


def _sentences(plan: Realignment, dry_run: bool) -> str:
    if not plan.readers:
        return f"The logs of {plan.stream} are those that were read: there is nothing to do."
    will = "would go on" if dry_run else "goes on"
    return "\n".join(
        f"{parted.topic}, partition {parted.partition}: offsets {parted.goes_on} to {parted.read - 1} that "
        f"{parted.group} has read are lost; it {will} at {parted.goes_on}."
        for parted in plan.readers
    )

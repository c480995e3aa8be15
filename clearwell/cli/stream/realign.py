"""`clearwell stream realign`: go on where a log is no longer the one that was read."""

from __future__ import annotations

import click

from clearwell import settings
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.cli.session import open_session
from clearwell.contract.load import find
from clearwell.registry import audit
from clearwell.subscriptions.realign import PartedReader, parted_readers, realign


@click.command("realign")
@click.argument("stream")
@click.option("--version", type=click.IntRange(1), help="Of the contract; the highest by default.")
@dry_run_option
@home_option
@json_option
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
    where = settings.load()
    readers = parted_readers(where, find(where.schemas, stream, version))
    if readers and not dry_run:
        realign(where, readers)
        detail = {f"{one.group}/{one.partition}": f"{one.position} to {one.parted}" for one in readers}
        with open_session() as session:
            audit.record(session, "realign", f"stream/{stream}", detail)
    shown = [
        {
            "group": one.group,
            "topic": one.topic,
            "partition": one.partition,
            "read": one.position,
            "goes_on": one.parted,
        }
        for one in readers
    ]
    emit(
        as_json, {"stream": stream, "dry_run": dry_run, "readers": shown}, lambda: _sentences(stream, readers, dry_run)
    )


def _sentences(stream: str, readers: list[PartedReader], dry_run: bool) -> str:
    if not readers:
        return f"The logs of {stream} are those that were read: there is nothing to do."
    will = "would go on" if dry_run else "goes on"
    lines = [
        f"{one.topic}, partition {one.partition}: offsets {one.parted} to {one.position - 1} that {one.group} has read "
        f"are lost; it {will} at {one.parted}."
        for one in readers
    ]
    return "\n".join(lines)

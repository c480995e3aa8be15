"""`clearwell stream partitions`: more partitions for a stream."""

from __future__ import annotations

import click

from clearwell import settings
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.cli.session import open_session
from clearwell.kafka import widen
from clearwell.registry import audit


@click.command("partitions")
@click.argument("stream")
@click.argument("partitions", metavar="N", type=click.IntRange(1, 10_000))
@dry_run_option
@home_option
@json_option
def partitions_command(stream: str, partitions: int, dry_run: bool, as_json: bool) -> None:
    """Give each topic of a stream N partitions: more than it has.

    What is cleaned of a partition of raw goes to the same partition of clean, so they grow together: clean of every
    version, dropped and dead, and raw last. Nothing is lost; who reads them finds the new partitions by itself, some
    restart for it. Partitions can't be taken away again.

    The events of a key may go to another partition from then on. A later event still counts as the newer one; between
    two of the same event time, that which arrived later.

    \b
      clearwell stream partitions flights 8 --dry-run
      clearwell stream partitions flights 8
    """
    kafka = settings.load().kafka
    before = widen.sizes(kafka, stream)
    narrow = widen.narrower(before, partitions)
    if narrow and not dry_run:
        widen.widen(kafka, before, partitions)
        with open_session() as session:
            audit.record(
                session, "widen", f"stream/{stream}", {topic: f"{before[topic]} to {partitions}" for topic in narrow}
            )
    shown = [{"topic": topic, "before": before[topic], "partitions": partitions} for topic in narrow]
    emit(
        as_json,
        {"stream": stream, "dry_run": dry_run, "topics": shown},
        lambda: _sentences(stream, narrow, before, partitions, dry_run),
    )


def _sentences(stream: str, narrow: list[str], before: dict[str, int], partitions: int, dry_run: bool) -> str:
    if not narrow:
        return f"The topics of {stream} have {partitions} partitions: there is nothing to do."
    verb = "would have" if dry_run else "has"
    return "\n".join(f"{topic} {verb} {partitions} partitions instead of {before[topic]}." for topic in narrow)

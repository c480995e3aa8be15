"""`clearwell stream partitions`: more partitions for a stream."""

from __future__ import annotations

import click

from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.control.stream_changes import PartitionsPlan, add_partitions, plan_partitions


@click.command("partitions")
@click.argument("stream")
@click.argument("partitions", metavar="N", type=click.IntRange(1, 10_000))
@change_options
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
    plan = plan_and_apply(lambda platform: plan_partitions(platform, stream, partitions), add_partitions, dry_run)
    topics = [{"topic": topic, "before": plan.before[topic], "partitions": partitions} for topic in plan.topics]
    emit(as_json, {"stream": stream, "dry_run": dry_run, "topics": topics}, lambda: _sentences(plan, dry_run))


def _sentences(plan: PartitionsPlan, dry_run: bool) -> str:
    if not plan.topics:
        return f"The topics of {plan.stream} have {plan.partitions} partitions: there is nothing to do."
    verb = "would have" if dry_run else "has"
    return "\n".join(
        f"{topic} {verb} {plan.partitions} partitions instead of {plan.before[topic]}." for topic in plan.topics
    )

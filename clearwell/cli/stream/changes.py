"""`clearwell stream pause | resume | remove`: stop a stream as a whole, have it go on, end it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from clearwell.cli.output import change_options, counted, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.control import stream_pauses, stream_removal
from clearwell.control.stream_pauses import StreamPause
from clearwell.control.stream_removal import StreamRemoval
from clearwell.errors import ConfigError, Hint


@click.command()
@click.argument("stream")
@change_options
def pause(stream: str, dry_run: bool, as_json: bool) -> None:
    """Stop a stream as a whole: its connectors and its jobs.

    All positions stay. Webhooks and other sources that are sent events refuse them meanwhile.

    \b
      clearwell stream pause flights --dry-run
    """
    plan = plan_and_apply(lambda platform: stream_pauses.plan_pause(platform, stream), stream_pauses.apply, dry_run)
    _show(plan, dry_run, as_json)


@click.command()
@click.argument("stream")
@change_options
def resume(stream: str, dry_run: bool, as_json: bool) -> None:
    """Have a paused stream go on from its positions.

    What `stream pause` stopped goes on; what a person had paused by itself before stays paused, and is named.
    """
    plan = plan_and_apply(lambda platform: stream_pauses.plan_resume(platform, stream), stream_pauses.apply, dry_run)
    _show(plan, dry_run, as_json)


@click.command()
@click.argument("stream")
@click.option("--data", is_flag=True, help="Delete its topics too, with every event in them; needs --yes.")
@click.option("--yes", is_flag=True, help="Delete them indeed.")
@change_options
def remove(stream: str, data: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """End a stream: its jobs, its contracts, its connectors.

    What its sources' servers keep for its connectors, such as replication slots, is dropped. Its topics stay unless
    --data is given; destinations keep what they hold. Its contract files stay where they are, and publishing them
    makes the stream again. Refused while a model's subscription reads it.

    \b
      clearwell stream remove flights --dry-run
      clearwell stream remove flights --data --yes
    """
    if data and not yes and not dry_run:
        raise ConfigError(
            f'Deleting the topics of "{stream}" deletes every event in them, for good.',
            code="would_delete",
            hint=Hint("streams.delete_data"),
        )
    plan = plan_and_apply(
        lambda platform: stream_removal.plan_removal(platform, stream, data=data), stream_removal.remove, dry_run
    )
    shown = {
        "stream": stream,
        "removed": not dry_run,
        "dry_run": dry_run,
        "jobs": plan.jobs,
        "connectors": plan.connectors,
        "versions": plan.versions,
        "topics_deleted": plan.topics,
        "topics_kept": plan.kept,
    }
    emit(as_json, shown, lambda: "\n".join(_render_removal(plan, dry_run)))


def _render_removal(plan: StreamRemoval, dry_run: bool) -> Iterator[str]:
    yield f'Stream "{plan.stream}" {"would be" if dry_run else "is"} removed.'
    parts = {
        "jobs": ("would end" if dry_run else "have ended", plan.jobs),
        "contracts": ("would be retired" if dry_run else "are retired", [f"v{version}" for version in plan.versions]),
        "connectors": ("would be removed" if dry_run else "are removed", plan.connectors),
        "topics": ("would be deleted, with every event in them" if dry_run else "are deleted", plan.topics),
        "topics that hold events": ("would stay" if dry_run else "stay", plan.kept),
    }
    for what, (outcome, names) in parts.items():
        if names:
            yield f"  {what}: {', '.join(names)} {outcome}."


def _show(plan: StreamPause, dry_run: bool, as_json: bool) -> None:
    shown = {
        "stream": plan.stream,
        "state": "paused" if plan.paused else "running",
        "jobs": plan.jobs,
        "connectors": plan.connectors,
        "stay_paused": plan.others,
        "dry_run": dry_run,
    }
    emit(as_json, shown, lambda: "\n".join(_render_pause(plan, dry_run)))


def _render_pause(plan: StreamPause, dry_run: bool) -> Iterator[str]:
    if not plan.jobs and not plan.connectors:
        reason = "nothing of it runs" if plan.paused else "no pause of the stream has stopped anything that still waits"
        yield f'Stream "{plan.stream}": {reason}, so there is nothing to {plan.action}.'
    else:
        verb = {
            (True, True): "would stop",
            (True, False): "stop",
            (False, True): "would go on",
            (False, False): "go on",
        }[plan.paused, dry_run]
        yield (
            f'Stream "{plan.stream}": {counted(len(plan.jobs), "job")} and '
            f"{counted(len(plan.connectors), 'connector')} {verb}."
        )
    if plan.others:
        yield f"Paused by themselves, and left so: {', '.join(plan.others)}."

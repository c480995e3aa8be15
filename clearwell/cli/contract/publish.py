"""`clearwell contract publish | retire`: what workers and collectors go by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from clearwell.cli.hints import sentence
from clearwell.cli.output import change_options, counted, emit, say
from clearwell.cli.platform import actor, open_platform, plan_and_apply
from clearwell.control import contract_publication, contract_retirement
from clearwell.control.contract_judgement import Outcome, PlannedContract
from clearwell.control.contract_retirement import Retirement
from clearwell.control.contracts import find_contract_files
from clearwell.errors import ConfigError
from clearwell.settings import schemas_folder
from clearwell.terminal import printable

MOST_LINES = 40
"""Of a difference, on a screen; --json has all."""


@click.command()
@click.argument("targets", nargs=-1, metavar="[FILE|FOLDER|STREAM]...")
@click.option("--minor", is_flag=True, help="Publish a text that has changed in place, where readers can read it.")
@change_options
@click.pass_context
def publish(ctx: click.Context, targets: Sequence[str], minor: bool, dry_run: bool, as_json: bool) -> None:
    """Publish contracts, all of the schemas folder by default: workers and collectors go by what is published.

    Each file is checked first, as `contract check` does, and beside what is published of its stream. Publishing a new
    version makes its jobs; within seconds a worker runs them, and nothing is restarted. The newest version of a stream
    has jobs, the others keep their topics. The same text again changes nothing.

    A published text never changes. What readers of the version can read (a new field, a route, a step that keeps types)
    is published by --minor as a revision of it, and running jobs take it over; anything else is a new version.

    Exit code 2 when a file is refused; the others are published all the same.

    \b
      clearwell contract publish schemas/flights/v1.yaml
      clearwell contract publish flights --minor --dry-run
      clearwell contract publish
    """
    files = find_contract_files(schemas_folder(), targets)
    with open_platform() as platform:
        plan = contract_publication.plan_publish(platform, files, minor=minor)
        if not dry_run:
            contract_publication.apply(platform, actor(), plan)
    emit(as_json, to_json(plan, dry_run), lambda: "\n".join(_lines(plan.contracts, dry_run)))
    if not as_json:
        say_refusals(plan)
    if plan.refused:
        ctx.exit(ConfigError.exit_code)


def to_json(plan: contract_publication.Publication, dry_run: bool) -> Mapping[str, Any]:
    """A publication as `--json` prints it."""
    return {"dry_run": dry_run, "contracts": [_to_json(planned) for planned in plan.contracts]}


def render_contracts(plans: Sequence[PlannedContract], dry_run: bool = False) -> Iterator[str]:
    """What became of each that was not refused, with its warnings."""
    will = "would be published" if dry_run else "published"
    for planned in plans:
        name = f"{planned.stream} v{planned.version}" + (f".{planned.revision}" if planned.revision else "")
        match planned.outcome:
            case Outcome.REFUSED:
                continue
            case Outcome.UNCHANGED:
                yield f"{name}: unchanged."
            case _:
                yield f"{name}: {will} ({planned.outcome}, {planned.digest[:12]})."
                yield from (f"  {_worded(difference)}" for difference in planned.differences)
        yield from (f"  warning: {printable(warning)}" for warning in planned.warnings)


def say_refusals(plan: contract_publication.Publication) -> None:
    """Tell on standard error why files are not published, and how the text of each differs from what is."""
    for planned in plan.refused:
        say("\n".join(_refusal(planned)), err=True)


def error_of(planned: PlannedContract) -> str | None:
    """Why it is refused, and what to do; None where it is not."""
    return None if planned.refusal is None else sentence(planned.refusal)


def _refusal(planned: PlannedContract) -> Iterator[str]:
    yield error_of(planned) or ""
    lines = planned.changed_lines
    yield from (f"  {printable(line)}" for line in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"  … and {counted(len(lines) - MOST_LINES, 'line')} more."


def _lines(plans: Sequence[PlannedContract], dry_run: bool) -> Iterator[str]:
    yield from render_contracts(plans, dry_run)
    if refused := sum(planned.outcome is Outcome.REFUSED for planned in plans):
        yield f"{refused} of {len(plans)} {'would be' if dry_run else 'are'} refused:"


def _worded(difference: Any) -> str:
    return f"{difference.field} {difference.what}".strip()


def _to_json(planned: PlannedContract) -> Mapping[str, Any]:
    refusal = planned.refusal
    return {
        "file": planned.file,
        "stream": planned.stream,
        "version": planned.version,
        "revision": planned.revision,
        "digest": planned.digest,
        "outcome": planned.outcome,
        "code": None if refusal is None else refusal.code,
        "error": error_of(planned),
        "differences": msgspec.to_builtins(planned.differences),
        "changed_lines": planned.changed_lines,
        "warnings": planned.warnings,
    }


@click.command()
@click.argument("stream")
@click.option("--version", "number", type=click.IntRange(1, 9_999), help="This one alone; default: all.")
@change_options
def retire(stream: str, number: int | None, dry_run: bool, as_json: bool) -> None:
    """Take a contract back: the jobs of its stream end.

    Nothing is lost: its events stay in their topics and stores, and when the contract is published again its jobs go on
    where they were, as long as Kafka keeps the events. Of one version the version before goes on where it was. The
    file in the schemas folder stays; `clearwell up` does not publish again what was retired.

    \b
      clearwell contract retire flights --dry-run
      clearwell contract retire flights --version 2
    """
    plan = plan_and_apply(
        lambda platform: contract_retirement.plan_retire(platform, stream, number), contract_retirement.apply, dry_run
    )
    shown = {
        "stream": stream,
        "versions": plan.versions,
        "next_version": plan.next_version,
        "jobs": plan.ending,
        "dry_run": dry_run,
    }
    emit(as_json, shown, lambda: "\n".join(_retired(plan, dry_run)))


def _retired(plan: Retirement, dry_run: bool) -> Iterator[str]:
    will, ends = ("would be", "would end") if dry_run else ("is", "ends")
    for version in plan.versions:
        yield f"{plan.stream} v{version} {will} retired."
    for job in plan.ending:
        waiting = "what waits is unknown" if job.waiting is None else f"{counted(job.waiting, 'event')} wait for it"
        yield f"  {job.name} {ends}; {waiting}."
    if plan.next_version is not None:
        yield f"v{plan.next_version} goes on where it was."
    yield "Nothing is lost: events stay in their topics. Publish the contract again, and its jobs go on."

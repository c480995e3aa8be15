"""`clearwell prepare`: what must exist before services start, for those who run the services themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import actor, open_platform
from clearwell.control.preparation import Preparation, apply, plan_preparation


@click.command()
@change_options
def prepare(dry_run: bool, as_json: bool) -> None:
    """Make the topics of every contract, the registry's tables and the key file, where they are missing.

    `clearwell up` does this by itself. Run it once before the services when an orchestrator starts them (Compose,
    Kubernetes), and again after a new contract. Doing it again changes nothing.
    """
    with open_platform() as platform:
        plan = plan_preparation(platform)
        streams = [] if dry_run else apply(platform, actor(), plan)
    if dry_run:
        emit(as_json, {"dry_run": True, **msgspec.to_builtins(plan)}, lambda: "\n".join(_render_plan(plan)))
    else:
        emit(as_json, {"prepared": streams}, lambda: f"Ready for {', '.join(streams) or 'no contract yet'}.")


def _render_plan(plan: Preparation) -> Iterator[str]:
    if not plan.is_needed:
        yield "Everything is there; nothing would be made."
    yield from (f"The key file {path} would be made." for path in plan.keys)
    if plan.migrations:
        yield f"The registry's tables would be brought up to date ({', '.join(plan.migrations)})."
    yield from (f"The topic {topic} would be made." for topic in plan.topics)

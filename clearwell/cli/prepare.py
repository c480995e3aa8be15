"""`clearwell prepare`: what must exist before services start, for those who run the services themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from clearwell.cli.contract.publish import error_of, say_refusals
from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import actor, open_platform
from clearwell.control.preparation import Preparation, apply, plan_preparation


@click.command()
@change_options
def prepare(dry_run: bool, as_json: bool) -> None:
    """Publish the contracts, and make their topics, the registry's tables and the key file where they are missing.

    `clearwell up` does this by itself. Run it once before the services when an orchestrator starts them (Compose,
    Kubernetes). Doing it again changes nothing. A contract that is wrong, or was changed after it was published, is
    told and is in nobody's way.
    """
    with open_platform() as platform:
        plan = plan_preparation(platform)
        publication = plan.publication if dry_run else apply(platform, actor(), plan)
    refused = [{"file": str(planned.file), "error": error_of(planned)} for planned in publication.refused]
    if dry_run:
        shown = {"keys": plan.keys, "migrations": plan.migrations, "contracts": plan.contracts, "topics": plan.topics}
        emit(as_json, {"dry_run": True, **shown, "refused": refused}, lambda: "\n".join(_render_plan(plan)))
    else:
        ready = [f"{planned.stream} v{planned.version}" for planned in publication.contracts if not planned.refusal]
        streams = ", ".join(ready) or "no contract yet"
        emit(as_json, {"prepared": ready, "refused": refused}, lambda: f"Ready for {streams}.")
    if not as_json:
        say_refusals(publication)


def _render_plan(plan: Preparation) -> Iterator[str]:
    if not plan.is_needed:
        yield "Everything is there; nothing would be made."
    yield from (f"The key file {path} would be made." for path in plan.keys)
    if plan.migrations:
        yield f"The registry's tables would be brought up to date ({', '.join(plan.migrations)})."
    yield from (f"{contract} would be published." for contract in plan.contracts)
    yield from (f"The topic {topic} would be made." for topic in plan.topics)

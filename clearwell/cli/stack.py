"""`clearwell up | down`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from clearwell import settings
from clearwell.cli.contract.publish import error_of, say_refusals
from clearwell.cli.output import change_options, emit, progress
from clearwell.cli.platform import actor, open_platform
from clearwell.control.contract_publication import Publication
from clearwell.control.schemas_publication import apply_schemas, plan_first_schemas, plan_schemas
from clearwell.local import plans, stack
from clearwell.settings import redact

PORT = click.IntRange(1, 65_535)


@click.command()
@click.option("--services/--no-services", default=True, help="Our own services too, or the servers alone.")
@click.option("--kafka-port", type=PORT, help="Default: as before, else any free port.")
@click.option("--postgres-port", type=PORT, help="Default: as before, else any free port.")
@click.option("--mongo-port", type=PORT, help="Default: as before, else any free port.")
@change_options
def up(
    services: bool,
    kafka_port: int | None,
    postgres_port: int | None,
    mongo_port: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start the stack of this data folder, or find the one that runs.

    Servers that CLEARWELL_KAFKA, CLEARWELL_POSTGRES and CLEARWELL_MONGO name are used as they are; the others run
    here, as processes under the data folder, reachable from this machine alone. What is new in the schemas folder is
    published; a contract that is wrong, or was changed after it was published, is told and is in nobody's way.

    \b
      clearwell up
      clearwell up --kafka-port 9092 --postgres-port 5432
      clearwell up --no-services
      clearwell up --dry-run
    """
    home = settings.home_folder()
    ports = stack.Ports(kafka=kafka_port, postgres=postgres_port, mongo=mongo_port)
    if dry_run:
        would = plans.plan_up(home, services, ports)
        plan = _plan_publication(would.running) if services else Publication([])
        names = _names(plan)
        shown = {"dry_run": True, "home": str(home), **asdict(would), "publish": names, "refused": _refused(plan)}
        emit(as_json, shown, lambda: _would_start(would, names))
        if not as_json:
            say_refusals(plan)
        return
    began, before = time.monotonic(), stack.ports_of(home)
    with progress() as report:
        endpoints = stack.up(home, services=services, ports=ports, progress=report)
    publication = _publish() if services else Publication([])
    now = stack.ports_of(home)
    changed = stack.changes(before, now, requested=ports) if now is not None else {}
    shown = {
        "home": str(home),
        "kafka": endpoints.kafka,
        "postgres": redact(endpoints.postgres),
        "mongo": redact(endpoints.mongo),
        "seconds": round(time.monotonic() - began, 1),
        "changed_ports": {name: {"old": old, "new": new} for name, (old, new) in changed.items()},
        "published": _names(publication),
        "refused": _refused(publication),
    }
    emit(as_json, shown, lambda: _ready(shown, changed))
    if not as_json:
        say_refusals(publication)


def _publish() -> Publication:
    """What is new in the schemas folder; a file that is wrong is in nobody's way."""
    with open_platform() as platform:
        return apply_schemas(platform, actor(), plan_schemas(platform))


def _plan_publication(running: bool) -> Publication:
    """What `_publish` would; a registry that does not run can't be asked what it knows already."""
    if not running:
        return plan_first_schemas(settings.schemas_folder())
    with open_platform() as platform:
        return plan_schemas(platform)


def _names(publication: Publication) -> list[str]:
    return [f"{planned.stream} v{planned.version}" for planned in publication.contracts if planned.changes]


def _refused(publication: Publication) -> list[dict[str, Any]]:
    return [{"file": planned.file, "error": error_of(planned)} for planned in publication.refused]


def _would_start(would: plans.StartPlan, publish: list[str]) -> str:
    lines = ["A stack runs here already."] if would.running else []
    lines += [f"{name} at {address} would be used as it is." for name, address in would.use.items()]
    if would.download_bytes:
        lines.append(f"Kafka would be downloaded: {would.download_bytes / 1e6:.0f} MB.")
    lines += [f"{path} would be made." for path in would.create]
    lines.append(f"{', '.join(would.start)} would be started." if would.start else "Nothing would be started.")
    if publish:
        known = "" if would.running else ", where the registry does not have them yet"
        lines.append(f"{', '.join(publish)} would be published{known}.")
    return "\n".join(lines)


def _ready(shown: dict[str, Any], changed: Mapping[str, tuple[int, int]]) -> str:
    lines = [f"Ready in {shown['seconds']} s."]
    lines += [f"  {name:<9} {shown[name]}" for name in ("kafka", "postgres", "mongo", "home")]
    lines += [
        f"{name} is on port {new} now, as {old} was not free: tell whoever uses it."
        for name, (old, new) in changed.items()
    ]
    if shown["published"]:
        lines.append(f"Published: {', '.join(shown['published'])}.")
    lines += [
        "`clearwell status` shows how all of it is doing, `clearwell down` ends it, `clearwell credentials` the logins."
    ]
    return "\n".join(lines)


@click.command()
@click.option("--wipe", is_flag=True, help="Delete the data folder too: every event, table, log and key in it.")
@change_options
def down(wipe: bool, dry_run: bool, as_json: bool) -> None:
    """End every process of the stack, services first. Named servers are left alone.

    The data stays for the next `up`, unless --wipe deletes it.
    """
    home = settings.home_folder()
    if dry_run:
        would = plans.plan_down(home, wipe)
        emit(as_json, {"dry_run": True, "home": str(home), **asdict(would)}, lambda: _would_stop(would))
        return
    ran = stack.down(home, wipe=wipe)
    said = "Everything has ended." if ran else "Nothing was running."
    said += f" {home} is deleted." if wipe else ""
    emit(as_json, {"home": str(home), "ran": ran, "wiped": wipe}, lambda: said)


def _would_stop(would: plans.StopPlan) -> str:
    said = f"{', '.join(would.stop)} would be ended." if would.stop else "Nothing is running."
    deleted = [f" {folder} would be deleted, with every event, table, log and key in it." for folder in would.delete]
    return said + "".join(deleted)

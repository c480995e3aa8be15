"""`clearwell prepare`: what must exist before services start, for those who run the services themselves."""

from __future__ import annotations

from dataclasses import asdict

import click

from clearwell import settings
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.contract.load import newest_contracts
from clearwell.local import outlook
from clearwell.local.prepare import prepare as make_ready


@click.command()
@dry_run_option
@home_option
@json_option
def prepare(dry_run: bool, as_json: bool) -> None:
    """Make the topics of every contract, the registry's tables and the key file, where they are missing.

    `clearwell up` does this by itself. Run it once before the services when an orchestrator starts them (Compose,
    Kubernetes), and again after a new contract. Doing it again changes nothing.
    """
    where = settings.load()
    if dry_run:
        would = outlook.of_prepare(where)
        emit(as_json, {"dry_run": True, **asdict(would)}, lambda: _would_make(would))
        return
    where.home.mkdir(parents=True, exist_ok=True)
    make_ready(where)
    streams = [f"{one.stream} v{one.version}" for one in newest_contracts(where.schemas)]
    emit(as_json, {"prepared": streams}, lambda: f"Ready for {', '.join(streams) or 'no contract yet'}.")


def _would_make(would: outlook.Preparation) -> str:
    if would.nothing:
        return "Everything is there; nothing would be made."
    found = [f"The key file {path} would be made." for path in would.keys]
    if would.migrations:
        found.append(f"The registry's tables would be brought up to date ({', '.join(would.migrations)}).")
    found += [f"The topic {topic} would be made." for topic in would.topics]
    return "\n".join(found)

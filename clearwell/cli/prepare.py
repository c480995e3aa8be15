"""`clearwell prepare`: what must exist before services start, for those who run the services themselves."""

from __future__ import annotations

import click

from clearwell import settings
from clearwell.cli.output import emit, home_option, json_option
from clearwell.local.prepare import prepare as make_ready
from clearwell.local.services import contracts


@click.command()
@home_option
@json_option
def prepare(as_json: bool) -> None:
    """Make the topics of every contract, the registry's tables and the key file, where they are missing.

    `clearwell up` does this by itself. Run it once before the services when an orchestrator starts them (Compose,
    Kubernetes), and again after a new contract. Doing it again changes nothing.
    """
    where = settings.load()
    where.home.mkdir(parents=True, exist_ok=True)
    make_ready(where)
    streams = [f"{one.stream} v{one.version}" for one in contracts(where.schemas)]
    emit(as_json, {"prepared": streams}, lambda: f"Ready for {', '.join(streams) or 'no contract yet'}.")

"""`clearwell connector`: register sources, see how they are doing, and change what they do."""

from __future__ import annotations

import click

from clearwell.cli.connector.changes import pause, remove, reset, restart, resume
from clearwell.cli.connector.discover import check, discover
from clearwell.cli.connector.positions import positions
from clearwell.cli.connector.register import register
from clearwell.cli.connector.spec import spec
from clearwell.cli.connector.views import audit_command, list_command, show
from clearwell.cli.group import Group


@click.group(cls=Group)
def connector() -> None:
    """Register sources, see how they are doing, pause and move them."""


for command in (
    *(spec, check, discover, register),
    *(list_command, show, audit_command),
    *(pause, resume, restart, reset, positions, remove),
):
    connector.add_command(command)

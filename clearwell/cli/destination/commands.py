"""`clearwell destination`: register destinations, see how they are doing, pause and replay them."""

from __future__ import annotations

import click

from clearwell.cli.destination.changes import pause, remove, resume
from clearwell.cli.destination.register import check, register
from clearwell.cli.destination.replay import replay
from clearwell.cli.destination.spec import spec
from clearwell.cli.destination.views import list_command, show
from clearwell.cli.group import Group


@click.group(cls=Group, aliases={"add": "register"})
def destination() -> None:
    """Register destinations, see how they are doing, pause and replay them.

    A route of a contract names a destination: `to: postgres` is the platform's own, `to: postgres.warehouse` one that
    was registered under that name. Each route has a deliverer of its own.

    \b
      clearwell destination spec                              the kinds, and the options of each
      clearwell destination register postgres.warehouse --set 'url=postgresql://me:${env:CLEARWELL_SECRET_DB}@db/shop'
      clearwell destination list                              state, events behind, last error
      clearwell destination pause postgres.warehouse          keeps its position; `resume` goes on
      clearwell destination replay postgres.warehouse --from 2h
    """


for command in (spec, register, list_command, show, check, pause, resume, replay, remove):
    destination.add_command(command)

"""`clearwell destination`: register stores, see how deliveries fare, and lead their lives."""

from __future__ import annotations

import click

from clearwell.cli.destination.life import pause, resume
from clearwell.cli.destination.look import list_command, show
from clearwell.cli.destination.register import add, check, remove
from clearwell.cli.destination.replay import replay
from clearwell.cli.destination.spec import spec
from clearwell.cli.group import Group


@click.group(cls=Group)
def destination() -> None:
    """Register stores, see how deliveries fare, pause and replay them.

    A route of a contract names a store: `to: postgres` is the platform's own, `to: postgres.warehouse` one that was
    added under that name. Each route has a deliverer of its own.

    \b
      clearwell destination spec                              the kinds, and what each wants to know
      clearwell destination add postgres.warehouse --set 'url=postgresql://me:${env:CLEARWELL_SECRET_DB}@db/shop'
      clearwell destination list                              state, events behind, last error
      clearwell destination pause postgres.warehouse          keeps its place; `resume` goes on
      clearwell destination replay postgres.warehouse --from 2h
    """


for command in (spec, add, list_command, show, check, pause, resume, replay, remove):
    destination.add_command(command)

"""`clearwell job`: what workers run for each stream."""

from __future__ import annotations

import click

from clearwell.cli.group import Group
from clearwell.cli.job.changes import pause, restart, resume, scale
from clearwell.cli.job.views import list_command, show


@click.group(cls=Group)
def job() -> None:
    """Look at the jobs of workers; pause, restart and scale them.

    A published contract makes the jobs of its stream: a cleaner, a copier of dead letters, a deliverer for each route,
    and an archiver for each archive. Workers take them by lease.

    \b
      clearwell job list --stream flights
      clearwell job restart cleaner.flights.v1
      clearwell job scale cleaner.flights.v1 4
    """


for command in (list_command, show, pause, resume, restart, scale):
    job.add_command(command)

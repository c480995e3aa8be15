"""`clearwell dead`: dead letters, from a look at them to their replay."""

from __future__ import annotations

import click

from clearwell.cli.dead.decide import drop, park, release
from clearwell.cli.dead.fix import fix
from clearwell.cli.dead.look import list_command, stats
from clearwell.cli.dead.replay import replay
from clearwell.cli.dead.show import show
from clearwell.cli.group import Group


@click.group(cls=Group)
def dead() -> None:
    """Look at events that found no way, mend them, and send them again.

    \b
      clearwell dead stats                                   what went wrong, and how often
      clearwell dead show 17                                 one of them
      clearwell dead fix 17 --set 'origin="EWR"' --dry-run   mend it, and see what becomes of it
      clearwell dead replay 17                               send it
    """


for command in (list_command, stats, show, fix, replay, drop, park, release):
    dead.add_command(command)

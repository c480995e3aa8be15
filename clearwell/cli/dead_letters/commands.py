"""`clearwell dead-letter`: dead letters, from a look at them to their replay."""

from __future__ import annotations

import click

from clearwell.cli.dead_letters.decide import discard, park, reopen
from clearwell.cli.dead_letters.fix import fix
from clearwell.cli.dead_letters.replay import replay
from clearwell.cli.dead_letters.show import show
from clearwell.cli.dead_letters.views import list_command, stats
from clearwell.cli.group import Group


@click.group("dead-letter", cls=Group, aliases={"drop": "discard", "release": "reopen"})
def dead_letter() -> None:
    """Look at rejected events, fix them, and send them again.

    \b
      clearwell dead-letter stats                                   what went wrong, and how often
      clearwell dead-letter show 17                                 one of them
      clearwell dead-letter fix 17 --set 'origin="EWR"' --dry-run   fix it, and see what becomes of it
      clearwell dead-letter replay 17                               send it
    """


for command in (list_command, stats, show, fix, replay, discard, park, reopen):
    dead_letter.add_command(command)

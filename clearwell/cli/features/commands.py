"""`clearwell feature`: what contracts declare, in Feast's registry, and what is served."""

from __future__ import annotations

import click

from clearwell.cli.features.apply import apply
from clearwell.cli.features.compact import compact
from clearwell.cli.features.get import get
from clearwell.cli.features.history import history_command
from clearwell.cli.features.look import list_command, show
from clearwell.cli.features.refresh import refresh
from clearwell.cli.features.verify import verify
from clearwell.cli.group import Group


@click.group("feature", cls=Group)
def features() -> None:
    """Look at feature views, tell Feast of them, and read what is served.

    A view is declared by a route `to: features.<view>` of a contract, and filled by its deliverer.

    \b
      clearwell feature list
      clearwell feature apply --dry-run
      clearwell feature get carrier_delays UA DL
      clearwell feature history carrier_delays --entity UA
      clearwell feature verify carrier_delays
      clearwell feature compact --dry-run
    """


for command in (list_command, show, apply, get, history_command, refresh, verify, compact):
    features.add_command(command)

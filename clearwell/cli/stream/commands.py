"""`clearwell stream`: what concerns a stream as a whole."""

from __future__ import annotations

import click

from clearwell.cli.group import Group
from clearwell.cli.stream.changes import pause, remove, resume
from clearwell.cli.stream.partitions import partitions_command
from clearwell.cli.stream.realign import realign_command
from clearwell.cli.stream.views import list_command, show


@click.group(cls=Group)
def stream() -> None:
    """Look at streams, pause and end them, and keep their logs in order.

    \b
      clearwell stream list                           every stream, and how it is doing
      clearwell stream show flights                   topics, and how far their readers are
      clearwell stream pause flights                  its connectors and its jobs
      clearwell stream realign flights --dry-run      what Kafka has lost of what was read
      clearwell stream partitions flights 8           more partitions for all of its topics
    """


for command in (list_command, show, pause, resume, partitions_command, realign_command, remove):
    stream.add_command(command)

"""`clearwell backfill`: hands over to the process that does it, since the library holds no services."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

from clearwell.errors import ConfigError


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def backfill(arguments: tuple[str, ...]) -> None:
    """Replay history into a training set."""
    found = importlib.util.find_spec("services.backfill") if importlib.util.find_spec("services") else None
    if found is None or found.origin is None:
        raise ConfigError(
            "A backfill runs from a checkout of Clearwell or from its image, and this is the library alone: "
            "run it there, or install the checkout here."
        )
    checkout = str(Path(found.origin).parents[2])
    path = os.pathsep.join(filter(None, (checkout, os.environ.get("PYTHONPATH", ""))))
    sys.stdout.flush()
    os.execve(  # noqa: S606 - signals, exit code and terminal are those of the new process
        sys.executable,
        [sys.executable, "-P", "-m", "services.backfill", *arguments],
        os.environ | {"PYTHONPATH": path},
    )

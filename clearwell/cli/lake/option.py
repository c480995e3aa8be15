"""Which lake a command means."""

from __future__ import annotations

import click

from clearwell.cli.output import AnyFunction


def lake_option(function: AnyFunction) -> AnyFunction:
    """Adds `--lake`, which the command receives as `lake`: the name of a registered lake, without its kind."""

    def bare(_context: click.Context, _param: click.Parameter, value: str | None) -> str | None:
        return None if value is None else value.removeprefix("lake.")

    return click.option("--lake", callback=bare, help="A registered lake (lake.NAME); default: the platform's own.")(
        function
    )

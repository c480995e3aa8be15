"""Which lake and which table a command means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from clearwell.destinations.lake import archive
from clearwell.destinations.lake import destination as lake
from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.destinations.lake.tables import tables_of
from clearwell.errors import ConfigError, nearest

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
FOLDERS = (archive.FOLDER, lake.FOLDER)


def lake_option(function: AnyFunction) -> AnyFunction:
    """Adds `--lake`, which the command receives as `name`."""
    return click.option("--lake", "name", help="A registered lake (lake.NAME); default: the platform's own.")(function)


def bare(name: str | None) -> str | None:
    """The name of a registered lake, without its kind."""
    return None if name is None else name.removeprefix("lake.")


def place_in(root: Root, name: str) -> TableLocation:
    """Where a table is."""
    return root.table(*name.split("/"))


def table_in(root: Root, name: str) -> TableLocation:
    """Where a table that is there is. Raises ConfigError with the nearest name."""
    known = tables_of(root, FOLDERS)
    if name not in known:
        hint = nearest(name, known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(f'There is no table "{name}" in {root.place.shown}.{hint}')
    return place_in(root, name)

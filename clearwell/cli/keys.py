"""`clearwell keys`: the local key file. Secrets are never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from clearwell import settings
from clearwell.cli.group import Group
from clearwell.cli.output import AnyFunction, dry_run_option, emit, home_option, json_option, table
from clearwell.errors import ConfigError
from clearwell.privacy.local import LocalKeyring, next_id


@click.group(cls=Group)
def keys() -> None:
    """Make, list and rotate the keys of the local key file (CLEARWELL_KEYS, or keys.json in the data folder)."""


def _file_option(function: AnyFunction) -> AnyFunction:
    option = click.option("--file", type=click.Path(path_type=Path), help="The key file; default: CLEARWELL_KEYS.")
    return option(function)


@keys.command()
@_file_option
@dry_run_option
@home_option
@json_option
def create(file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Make a key file with one key, which only its owner may read. Keep a copy: without it nothing opens again.

    \b
      clearwell keys create
      CLEARWELL_KEYS=/etc/clearwell/keys.json clearwell keys create --dry-run
    """
    path = file or settings.key_file()
    if dry_run and path.exists():
        raise ConfigError(f"There is a key file at {path} already; it is not touched.")
    _change(path, next_id([]), dry_run, as_json, LocalKeyring.create, "made")


@keys.command()
@_file_option
@dry_run_option
@home_option
@json_option
def rotate(file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Add a key that seals from now on; what the older ones sealed still opens, and pseudonyms stay the same.

    Cleaners that run find the new key within a few seconds.
    """
    path = file or settings.key_file()
    new = next_id(info.id for info in LocalKeyring(path).infos())
    _change(path, new, dry_run, as_json, LocalKeyring.rotate, "rotated")


@keys.command("list")
@_file_option
@home_option
@json_option
def list_command(file: Path | None, as_json: bool) -> None:
    """Show the ids of the keys, when each was made, and which one seals."""
    path = file or settings.key_file()
    found = LocalKeyring(path).infos()
    rows = [(info.id, info.created, "seals" if info.active else "opens") for info in found]
    emit(as_json, {"file": str(path), "keys": found}, lambda: table(("id", "created", "use"), rows))


def _change(
    path: Path, key_id: str, dry_run: bool, as_json: bool, change: Callable[[Path], LocalKeyring], done: str
) -> None:
    """Do it, or only say it; then show which key is active."""
    if not dry_run:
        key_id = change(path).seal_key(None).id
    would = "would be " if dry_run else "is "
    shown = {"file": str(path), "active": key_id, "dry_run": dry_run}
    emit(as_json, shown, lambda: f'The key file {path} {would}{done}; "{key_id}" seals.')

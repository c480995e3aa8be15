"""`clearwell key`: the local key file. Secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import click

from clearwell.cli.group import Group
from clearwell.cli.output import AnyFunction, change_options, common_options, emit, table
from clearwell.cli.platform import actor, platform_if_any
from clearwell.control.keys import KeyChange, apply, list_keys, plan_create, plan_rotate
from clearwell.settings import key_file


@click.group(cls=Group)
def key() -> None:
    """Make, list and rotate the keys of the local key file (CLEARWELL_KEYS, or keys.json in the data folder)."""


def _file_option(function: AnyFunction) -> AnyFunction:
    option = click.option("--file", type=click.Path(path_type=Path), help="The key file; default: CLEARWELL_KEYS.")
    return option(function)


@key.command()
@_file_option
@change_options
def create(file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Make a key file with one key, which only its owner may read. Keep a copy: without it nothing opens again.

    \b
      clearwell key create
      CLEARWELL_KEYS=/etc/clearwell/keys.json clearwell key create --dry-run
    """
    _carry_out(plan_create(file or key_file()), dry_run, as_json, "created")


@key.command()
@_file_option
@change_options
def rotate(file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Add a key that seals from now on; what the older ones sealed still opens, and pseudonyms stay the same.

    Cleaners that run find the new key within a few seconds.
    """
    _carry_out(plan_rotate(file or key_file()), dry_run, as_json, "rotated")


@key.command("list")
@_file_option
@common_options
def list_command(file: Path | None, as_json: bool) -> None:
    """Show the ids of the keys, when each was made, and which one seals."""
    path = file or key_file()
    infos = list_keys(path)
    rows = [(info.id, info.created, "seals" if info.active else "opens") for info in infos]
    emit(as_json, {"file": str(path), "keys": infos}, lambda: table(("id", "created", "use"), rows))


def _carry_out(plan: KeyChange, dry_run: bool, as_json: bool, verb: str) -> None:
    shown = {"file": plan.file, "active": plan.active, "dry_run": dry_run}
    text = f'The key file {plan.file} {"would be" if dry_run else "is"} {verb}; "{plan.active}" seals.'
    if not dry_run:
        with platform_if_any() as platform:
            done = apply(platform, actor(), plan)
        shown |= {"active": done.active, "audited": done.audited}
        text += "" if done.audited else " It is not audited: no registry answers."
    emit(as_json, shown, lambda: text)

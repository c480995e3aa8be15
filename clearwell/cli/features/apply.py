"""`clearwell features apply`: Feast's registry as the contracts say."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from clearwell import settings
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.errors import ConfigError
from clearwell.features.declared import declared_views
from clearwell.features.repository import PROJECT

if TYPE_CHECKING:
    from clearwell.features.apply import Applied

_SIGNS = {"add": "+", "change": "~", "remove": "-"}


@click.command()
@click.option("--project", default=PROJECT, show_default=True, help="Which of Feast's projects the views belong to.")
@dry_run_option
@home_option
@json_option
def apply(project: str, dry_run: bool, as_json: bool) -> None:
    """Tell Feast of the feature views that contracts declare.

    Shows what is added, changed and removed; what is equal is left alone, so it may run again at any time, in a
    pipeline say. Makes the tables of new views, and feature_store.yaml for Feast's own tools. Rows are never removed.

    \b
      clearwell features apply --dry-run
      clearwell features apply

    The registry is in Clearwell's PostgreSQL, or where CLEARWELL_FEAST_REGISTRY says. Needs clearwell[feast].
    """
    where = settings.load()
    declared = declared_views(where.schemas)
    require_feast()
    from clearwell.features.apply import apply as apply_views  # imports Feast: 3 s

    found = apply_views(where, declared, project, dry_run=dry_run)
    emit(as_json, found, lambda: "\n".join([*_lines(found), _summary(found)]))


def require_feast() -> None:
    """Raise ConfigError with what to do when Feast is not installed."""
    if importlib.util.find_spec("feast") is None:
        raise ConfigError("Feast is not installed: pip install 'clearwell[feast]'.")


def _lines(found: Applied) -> Iterator[str]:
    for one in found.changes:
        yield f"{_SIGNS[one.action]} {one.kind} {one.name}"
        yield from (f"    {detail}" for detail in one.details)


def _summary(found: Applied) -> str:
    changes = f"{len(found.changes)} change{'s'[: len(found.changes) != 1]}"
    if not found.changes:
        end = f"Feast's project {found.project} is as the contracts say ({found.views} in all)."
    elif found.dry_run:
        end = f"{changes} to make: run it without --dry-run."
    else:
        end = f"{changes} made in Feast's project {found.project}."
    return f"{end}\nFor Feast's own tools: {found.file}" if found.file else end

"""`clearwell lake`: the Delta tables of the lake, looked at and kept in order."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from rich.console import Group as Lines
from rich.console import RenderableType

from clearwell.cli.group import Group
from clearwell.cli.lake.option import lake_option
from clearwell.cli.lake.upkeep import compact, vacuum
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.control.lake import (
    ArchiveCheck,
    LakeTableDetails,
    LakeTables,
    check_archive,
    list_tables,
    list_versions,
    show_table,
)
from clearwell.control.times import parse_time


@click.group("lake", cls=Group)
def lake_commands() -> None:
    """Look at the Delta tables of the lake, and keep them in order.

    A table is named as `lake list` shows it: lake/<stream>_v<version> holds clean events, archive/<stream> raw ones,
    sealed. Those who write a table compact it now and then; these commands do it at once.

    \b
      clearwell lake list
      clearwell lake show lake/flights_v1 --version 12
      clearwell lake compact lake/flights_v1 --dry-run
      clearwell lake check flights
    """


lake_commands.add_command(compact)
lake_commands.add_command(vacuum)


@lake_commands.command("list")
@lake_option
@common_options
def list_command(lake: str | None, as_json: bool) -> None:
    """List the tables with their sizes."""
    with open_platform() as platform:
        listing = list_tables(platform, lake)
    empty = f"No tables in {listing.lake} yet: a contract's route `to: lake` or `to: archive` makes them."
    emit(as_json, listing, lambda: _render_sizes(listing.tables) if listing.tables else empty)


@lake_commands.command()
@click.argument("table_name", metavar="TABLE")
@click.option("--version", type=int, help="As it was at this version (`lake history` lists them).")
@click.option("--at", help="As it was then, or so long ago: 2026-11-27, 2h.")
@click.option("--rows", type=click.IntRange(0, 1000), default=5, show_default=True, help="How many rows to show.")
@lake_option
@common_options
def show(table_name: str, version: int | None, at: str | None, rows: int, lake: str | None, as_json: bool) -> None:
    """Show a table's size, columns and some rows, now or as it was."""
    if version is not None and at is not None:
        raise click.UsageError("Give --version or --at, not both.")
    moment = version if at is None else parse_time(at, "--at")
    with open_platform() as platform:
        details = show_table(platform, table_name, lake, at=moment, rows=rows)
    emit(as_json, details, lambda: _render_table(details))


@lake_commands.command()
@click.argument("table_name", metavar="TABLE")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many versions.")
@lake_option
@common_options
def history(table_name: str, limit: int, lake: str | None, as_json: bool) -> None:
    """List a table's versions, newest first."""
    with open_platform() as platform:
        versions = list_versions(platform, table_name, lake, limit)
    heads = ["version", "at", "operation", "rows"]
    rows = [
        [str(version.version), _time(version.at), version.operation, "" if version.rows is None else version.rows]
        for version in versions
    ]
    emit(as_json, {"table": table_name, "versions": versions}, lambda: table(heads, rows))


@lake_commands.command()
@click.argument("stream")
@lake_option
@common_options
@click.pass_context
def check(ctx: click.Context, stream: str, lake: str | None, as_json: bool) -> None:
    """Prove that the archive of STREAM holds every raw event, once.

    Compares it with the raw topic, by offset, as far as retention still has that. Exit code 1 where something is
    missing or there twice.
    """
    with open_platform() as platform:
        result = check_archive(platform, stream, lake)
    emit(as_json, result, lambda: _render_check(result))
    ctx.exit(0 if result.balanced else 1)


def _render_sizes(infos: LakeTables) -> RenderableType:
    rows = [
        [info.table, str(info.version), _time(info.at), info.rows, info.files, info.small, f"{info.size / 1e6:,.1f} MB"]
        for info in infos
    ]
    return table(["table", "version", "written", "rows", "files", "small", "size"], rows)


def _render_table(details: LakeTableDetails) -> RenderableType:
    columns = table(["column", "type"], list(details.columns.items()))
    rows = table(list(details.columns), [[_short(value) for value in row.values()] for row in details.rows_shown])
    return Lines(_render_sizes([details]), "", columns, "", rows)


def _render_check(result: ArchiveCheck) -> RenderableType:
    counts = ("archived", "missing", "doubled", "older", "outlived", "waiting")
    rows = [
        [
            str(partition.partition),
            f"{partition.first:,}-{partition.next:,}",
            *(getattr(partition, name) for name in counts),
        ]
        for partition in result.partitions
    ]
    outcome = "The archive holds every raw event once." if result.balanced else "The archive DOES NOT ADD UP."
    return Lines(table(["partition", "offsets", *counts], rows), "", outcome)


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")

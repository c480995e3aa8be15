"""`clearwell lake`: the Delta tables of the lake, looked at and kept in order."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from rich.console import Group as Lines

from clearwell import settings
from clearwell.accounts.archive import PartitionArchive, check_archive
from clearwell.cli.group import Group
from clearwell.cli.lake.place import FOLDERS, bare, lake_option, place_in, table_in
from clearwell.cli.lake.tidy import compact, vacuum
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.contract.model import ARCHIVE
from clearwell.control.times import parse_time
from clearwell.destinations.lake import archive, tables
from clearwell.plugins.lakes import lake_root


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
@home_option
@json_option
def list_(name: str | None, as_json: bool) -> None:
    """List the tables with their sizes."""
    root = lake_root(settings.load(), bare(name))
    found = [tables.info_of(one, tables.opened(place_in(root, one))) for one in tables.tables_of(root, FOLDERS)]
    empty = f"No tables in {root.place.shown} yet: a contract's route `to: lake` or `to: archive` makes them."
    emit(as_json, {"lake": root.place.shown, "tables": found}, lambda: _infos(found) if found else empty)


@lake_commands.command()
@click.argument("table_name", metavar="TABLE")
@click.option("--version", type=int, help="As it was at this version (`lake history` lists them).")
@click.option("--at", help="As it was then, or so long ago: 2026-11-27, 2h.")
@click.option("--rows", type=click.IntRange(0, 1000), default=5, show_default=True, help="How many rows to show.")
@lake_option
@home_option
@json_option
def show(table_name: str, version: int | None, at: str | None, rows: int, name: str | None, as_json: bool) -> None:
    """Show a table's size, columns and some rows, now or as it was."""
    if version is not None and at is not None:
        raise click.UsageError("Give --version or --at, not both.")
    place = table_in(lake_root(settings.load(), bare(name)), table_name)
    found = tables.opened(place, version if at is None else parse_time(at, "--at"))
    info = tables.info_of(table_name, found)
    columns = {one.name: str(one.type) for one in tables.columns_of(found)}
    some = tables.query(place, found, f"SELECT * FROM t LIMIT {rows}").to_pylist()  # noqa: S608 - a number
    value = {**_object(info), "columns": columns, "rows_shown": [_plain(row) for row in some]}
    listed = table(["column", "type"], list(columns.items()))
    shown = table(list(columns), [[_short(value) for value in row.values()] for row in some])
    emit(as_json, value, lambda: Lines(_infos([info]), "", listed, "", shown))


@lake_commands.command()
@click.argument("table_name", metavar="TABLE")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many versions.")
@lake_option
@home_option
@json_option
def history(table_name: str, limit: int, name: str | None, as_json: bool) -> None:
    """List a table's versions, newest first."""
    place = table_in(lake_root(settings.load(), bare(name)), table_name)
    found = tables.history_of(place, limit)
    rows = [[str(one.version), _time(one.at), one.operation, "" if one.rows is None else one.rows] for one in found]
    emit(as_json, {"table": table_name, "versions": found}, lambda: table(["version", "at", "operation", "rows"], rows))


@lake_commands.command()
@click.argument("stream")
@lake_option
@home_option
@json_option
@click.pass_context
def check(ctx: click.Context, stream: str, name: str | None, as_json: bool) -> None:
    """Prove that the archive of STREAM holds every raw event, once.

    Compares it with the raw topic, by offset, as far as retention still has that. Exit code 1 where something is
    missing or there twice.
    """
    where, registered = settings.load(), bare(name)
    root, to = lake_root(where, registered), ARCHIVE if registered is None else f"{ARCHIVE}.{registered}"
    table_in(root, f"{archive.FOLDER}/{stream}")
    found = check_archive(where, root, stream, to)
    balanced = all(one.balanced for one in found)
    emit(as_json, {"stream": stream, "balanced": balanced, "partitions": found}, lambda: _checked(found, balanced))
    ctx.exit(0 if balanced else 1)


def _infos(found: list[tables.LakeTableInfo]) -> Any:
    rows = [
        [one.table, str(one.version), _time(one.at), one.rows, one.files, one.small, f"{one.size / 1e6:,.1f} MB"]
        for one in found
    ]
    return table(["table", "version", "written", "rows", "files", "small", "size"], rows)


def _checked(found: list[PartitionArchive], balanced: bool) -> Any:
    columns = ("archived", "missing", "doubled", "older", "outlived", "waiting")
    rows = [[str(p.partition), f"{p.first:,}-{p.next:,}", *(getattr(p, one) for one in columns)] for p in found]
    verdict = "The archive holds every raw event once." if balanced else "The archive DOES NOT ADD UP."
    return Lines(table(["partition", "offsets", *columns], rows), "", verdict)


def _object(info: tables.LakeTableInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in ("table", "version", "at", "rows", "files", "size", "small")}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int | float | bool | None) else str(value) for name, value in row.items()}


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")

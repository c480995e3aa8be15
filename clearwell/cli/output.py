"""How commands speak: one JSON object with --json, else something for people; progress goes to standard error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from clearwell.local.jars import DOWNLOADING
from clearwell.local.jars import Progress as Report
from clearwell.terminal import printable_json, printable_lines

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def json_option(function: AnyFunction) -> AnyFunction:
    """Adds `--json`, which the command receives as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")(function)


def home_option(function: AnyFunction) -> AnyFunction:
    """Adds `--home`, the data folder, which the command then finds through `clearwell.settings`."""

    def choose(context: click.Context, _param: click.Parameter, value: Path | None) -> None:
        if value is not None:
            context.call_on_close(partial(_put_back, os.environ.get("CLEARWELL_HOME")))
            os.environ["CLEARWELL_HOME"] = str(value.absolute())

    return click.option(
        "--home",
        type=click.Path(path_type=Path),
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="The data folder; default: CLEARWELL_HOME, or .clearwell in this folder.",
    )(function)


def _put_back(home: str | None) -> None:
    """A caller that runs a command in its own process keeps its own data folder."""
    if home is None:
        os.environ.pop("CLEARWELL_HOME", None)
    else:
        os.environ["CLEARWELL_HOME"] = home


def dry_run_option(function: AnyFunction) -> AnyFunction:
    """Adds `--dry-run`, which the command receives as `dry_run`."""
    return click.option("--dry-run", is_flag=True, help="Check and say what would change; change nothing.")(function)


def common_options(function: AnyFunction) -> AnyFunction:
    """Adds `--home` and `--json`."""
    return home_option(json_option(function))


def change_options(function: AnyFunction) -> AnyFunction:
    """Adds `--dry-run`, `--home` and `--json`."""
    return dry_run_option(common_options(function))


def emit(as_json: bool, value: Any, render: Callable[[], RenderableType]) -> None:
    """Print the result of a command: `value` as one JSON object, or what `render` makes for people.

    value: a dict, dataclass or msgspec struct. render: called only without --json; a string or anything of rich's.
    """
    if as_json:
        click.echo(printable_json(msgspec.json.encode(value).decode()))
        return
    shown = render()
    if isinstance(shown, str):
        say(shown)
    else:
        console().print(shown)


def say(text: str, err: bool = False) -> None:
    """Print a line, or lines, for people; what is not a plain character is escaped. `err`: to standard error."""
    click.echo(printable_lines(text), err=err)


class SafeConsole(Console):
    """A console that shows any text in whatever it is given (tables, groups) as `printable_lines` does."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text that is no `Text` yet comes by here before it is laid out."""
        return super().render_str(printable_lines(text), **options)


def counted(number: int, one: str) -> str:
    """ "1 event", "1,200 events"."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def console() -> Console:
    """Standard output for people. Into a file or a pipe, lines are as long as they need to be."""
    screen = plain_console()
    return screen if screen.is_terminal else plain_console(width=1_000)


def plain_console(stderr: bool = False, width: int | None = None) -> Console:
    """Text as it is: what a store or a person wrote may have brackets and colons, which rich would take for its own."""
    return SafeConsole(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A plain table; numbers stand on the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return made


@contextmanager
def progress() -> Iterator[Report]:
    """Shows on standard error what the embedded stack is doing; as bars on a terminal, as a few lines elsewhere."""
    screen = plain_console(stderr=True)
    if not screen.is_terminal:
        yield _tenths(screen)
        return
    tasks: dict[str, TaskID] = {}
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[amount]}")
    with Progress(*columns, console=screen, transient=True) as bars:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, amount="")
            bars.update(tasks[what], completed=done, total=total, amount=_amount(what, done, total))

        yield report


def _tenths(screen: Console) -> Report:
    """A line for each tenth of the work, so that a log of a build is not filled with progress."""
    shown: dict[str, int] = {}

    def report(what: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if tenth > shown.get(what, -1):
            shown[what] = tenth
            screen.print(f"{what}: {_amount(what, done, total)}")

    return report


def _amount(what: str, done: int, total: int) -> str:
    if what == DOWNLOADING:
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done} of {total}"

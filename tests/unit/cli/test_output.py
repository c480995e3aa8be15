"""What a person or a store wrote is shown as it is: no command takes a part of it for markup."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Group

import clearwell.cli
from clearwell.cli.main import tell
from clearwell.cli.output import emit, plain_console, table

HOSTILE = ["pip install 'clearwell[lake]'", "[/tmp/x] gone", "[red]", "a:warning:b", "[link=x]y[/link]", "\\[x]", "[0]"]


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_headings_and_lines_are_shown_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    emit(False, {}, lambda: table(["name", f"of {text}"], [[text, f"before {text} after"]]))
    shown = capsys.readouterr().out
    for part in (text, f"before {text} after", f"of {text}"):
        assert part in shown
    plain_console(stderr=True).print(f"doing {text}", soft_wrap=True)
    assert capsys.readouterr().err == f"doing {text}\n"


OBEYED = "\x1b]0;owned\x07\x1b[2Jgone\r\x9b31mred\u202eevil\u2066\u200b\ud800\x7f"
"""Escape sequences of a terminal, and marks that turn the direction of writing; half a character can't be written."""


def plain(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize(
    "render",
    [
        lambda: OBEYED,
        lambda: table([OBEYED], [[OBEYED], [f"{OBEYED} and {OBEYED}"]]),
        lambda: Group(OBEYED, "", table(["name"], [[OBEYED]])),
    ],
)
def test_no_text_reaches_the_terminal_as_more_than_text(render: Any, capsys: pytest.CaptureFixture[str]) -> None:
    emit(False, {}, render)
    shown = capsys.readouterr().out
    assert plain(shown)
    assert "\\x1b]0;owned\\x07" in shown and "\\x9b31mred\\u202eevil\\u2066\\u200b\\ud800\\x7f" in shown


def test_a_terminal_gets_its_colours_and_nothing_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = plain_console(width=200)
    file = io.StringIO()
    monkeypatch.setattr(screen, "_file", file)
    monkeypatch.setattr(screen, "_force_terminal", True)
    screen.print(table([OBEYED], [[OBEYED]]))
    assert not [part for part in file.getvalue().split("\x1b")[1:] if not re.match(r"\[[0-9;]*m", part)]


def test_json_says_the_same_and_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"event": OBEYED.replace("\ud800", "\U000e0001"), "é": "日本"}
    emit(True, value, str)
    shown = capsys.readouterr().out
    assert plain(shown)
    assert json.loads(shown) == value
    assert "日本" in shown


def test_errors_are_shown_like_everything_else(capsys: pytest.CaptureFixture[str]) -> None:
    tell([], f"no {OBEYED}", 2)
    assert plain(capsys.readouterr().err)


def test_commands_print_by_the_one_door() -> None:
    """What may hold data goes through `emit`, `say` or a console of ours; `click.echo` is for our own fixed texts."""
    folder = Path(clearwell.cli.__file__).parent
    allowed = {"output.py": 2, "main.py": 2, "contract/commands.py": 1}
    used = {
        str(file.relative_to(folder)): len(re.findall(r"click\.(?:secho|echo)\(|(?<![\w.])print\(", file.read_text()))
        for file in folder.rglob("*.py")
    }
    assert {name: count for name, count in used.items() if count} == allowed

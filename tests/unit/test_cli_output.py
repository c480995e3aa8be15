"""What a person or a store wrote is shown as it is: no command takes a part of it for markup."""

from __future__ import annotations

import pytest

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

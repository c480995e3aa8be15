"""Codes and hints of errors: each code is in the reference, each hint has words on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from clearwell.cli.hints import WORDING, sentence
from clearwell.errors import ClearwellError, ConfigError, Hint

ROOT = Path(__file__).parents[2]


def calls() -> Iterator[ast.Call]:
    for folder in ("clearwell", "connectors", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def test_every_code_is_in_the_reference_and_no_other() -> None:
    def of_classes(base: type[ClearwellError]) -> Iterator[str]:
        yield base.code
        for kind in base.__subclasses__():
            yield from of_classes(kind)

    raised = {
        keyword.value.value
        for call in calls()
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE)
    assert listed == sorted(raised | set(of_classes(ClearwellError)))


def test_every_hint_has_words_and_all_words_are_of_hints() -> None:
    acts = {
        call.args[0].value
        for call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "Hint" and isinstance(call.args[0], ast.Constant)
    }
    assert acts == WORDING.keys()


def test_a_hint_follows_the_sentence() -> None:
    error = ConfigError("It is paused.", hint=Hint("connectors.resume", "flights"))
    assert sentence(error) == "It is paused. `clearwell connector resume flights` reads on."
    assert sentence(ConfigError("It is paused.")) == "It is paused."

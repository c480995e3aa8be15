"""What people see of an event, which letters a command means, and in what portions they are sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clearwell.cli.dead.filter import wanted
from clearwell.dead_letters.originals import GAP, spans
from clearwell.dead_letters.preview import DROPPED, KEPT, REJECTED, PipelineJudge, visible
from clearwell.dead_letters.replay import MOST_BYTES, MOST_LETTERS, portions
from clearwell.dead_letters.shape import shape_of
from clearwell.errors import ConfigError
from clearwell.privacy.memory import MemoryKeyring
from clearwell.registry.dead_letters import Letter, LetterState
from tests.unit.contract_text import contract

NOW = datetime(2026, 11, 27, tzinfo=UTC)
LETTER = Letter(
    *(1, "visits", "", "R" * 22, 0, 5, True, "no", "decode", "", 1, 10, True, False, "D" * 22, 0, 1),
    *(None, None, None, NOW, NOW, NOW, LetterState.WAITING, 0, 3, NOW),
)
NOTHING: dict[str, Any] = dict.fromkeys(("stream", "reason", "step", "destination", "since", "until"))
NOTHING |= {"rejected": False, "states": ()}


@pytest.mark.parametrize(
    ("event", "form"),
    [(b"", "no JSON"), (b"\xff", "no JSON"), (b"[" * 100_000, "no JSON"), (b"[1,2]", "a list of 2"), (b"null", "null")],
)
def test_the_form_of_what_is_no_object(event: bytes, form: str) -> None:
    shape = shape_of(event, contract().fields)
    assert (shape.form, shape.size, shape.parts) == (form, len(event), ())


def test_a_shape_holds_no_value_and_no_foreign_name() -> None:
    fields = contract().fields
    event = b'{"jane@example.com":"secret","%s":"secret"}' % fields[0].name.encode()
    shape = shape_of(event, fields)
    assert "secret" not in repr(shape) and "jane" not in repr(shape)
    assert shape.undeclared == 1
    assert shape.parts[0].found == "a text of 6 characters" and {one.found for one in shape.parts[1:]} == {"missing"}


def test_portions_are_bounded_in_number_and_size() -> None:
    small = [replace(LETTER, id=number) for number in range(2 * MOST_LETTERS + 1)]
    assert [len(one) for one in portions(small)] == [MOST_LETTERS, MOST_LETTERS, 1]
    large = [replace(LETTER, id=number, size=MOST_BYTES) for number in range(3)]
    assert [len(one) for one in portions(large)] == [1, 1, 1]
    assert list(portions([])) == []
    assert [one for part in portions(small) for one in part] == small


def test_offsets_are_read_in_spans() -> None:
    assert list(spans([])) == []
    assert list(spans([7])) == [(7, 8)]
    assert list(spans([9, 3, GAP])) == [(3, GAP + 1)]
    assert list(spans([0, GAP + 1, GAP + 2 + GAP + 1])) == [(0, GAP + 2), (2 * GAP + 3, 2 * GAP + 4)]


def test_an_event_fails_in_one_place() -> None:
    assert wanted(NOTHING | {"rejected": True}).destination == ""
    with pytest.raises(ConfigError, match="exclude each other"):
        wanted(NOTHING | {"rejected": True, "destination": "mongo"})


SECRETIVE = contract(
    "steps:\n  - drop_when:\n      name: none\n      when: {field: n, eq: 0}\n",
    n="{type: int32}\n  who: {type: string, privacy: encrypt}",
)


@pytest.mark.parametrize(
    ("n", "verdict"), [(b"1", KEPT), (b"0", DROPPED), (b'"x"', REJECTED), (b"1," + b" " * 1_048_577, REJECTED)]
)
def test_the_pipeline_itself_judges(n: bytes, verdict: str) -> None:
    judge = PipelineJudge(SECRETIVE, MemoryKeyring())
    event = b'{"id":"a","at":"2026-01-01T00:00:00Z","who":"Jane","n":%s}' % n
    outcome = judge.outcome(LETTER, event, event)
    assert outcome.verdict == verdict
    assert "Jane" not in repr(outcome)
    if outcome.clean is not None:
        shown = visible(judge.schema, outcome.clean)
        assert shown["who"] == "(encrypt)" and shown["n"] == 1

"""What people see of an event, which dead letters a command means, and in what portions they are sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clearwell.cli.dead_letters.filter import filter_of
from clearwell.dead_letters.originals import GAP, spans
from clearwell.dead_letters.preview import DROPPED, KEPT, REJECTED, PipelineVerifier, visible
from clearwell.dead_letters.replay import MOST_BYTES, MOST_DEAD_LETTERS, portions
from clearwell.dead_letters.shape import shape_of
from clearwell.errors import ConfigError
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.registry.dead_letters import DeadLetterState, RegisteredDeadLetter
from clearwell.testing.contracts import minimal_contract as contract

NOW = datetime(2026, 11, 27, tzinfo=UTC)
LETTER = RegisteredDeadLetter(
    **dict.fromkeys(("rejected_at", "first_seen", "last_seen", "changed_at"), NOW),
    id=1,
    stream="visits",
    version=1,
    raw_partition=0,
    raw_offset=5,
    dead_offset=1,
    size=10,
    origin_topic_id="R" * 22,
    dead_topic_id="D" * 22,
    reason="no",
    step="decode",
    field="",
    ours=True,
    has_event=True,
    is_fixed=False,
    attempts=0,
    most_attempts=3,
    state=DeadLetterState.WAITING,
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
    small = [replace(LETTER, id=number) for number in range(2 * MOST_DEAD_LETTERS + 1)]
    assert [len(one) for one in portions(small)] == [MOST_DEAD_LETTERS, MOST_DEAD_LETTERS, 1]
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
    assert filter_of(NOTHING | {"rejected": True}).destination == ""
    with pytest.raises(ConfigError, match="exclude each other"):
        filter_of(NOTHING | {"rejected": True, "destination": "mongo"})


SECRETIVE = contract(
    "steps:\n  - drop_when:\n      name: none\n      when: {field: n, eq: 0}\n",
    n="{type: int32}\n  who: {type: string, privacy: encrypt}",
)


@pytest.mark.parametrize(
    ("n", "expected"), [(b"1", KEPT), (b"0", DROPPED), (b'"x"', REJECTED), (b"1," + b" " * 1_048_577, REJECTED)]
)
def test_the_pipeline_itself_tells_the_outcome(n: bytes, expected: str) -> None:
    verifier = PipelineVerifier(SECRETIVE, MemoryKeyring())
    event = b'{"id":"a","at":"2026-01-01T00:00:00Z","who":"Jane","n":%s}' % n
    preview = verifier.verify(LETTER, event, event)
    assert preview.outcome == expected
    assert "Jane" not in repr(preview)
    if preview.clean is not None:
        shown = visible(verifier.schema, preview.clean)
        assert shown["who"] == "(encrypt)" and shown["n"] == 1

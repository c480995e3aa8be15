"""What a tap writes becomes batches that end at STATE messages, in bounded memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clearwell.errors import ConfigError
from connectors.singer import messages as singer_messages
from connectors.singer.messages import Gathering, SingerPosition

START = SingerPosition(state={"at": 0})


def gathering(most: int = 100) -> Gathering:
    """Of a run that began at START."""
    return Gathering("events", "id", most, START)


def record(number: int, padding: int = 0) -> bytes:
    """A RECORD message."""
    return json.dumps(
        {"type": "RECORD", "stream": "events", "record": {"id": f"k{number}", "pad": "x" * padding}}
    ).encode()


def state(value: Any) -> bytes:
    """A STATE message."""
    return json.dumps({"type": "STATE", "value": value}).encode()


def ids(batch: tuple[list[Any], Any]) -> list[str]:
    """The ids of a batch."""
    return [event.id for event in batch[0]]


def test_a_batch_goes_as_far_as_the_last_state() -> None:
    made = gathering(most=5)
    for line in (record(0), record(1), state({"at": 2}), record(2), record(3), state({"at": 4}), record(4)):
        assert not made.add(line)
    assert made.add(record(5)), "more than a batch holds"
    full = made.take()
    assert (ids(full), full[1]) == (["k0", "k1", "k2", "k3"], SingerPosition(state={"at": 4}))
    (rest,) = made.take_rest()
    assert (ids(rest), rest[1]) == (["k4", "k5"], SingerPosition(state={"at": 4}))
    assert made.take_rest() == []


def test_records_that_no_state_covers_come_with_the_position_before_them() -> None:
    made = gathering(most=2)
    assert [made.add(record(number)) for number in range(3)] == [False, False, True]
    full = made.take()
    assert (ids(full), full[1]) == (["k0", "k1"], START)
    made.add(state(None))
    (rest,) = made.take_rest()
    assert (ids(rest), rest[1]) == (["k2"], SingerPosition(state={}))


def test_after_a_failure_only_what_a_state_covers_is_taken() -> None:
    made = gathering()
    made.add(state({"at": 0}))
    made.add(record(0))
    assert made.take_to_state() == [], "a STATE that says what was known before is no progress"
    made.add(state({"at": 1}))
    made.add(record(1))
    (batch,) = made.take_to_state()
    assert (ids(batch), batch[1]) == (["k0"], SingerPosition(state={"at": 1}))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singer_messages, "BATCH_BYTES", 10_000)
    made = gathering()
    sizes = []
    for number in range(50):
        made.add(state({"at": number}))
        if made.add(record(number, padding=3_000)):
            sizes.append(len(made.take()[0]))
    assert sizes == [3] * 16


@pytest.mark.parametrize("value", [[], 1, "text"])
def test_a_state_that_is_no_object_is_told(value: Any) -> None:
    made = gathering()
    made.add(record(0))
    made.add(state(value))
    with pytest.raises(ConfigError, match="is no object"):
        made.take()

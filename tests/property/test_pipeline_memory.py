"""What steps remember is a function of the raw log: any split into batches and any restart gives the same outcomes."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clearwell.contract.load import parse
from clearwell.errors import Fatal
from clearwell.pipeline import Outcomes, RawBatch
from clearwell.pipeline.compiler import Pipeline, compile
from clearwell.pipeline.state import PipelineState
from clearwell.privacy.memory_keyring import MemoryKeyring

TEXT = """
stream: things
version: 1
owner: team@example.com
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  other: {type: int32}
  at: {type: timestamp, required: true}
  n: {type: int32}
  m: {type: int32}
  who: {type: string, privacy: pseudonym}
steps:
  - fill: {field: n, previous: 4, by: [id]}
  - deduplicate: {by: id, window: 5}
  - bounds: {field: n, min: 0, max: 5}
  - drop_when: {when: {field: m, eq: 3}}
  - fill: {field: m, previous: 3, by: [other, id]}
  - require: {fields: [m]}
  - deduplicate: {by: other, window: 3}
"""
PIPELINE: Pipeline = compile(parse(TEXT, "things/v1.yaml"), MemoryKeyring())

EVENTS = st.fixed_dictionaries(
    {"id": st.sampled_from("abc")},
    optional={
        "other": st.sampled_from([None, 1, 2, 3, 4]),
        "n": st.sampled_from([None, 1, 2, 9]),
        "m": st.sampled_from([None, 1, 3]),
        "who": st.sampled_from([None, "x"]),
    },
).map(lambda one: msgspec.json.encode({"at": "2013-01-01T10:00:00Z", **one}))
LOGS = st.lists(st.tuples(st.integers(1, 4), st.one_of(EVENTS, EVENTS, EVENTS, st.just(b"{"), st.none())), max_size=40)

SAMPLES = [msgspec.json.encode({"id": key, "at": "2013-01-01T10:00:00Z"}) for key in "abcdef"]

Log = list[tuple[int, bytes | None]]


def with_offsets(steps: Log) -> Log:
    """A log whose offsets have holes."""
    at, log = 0, []
    for step, value in steps:
        at += step
        log.append((at, value))
    return log


def run(log: Log, state: PipelineState) -> Outcomes:
    return PIPELINE.process(RawBatch("t", 0, [at for at, _ in log], [value for _, value in log]), state)


def joined(parts: list[Outcomes]) -> Outcomes:
    whole = Outcomes()
    for part in parts:
        whole.offsets += part.offsets
        whole.keys += part.keys
        whole.values += part.values
        whole.dropped += part.dropped
        whole.rejected += part.rejected
    return whole


@settings(max_examples=300, deadline=None)
@given(steps=LOGS, cuts=st.lists(st.integers(0, 40), max_size=12))
def test_any_split_into_batches_gives_the_same_outcomes(steps: Log, cuts: list[int]) -> None:
    log = with_offsets(steps)
    whole = run(log, PIPELINE.new_state())
    state = PIPELINE.new_state()
    bounds = [0, *sorted(cut for cut in cuts if cut < len(log)), len(log)]
    assert joined([run(log[start:end], state) for start, end in pairwise(bounds)]) == whole
    ended = [*whole.offsets, *(at for at, _ in whole.dropped), *(one.offset for one in whole.rejected)]
    assert sorted(ended) == [at for at, _ in log]
    assert whole.offsets == sorted(whole.offsets)


@settings(max_examples=300, deadline=None)
@given(steps=LOGS, restart=st.integers(0, 40), size=st.integers(1, 7))
@example(steps=[(1, None)], restart=0, size=1)
def test_a_restart_with_the_lookback_gives_the_same_outcomes(steps: Log, restart: int, size: int) -> None:
    log = with_offsets(steps)
    whole = run(log, PIPELINE.new_state())
    first = log[min(restart, len(log) - 1)][0] if log else 0
    state = PIPELINE.new_state()
    tail = [(at, value) for at, value in log if first - PIPELINE.lookback <= at < first]
    for start in range(0, len(tail), size):
        run(tail[start : start + size], state)
    again = run([(at, value) for at, value in log if at >= first], state)
    assert again.offsets == [at for at in whole.offsets if at >= first]
    assert again.values == whole.values[len(whole.values) - len(again.values) :]
    assert again.dropped == [one for one in whole.dropped if one[0] >= first]
    assert again.rejected == [one for one in whole.rejected if one.offset >= first]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_deduplicate_is_what_its_page_says(size: int) -> None:
    """Against the definition: a repeat within the window of the last time it was seen. Many logs, fixed seed."""
    contract = parse(TEXT[: TEXT.index("steps:")] + "steps: [{deduplicate: {by: id, window: 5}}]", "things/v1.yaml")
    pipeline = compile(contract, MemoryKeyring())
    chance = random.Random(size)
    for _ in range(200):
        log = with_offsets([(chance.randint(1, 3), chance.choice(SAMPLES)) for _ in range(40)])
        kept, seen = [], {}
        for at, value in log:
            if value not in seen or at - seen[value] > 5:
                kept.append(at)
            seen[value] = at
        state, found = pipeline.new_state(), []
        for start in range(0, len(log), size):
            part = log[start : start + size]
            batch = RawBatch("t", 0, [at for at, _ in part], [value for _, value in part])
            found += pipeline.process(batch, state).offsets
        assert found == kept


def test_lookbacks_of_a_chain_add_up() -> None:
    assert PIPELINE.lookback == 4 + 5 + 3 + 3


def test_memory_is_bounded_by_windows() -> None:
    state = PIPELINE.new_state()
    for at in range(0, 5000, 5):
        event = {"id": f"e{at}", "at": "2013-01-01T10:00:00Z", "n": 1, "m": 1}
        run([(at + inside, msgspec.json.encode(event | {"id": f"e{at + inside}"})) for inside in range(5)], state)
    seen = state.memories[1]
    assert len(seen.now) + len(seen.before) <= 2 * 5 + 2 * 5  # type: ignore[attr-defined]


def test_a_batch_that_goes_back_is_refused_and_a_new_topic_starts_afresh() -> None:
    state = PIPELINE.new_state()
    event = msgspec.json.encode({"id": "a", "at": "2013-01-01T10:00:00Z", "n": 1, "m": 1})
    assert run([(4, event)], state).offsets == [4]
    with pytest.raises(Fatal, match="went back from offset 5 to 4"):
        run([(4, event)], state)
    recreated = PIPELINE.process(RawBatch("another", 0, [0], [event]), state)
    assert recreated.offsets == [0]

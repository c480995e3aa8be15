"""A model's loop ends when it should, and its place in the group goes to whoever follows next."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.names import model_group
from clearwell.subscriptions.subscription import PartitionLost
from tests.support.following import Stream, every, ids
from tests.support.processes import killed_at_end

LEAVER = Path(__file__).with_name("leaver.py")
ENDS = {  # way, and a signal once it has its first batch → exit code
    "raises": 1,
    "raises_beside_a_name": 1,
    "raises_in_with": 1,
    "breaks": 0,
    "exits": 3,
    "waits+SIGINT": -signal.SIGINT,
    "waits_for_more+SIGINT": -signal.SIGINT,
    "waits+SIGTERM": -signal.SIGTERM,
    "waits_for_more+SIGTERM": -signal.SIGTERM,
    "in_a_daemon_thread": 0,
    "in_a_generator": 0,
    "in_a_coroutine": 0,
    "forks": 0,
}
SECONDS = 5.0
"""From the first batch to the end of the process; alone it takes a tenth of that, here all run side by side."""


@pytest.mark.slow
def test_a_process_ends_and_leaves_its_group_whatever_way_the_loop_is_left(stream: Stream) -> None:
    stream.write(0, range(10))
    names = {way: f"{stream.name}-{number}" for number, way in enumerate(ENDS)}
    with ExitStack() as running:
        processes = {
            way: running.enter_context(
                killed_at_end(
                    [sys.executable, str(LEAVER), stream.bootstrap, stream.name, names[way], way],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
            )
            for way in ENDS
        }  # fmt: skip
        for way, process in processes.items():
            assert process.stdout is not None
            if way == "forks":
                said = [process.stdout.readline() for _ in range(2)]
                assert said == ["ConfigError\n", "child 0, 2 partitions\n"]
            assert process.stdout.readline() == "got\n", way
            if way != "in_a_coroutine":
                _ends(way, process)
        _ends("in_a_coroutine", processes["in_a_coroutine"], 12.0)
    left = {way for way in ENDS if "SIGTERM" not in way}  # by its default action: Kafka notices after its session
    assert {way for way in left if _members(stream, names[way])} == set()


def _ends(way: str, process: subprocess.Popen[str], seconds: float = SECONDS) -> None:
    name = way.partition("+")[2]
    if name:
        process.send_signal(signal.Signals[name])
    try:
        assert process.wait(seconds) == ENDS[way], way
    except subprocess.TimeoutExpired:
        pytest.fail(f"{way} did not end")


def _members(stream: Stream, name: str) -> int:
    group = model_group(name)
    return len(admin.ask(stream.bootstrap, "", lambda client: client.describe_groups([group]))[group]["members"])


def test_a_cell_that_is_run_again_works_at_once_although_the_first_batch_is_still_there(stream: Stream) -> None:
    stream.write(0, range(10))
    for batch in stream.follow("model"):  # noqa: B007
        break
    began = time.monotonic()
    assert next(stream.follow("model", idle=30.0)).raw_offsets == batch.raw_offsets
    assert time.monotonic() - began < 8  # below the session timeout, after which Kafka would take it away


def test_one_that_is_still_referenced_gives_way_to_the_next_of_its_thread(stream: Stream) -> None:
    stream.write(0, range(10))
    first = stream.follow("model")
    batch = next(first)
    second = stream.follow("model", idle=30.0)
    began = time.monotonic()
    assert next(second).raw_offsets == batch.raw_offsets
    assert time.monotonic() - began < 8
    with pytest.raises(ConfigError, match="ended when its thread began to follow another one"):
        next(first)
    with pytest.raises(PartitionLost):
        batch.commit()
    other = stream.follow("another", idle=30.0)  # of another name: both go on
    assert len(next(other)) == 10
    stream.write(0, range(10, 20))
    assert next(second).raw_offsets == list(range(10, 20))
    second.close()
    other.close()


def test_a_batch_is_committed_after_the_loop_unless_another_has_followed(stream: Stream) -> None:
    stream.write(0, range(10))
    for batch in stream.follow("model"):  # noqa: B007
        break
    batch.commit()
    batch.commit()  # nothing more to do
    stream.write(0, range(10, 20))
    for late in stream.follow("model"):  # noqa: B007
        break
    with stream.follow("model") as events:
        assert ids(events) == every((0, range(10, 20)))
    with pytest.raises(PartitionLost, match="taken from this member"):
        late.commit()
    with stream.follow("model") as events:
        assert ids(events) == []

"""Kafka forgets a group that nobody was in for a week: the registry remembers, so that a model learns nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing

import pytest

from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.names import model_group
from clearwell.registry import Registry
from clearwell.settings import Settings
from clearwell.subscriptions.memory import Memory
from tests.support.collecting import until
from tests.support.following import Stream, clean_stream, every, ids

Unique = Callable[[str], str]


def forget(bootstrap: str, group: str, topic: str) -> None:
    """As Kafka does after offsets.retention.minutes, at once: it takes it for a group without members alone."""

    def gone() -> bool:
        admin.ask(bootstrap, "deleting a group", lambda client: client.delete_groups([group]))
        return not committed(bootstrap, group, topic)

    assert committed(bootstrap, group, topic), "there is nothing to forget"
    until(gone)


def follow(settings: Settings, stream: Stream, name: str) -> list[str]:
    """All that a registered model gets until it idles."""
    with closing(Memory(Registry(settings.postgres), name)) as memory, stream.follow(name, memory=memory) as events:
        return sorted(ids(events))


@pytest.mark.slow
def test_a_model_whose_group_is_gone_goes_on_where_it_stood(
    stack: Settings, unique: Unique, caplog: pytest.LogCaptureFixture
) -> None:
    name = unique("model")
    with clean_stream(stack.kafka, unique("forgotten")) as stream:
        stream.write(0, range(20))
        stream.write(1, range(7))
        assert follow(stack, stream, name) == every((0, range(20)), (1, range(7)))
        forget(stack.kafka, model_group(name), stream.topic)
        stream.write(0, range(15, 25))  # five of them again, as after a crash of the cleaner
        with caplog.at_level(logging.WARNING):
            assert follow(stack, stream, name) == every((0, range(20, 25)))
        assert f"Kafka has forgotten where model.{name} stood in partition 0" in caplog.text
        forget(stack.kafka, model_group(name), stream.topic)
        assert follow(stack, stream, name) == [], "what it committed since is remembered too"

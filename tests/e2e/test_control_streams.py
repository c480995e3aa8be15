"""The control plane of streams without a face: what they hold, and more partitions, planned and applied once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from clearwell.control.platform import Actor
from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.stream_changes import add_partitions, plan_partitions
from clearwell.control.stream_states import StreamState
from clearwell.control.streams import list_streams, show_stream
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin, groups
from clearwell.kafka.names import cleaner_group, raw_topic
from clearwell.registry import Registry, audit, connectors
from tests.support.platform import PARTITIONS, Platform
from tests.support.registered_jobs import publish, withdraw

ANNA = Actor("anna", "api", "more load")
BERT = Actor("bert", "test")


@pytest.fixture
def control(platform: Platform) -> Iterator[ControlPlatform]:
    with ControlPlatform(platform.settings) as opened:
        yield opened
        withdraw(opened, platform.stream)


def test_a_stream_is_listed_and_shown_with_its_readers(platform: Platform, control: ControlPlatform) -> None:
    jobs = publish(control, platform)
    (summary,) = [row for row in list_streams(control) if row.name == platform.stream]
    assert (summary.versions, summary.partitions, summary.jobs) == ([1], PARTITIONS, len(jobs))
    assert (summary.owner, summary.state) == (platform.contract.owner, StreamState.NO_WORKER)
    platform.put([b"{}"] * 7, partition=0)
    cleaner, raw = cleaner_group(platform.stream, 1), raw_topic(platform.stream)
    assert groups.commit(platform.settings.kafka, cleaner, raw, {0: (4, "")})
    details = show_stream(control, platform.stream)
    assert [(row.partitions, row.offsets) for row in details.topics if row.topic == raw] == [(PARTITIONS, 7)]
    assert [(row.read, row.lag) for row in details.readers if row.group == cleaner] == [(4, 3)]


def test_a_stream_that_only_has_a_connector_is_one_that_is_not_cleaned(
    control: ControlPlatform, registry: Registry, unique: Callable[[str], str]
) -> None:
    stream = unique("plans")
    with registry.session() as session:
        connectors.add(session, stream, "file", stream, {})
    (summary,) = [row for row in list_streams(control) if row.name == stream]
    assert (summary.state, summary.versions, summary.owner) == (StreamState.NOT_CLEANED, [], "?")
    details = show_stream(control, stream)
    assert (details.partitions, details.topics, details.readers) == (None, [], [])
    with pytest.raises(ConfigError) as refused:
        plan_partitions(control, stream, 8)
    assert (refused.value.code, refused.value.hint) == ("no_topics", Hint("streams.make_topics", stream))
    with pytest.raises(ConfigError, match=f'Did you mean "{stream}"') as unknown:
        show_stream(control, f"{stream}x")
    assert (unknown.value.code, unknown.value.hint) == ("no_such_stream", Hint("streams.list"))


def test_of_two_who_add_partitions_at_once_one_wins_and_the_other_is_told(
    platform: Platform, control: ControlPlatform
) -> None:
    plans = [(actor, plan_partitions(control, platform.stream, PARTITIONS + 1)) for actor in (ANNA, BERT)]
    together = Barrier(len(plans))

    def act(actor: Actor, apply: Callable[[], object]) -> str:
        together.wait()
        try:
            apply()
        except ConfigError as error:
            assert f"raw.{platform.stream} has {PARTITIONS + 1}" in str(error)
            return error.code
        return actor.name

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda both: act(both[0], lambda: add_partitions(control, *both)), plans))
    (winner,) = (result for result in results if result != "plan_is_old")
    assert len(results) == 2 and admin.partition_count(control.settings.kafka, raw_topic(platform.stream)) == 5
    with control.looking() as session:
        (entry,) = audit.entries(session, f"stream/{platform.stream}")
    assert (entry.who, entry.action) == (winner, "widen")
    with pytest.raises(ConfigError, match="Kafka takes none away") as refused:
        plan_partitions(control, platform.stream, PARTITIONS)
    assert refused.value.code == "fewer_partitions"

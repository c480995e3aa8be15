"""The control plane of streams without a face: what they hold, and more partitions, planned and applied once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from clearwell.control.platform import Actor
from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.stream_changes import add_partitions, plan_partitions
from clearwell.control.streams import list_streams, show_stream
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin, groups
from clearwell.kafka.names import cleaner_group, raw_topic
from clearwell.registry import audit
from clearwell.settings import Settings
from tests.support.platform import PARTITIONS, Platform

ANNA = Actor("anna", "api", "more load")
BERT = Actor("bert", "test")


@pytest.fixture
def control(platform: Platform) -> Iterator[ControlPlatform]:
    with ControlPlatform(platform.settings) as opened:
        yield opened


def test_a_stream_is_listed_and_shown_with_its_readers(platform: Platform, control: ControlPlatform) -> None:
    (summary,) = [row for row in list_streams(control) if row.name == platform.stream]
    assert (summary.versions, summary.partitions) == ([1], PARTITIONS)
    platform.put([b"{}"] * 7, partition=0)
    cleaner, raw = cleaner_group(platform.stream, 1), raw_topic(platform.stream)
    assert groups.commit(platform.settings.kafka, cleaner, raw, {0: (4, "")})
    details = show_stream(control, platform.stream)
    assert [(row.partitions, row.offsets) for row in details.topics if row.topic == raw] == [(PARTITIONS, 7)]
    assert [(row.read, row.lag) for row in details.readers if row.group == cleaner] == [(4, 3)]


def test_a_stream_without_topics_is_listed_and_shown_too(stack: Settings, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    text = (stack.schemas / "flights" / "v1.yaml").read_text().replace("stream: flights", "stream: plans")
    (tmp_path / "plans" / "v1.yaml").write_text(text)
    settings = replace(stack, schemas=tmp_path)
    with ControlPlatform(settings) as control:
        (summary,) = list_streams(control)
        details = show_stream(control, "plans")
        assert (summary.partitions, details.topics, details.readers) == (None, [], [])
        with pytest.raises(ConfigError) as refused:
            plan_partitions(control, "plans", 8)
    assert (refused.value.code, refused.value.hint) == ("no_topics", Hint("streams.make_topics", "plans"))


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

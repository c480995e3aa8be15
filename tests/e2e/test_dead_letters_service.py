"""The service that copies dead letters into Postgres: each once, whatever is killed, and whatever the headers say."""

from __future__ import annotations

import random
import time

import pytest

from clearwell.dead_letters.verify import NOT_OURS
from clearwell.kafka import names
from clearwell.kafka.message_format import Header
from clearwell.records import dead_letter
from clearwell.records.dead_letter import DELIVER, DeadLetter
from clearwell.registry import migrate
from clearwell.settings import Settings
from tests.support.dead_letters import BROKEN, arrived, dead_records, letters
from tests.support.platform import Platform, numbered, until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def tables(stack: Settings) -> None:
    """The registry is set up."""
    migrate(stack.postgres)


def test_letters_are_copied_once_though_the_service_is_killed_again_and_again(platform: Platform) -> None:
    dice = random.Random(7)
    bad = [change(value) for value in numbered(500) for change in BROKEN.values()]
    platform.put(bad)
    platform.start("cleaner")
    for _ in range(4):
        service = platform.start("dead_letters", CLEARWELL_WORKER="w")
        until(lambda: "starts at offset" in service.text() or letters(platform))  # noqa: B023 - called at once
        time.sleep(dice.uniform(0, 0.4))
        service.kill()
    platform.start("dead_letters", CLEARWELL_WORKER="w")
    found = arrived(platform, len(bad))
    assert dead_records(platform) >= len(bad)
    assert len({(one.origin_topic_id, one.raw_partition, one.raw_offset) for one in found}) == len(bad)
    assert {one.reason for one in found} == set(BROKEN)
    assert all(one.ours and one.has_event and one.state == "waiting" and one.attempts == 0 for one in found)


def test_records_of_others_land_as_what_they_are_and_control_nothing(platform: Platform) -> None:
    template = next(iter(numbered(1)))
    platform.put([b"{broken " + template], partition=2)
    platform.start("cleaner")
    until(lambda: dead_records(platform) == 1)
    raw_id = platform.ids[f"raw.{platform.stream}"]
    good: list[Header] = [
        (names.DEAD_REASON, b"the event is not JSON"),
        (names.DEAD_STEP, b"decode"),
        (names.DEAD_FIELD, b""),
        (names.CE_DATASCHEMA, f"{platform.stream}/v1".encode()),
        (names.RAW_TOPIC_ID, raw_id.encode()),
        (names.DEAD_PARTITION, b"2"),
        (names.RAW_OFFSET, b"0"),
    ]
    hostile = [
        _with(good, names.RAW_TOPIC_ID, b"A" * 22),
        _with(good, names.DEAD_PARTITION, b"-1"),
        _with(good, names.RAW_OFFSET, b"9" * 40),
        _with(good, names.RAW_OFFSET, b"9" * 5_000),
        _with(good, names.DEAD_REASON, b"\xff\xfe"),
        _with(good, names.DEAD_REASON, b"a\x00b"),
        _with(good, names.DEAD_REASON, b"x" * 100_000),
        _with(good, names.CE_DATASCHEMA, b"flights"),
        [*good, (names.DEAD_DESTINATION, b"postgres")],
        [*good, (names.DEAD_DESTINATION, b"postgres"), (names.CLEAN_TOPIC_ID, b"B" * 22), (names.CLEAN_OFFSET, b"3")],
        good,  # all is right but the seal
        good[1:],
        [],
    ]
    platform.append(names.dead_topic(platform.stream), ((b"cw1.local-1.AAAA", headers, 2) for headers in hostile))
    platform.append(names.dead_topic(platform.stream), [(None, good, 2), (b"\xff", good, 1)])
    service = platform.start("dead_letters")
    found = arrived(platform, 1 + len(hostile) + 2)
    ours = [one for one in found if one.ours]
    assert [(one.origin_topic_id, one.raw_partition, one.raw_offset) for one in ours] == [(raw_id, 2, 0)]
    assert ours[0].destination == "" and ours[0].reason == "the event is not JSON"
    rest = [one for one in found if not one.ours]
    assert {(one.reason, str(one.state), one.has_event, one.destination) for one in rest} == {
        (NOT_OURS, "parked", False, "")
    }
    assert "are no dead letters of ours" in service.text()
    platform.put([b"[1]"], partition=2)  # it goes on
    arrived(platform, len(found) + 1)


def test_a_letter_that_was_moved_to_another_place_is_not_ours(platform: Platform) -> None:
    writer = dead_letter.DeadLetterWriter(platform.contract, platform.keyring)
    letter = DeadLetter(
        stream=platform.stream,
        version=1,
        destination="mongo",
        reason="too large",
        step=DELIVER,
        origin_topic_id="R" * 22,
        raw_partition=1,
        raw_offset=5,
        field="",
        clean_topic_id="C" * 22,
        clean_offset=9,
    )
    record = writer.refused(letter, b"{}")
    headers: list[Header] = [
        (names.DEAD_REASON, b"too large"),
        (names.DEAD_STEP, b"deliver"),
        (names.DEAD_FIELD, b""),
        (names.CE_DATASCHEMA, f"{platform.stream}/v1".encode()),
        (names.RAW_TOPIC_ID, b"R" * 22),
        (names.DEAD_PARTITION, b"1"),
        (names.RAW_OFFSET, b"5"),
        (names.DEAD_DESTINATION, b"mongo"),
        (names.CLEAN_TOPIC_ID, b"C" * 22),
        (names.CLEAN_OFFSET, b"9"),
    ]
    moved = [_with(headers, names.DEAD_DESTINATION, b"postgres"), _with(headers, names.RAW_OFFSET, b"6"), headers[:7]]
    platform.append(names.dead_topic(platform.stream), ((record.value, one, 1) for one in [headers, *moved]))
    platform.start("dead_letters")
    found = arrived(platform, 4)
    assert [(one.ours, one.destination) for one in found] == [(True, "mongo"), *[(False, "")] * 3]


def _with(headers: list[Header], name: str, value: bytes) -> list[Header]:
    return [(one, value if one == name else was) for one, was in headers]

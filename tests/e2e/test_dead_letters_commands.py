"""Dead letters by their commands, with a real cleaner and copier: look, fix, preview, replay, discard, park, reopen."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.names import dead_topic, raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.kafka.range_reader import reader
from clearwell.reconciliation import Balance
from clearwell.registry import Registry, audit, migrate
from clearwell.registry.models import DeadLetterRow
from clearwell.settings import Settings
from tests.support.dead_letters import BROKEN, Commands, arrived, dead_records, letters, states
from tests.support.platform import Platform, numbered, until

pytestmark = pytest.mark.slow

WRONG_ORIGIN = "origin is not one of the allowed values"


@pytest.fixture(autouse=True)
def tables(stack: Settings) -> None:
    """The registry is set up."""
    migrate(stack.postgres)


@pytest.fixture
def dead(platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """The commands, with cleaner and copier at work."""
    platform.start("cleaner")
    platform.start("dead_letters")
    return Commands(platform, monkeypatch, capsys)


def spoiled(count: int, reason: str = WRONG_ORIGIN, start: int = 0) -> list[bytes]:
    """Flights that are rejected for `reason`."""
    return [BROKEN[reason](one) for one in numbered(count, start)]


def accounted(platform: Platform, events: int) -> Balance:
    """The accounts, once the cleaner has committed `events` raw events."""
    found: Balance = until(lambda: (taken := platform.balance()).total("raw") == events and taken, every=0.2)
    return found


def trail(platform: Platform, target: str) -> list[str]:
    """What the audit says was done, newest first."""
    registry = Registry(platform.settings.postgres)
    try:
        with registry.session() as session:
            return [one.action for one in audit.entries(session, target)]
    finally:
        registry.close()


def test_a_rejected_event_is_fixed_and_goes_through_the_pipeline_again(platform: Platform, dead: Commands) -> None:
    platform.put([*numbered(20, 100), *spoiled(1)])
    (letter,) = arrived(platform, 1)
    shown = dead("list", "--stream", platform.stream)
    assert shown["total"] == 1 and shown["letters"][0]["reason"] == WRONG_ORIGIN

    look = dead("fix", letter.id, "--set", 'origin="JFK"', "--dry-run")
    assert (look["outcome"], look["changed"], look["fixed"]) == ("kept", ["origin"], False)
    assert look["clean"]["origin"] == "JFK" and look["clean"]["tailnum"] == "(encrypt)"
    assert states(platform) == {"waiting": 1}

    assert dead("fix", letter.id, "--set", 'origin="JFK"')["fixed"]
    assert states(platform) == {"fixed": 1}
    assert dead("list", "--stream", platform.stream, "--state", "waiting")["total"] == 0
    assert dead("replay", "--stream", platform.stream, "--state", "fixed", "--yes")["sent"] == 1
    until(lambda: platform.cleaned() == 21)
    (found,) = letters(platform)
    assert (str(found.state), found.attempts) == ("replayed", 0)
    accounts = accounted(platform, 22)
    assert accounts.balanced, accounts
    assert (accounts.total("raw"), accounts.total("clean"), accounts.total("dead")) == (22, 21, 1)
    assert trail(platform, f"dead-letter/{platform.stream}/{letter.id}") == ["fix"]
    assert trail(platform, f"dead-letter/{platform.stream}") == ["replay"]


def test_what_is_rejected_again_waits_again_and_is_parked_at_last(platform: Platform, dead: Commands) -> None:
    platform.put(spoiled(3))
    arrived(platform, 3)
    for attempt in (1, 2, 3):
        assert dead("replay", "--stream", platform.stream, "--yes")["sent"] == 3
        until(lambda: {one.attempts for one in letters(platform)} == {attempt})  # noqa: B023 - called at once
    assert states(platform) == {"parked": 3}
    assert dead("replay", "--stream", platform.stream, "--yes")["chosen"] == 0
    assert len(letters(platform)) == 3 and dead_records(platform) == 12
    accounts = accounted(platform, 12)
    assert accounts.balanced and accounts.total("dead") == 12
    assert len(dead("show", letters(platform)[0].id)["replays"]) == 3

    assert dead("reopen", "--stream", platform.stream, "--yes")["changed"] == 3
    assert {one.attempts for one in letters(platform)} == {0}


def test_bulk_asks_for_yes_and_says_how_many(platform: Platform, dead: Commands) -> None:
    platform.put([*spoiled(5), *spoiled(2, "the event is not JSON", start=50)])
    arrived(platform, 7)
    said = dead.text("discard", "--stream", platform.stream, "--reason", "not json", code=2)
    assert "2 dead letters would be discarded" in said and "--yes" in said
    assert dead("discard", "--stream", platform.stream, "--reason", "not json", "--dry-run")["chosen"] == 2
    assert states(platform) == {"waiting": 7}
    assert dead("discard", "--stream", platform.stream, "--reason", "not json", "--yes")["changed"] == 2
    assert states(platform) == {"waiting": 5, "discarded": 2}
    gone = next(one for one in letters(platform) if one.state == "discarded")
    assert not gone.has_event and gone.reason == "the event is not JSON"
    assert "was discarded" in dead.text("show", gone.id)
    assert "discarded, so it can't be replayed" in dead.text("replay", gone.id, code=2)
    assert dead("park", "--stream", platform.stream, "--step", "validate", "--yes")["changed"] == 5
    assert dead("list", "--stream", platform.stream)["total"] == 5
    assert trail(platform, f"dead-letter/{platform.stream}") == ["park", "discard"]


def test_nothing_of_an_event_is_shown_but_its_shape_unless_it_is_revealed(platform: Platform, dead: Commands) -> None:
    secret = b'{"id":"e1","origin":"EWR","tailnum":"N-SECRET","jane.doe@example.com":"SECRET-VALUE"}'
    platform.put([secret])
    (letter,) = arrived(platform, 1)
    for said in (dead.text("show", letter.id), msgspec.json.encode(dead("show", letter.id)).decode()):
        assert "SECRET" not in said and "jane" not in said
    shown = dead("show", letter.id)
    parts = {one["field"]: one for one in shown["shape"]["parts"]}
    assert parts["tailnum"] == {"field": "tailnum", "found": "a text of 8 characters", "protection": "encrypt"}
    assert parts["year"]["found"] == "missing" and shown["shape"]["undeclared"] == 1
    assert shown["now"]["outcome"] == "rejected"
    assert trail(platform, f"dead-letter/{platform.stream}/{letter.id}") == []
    assert dead("show", letter.id, "--reveal")["event"] == secret.decode()
    assert trail(platform, f"dead-letter/{platform.stream}/{letter.id}") == ["reveal"]


def test_the_worst_inputs_are_answered_in_one_sentence(platform: Platform, dead: Commands) -> None:
    platform.put(spoiled(1, "the event is not JSON"))
    (letter,) = arrived(platform, 1)
    assert "no JSON object" in dead.text("fix", letter.id, "--set", "distance=3", code=2)
    said = dead.text("fix", letter.id, "--set", "carrier=Jane", code=2)
    assert "Jane" not in said and "needs quotes" in said
    assert 'no field "orgin". Did you mean "origin"?' in dead.text("fix", letter.id, "--set", "orgin=1", code=2)
    assert "v9 is published" in dead.text("fix", letter.id, "--version", 9, code=2)
    assert "Say what to change" in dead.text("fix", letter.id, code=2)
    assert "There is no dead letter 99999999" in dead.text("show", 99_999_999, code=2)
    assert "Say which dead letters" in dead.text("discard", "--yes", code=2)
    assert "No dead letter has the stream" in dead.text("list", "--stream", platform.stream[:-1], code=2)
    assert "is not a time" in dead.text("list", "--since", "yesterday", code=2)
    still = dead("fix", letter.id, "--event", _file(platform, b'{"id":1}'), code=1)
    assert (still["outcome"], still["fixed"]) == ("rejected", False)
    whole = dead("fix", letter.id, "--event", _file(platform, next(numbered(1))))
    assert whole["fixed"] and dead("replay", letter.id)["sent"] == 1
    until(lambda: platform.cleaned() == 1)


def test_a_fixed_event_is_no_repeat_of_the_rejected_one(platform: Platform, dead: Commands) -> None:
    (bad,) = spoiled(1)
    platform.put([bad], partition=1)
    (letter,) = arrived(platform, 1)
    dead("fix", letter.id, "--set", 'origin="LGA"')
    dead("replay", letter.id)
    until(lambda: platform.cleaned() == 1)
    platform.put([next(numbered(1))], partition=1)  # the source sends it again, fixed: now it is one
    until(lambda: platform.balance().total("dropped") == 1)


def test_a_replay_keeps_the_events_key_and_headers_and_no_mark_of_ours(platform: Platform, dead: Commands) -> None:
    headers: list[Any] = [
        ("ce_id", b"a-1"),
        ("trace", b"\xff\x00"),
        ("clearwell_refused", b"the item is no JSON object"),
    ]
    platform.append(raw_topic(platform.stream), [(next(numbered(1)), headers, 3)])
    (letter,) = arrived(platform, 1)
    assert letter.step == "source"
    assert dead("replay", letter.id)["sent"] == 1  # a mark by a header counts once, for the record it came with
    until(lambda: platform.cleaned() == 1)
    first, again = _records(platform, raw_topic(platform.stream), 3)
    assert list(again.headers)[:2] == headers[:2]
    assert [name for name, _ in again.headers] == ["ce_id", "trace", "clearwell_replay"]
    assert again.key == first.key and again.value == first.value


def test_a_replay_takes_whatever_a_foreign_client_has_written(platform: Platform, dead: Commands) -> None:
    """Null headers, doubled ones, keys and values that are no text; and our own mark with a null."""
    (bad,) = spoiled(1)
    odd: list[tuple[bytes | None, bytes, list[tuple[str, bytes | None]]]] = [
        (None, bad, [("trace", None)]),
        (b"", bad, [("a", b"1"), ("a", b"2"), ("ce_id", b"x"), ("ce_id", b"y")]),
        (b"\xff\xfe\x00", bad, [("bin", b"\xff\x00"), ("", b""), ("naïve", None)]),
        (None, b"", [("big", b"x" * 70_000)]),
        (None, bad, [("clearwell_refused", None)]),
        (None, bad, []),
    ]
    producer = EventProducer(platform.settings.kafka, "foreign")
    records = [Record(key, value, encode_headers(headers), b"") for key, value, headers in odd]
    producer.begin_at(raw_topic(platform.stream), 2, records).offsets()
    producer.close()
    letters = arrived(platform, len(odd))
    assert dead("replay", *(letter.id for letter in letters))["sent"] == len(odd)
    found = _records(platform, raw_topic(platform.stream), 2)[len(odd) :]
    replayed = [(one.key, one.value or b"", [h for h in one.headers if h[0] != "clearwell_replay"]) for one in found]
    want = [(key, value, [h for h in headers if h[0] != "clearwell_refused"]) for key, value, headers in odd]
    assert sorted(replayed, key=repr) == sorted(want, key=repr)


def test_one_letter_that_cannot_be_replayed_holds_up_no_other(platform: Platform, dead: Commands) -> None:
    platform.put(spoiled(3), partition=1)
    letters = arrived(platform, 3)
    registry = Registry(platform.settings.postgres)
    with registry.session() as session:  # as after a restore of a part of the keys
        session.execute(update(DeadLetterRow).where(DeadLetterRow.id == letters[1].id).values(sealed="cw1.x.AAAA"))
    registry.close()
    began = time.monotonic()
    answer = dead("replay", *(letter.id for letter in letters), code=1)
    assert (answer["sent"], answer["failed"]) == (2, 1)
    assert answer["why"]
    assert dead("replay", letters[1].id, code=1)["failed"] == 1
    assert time.monotonic() - began < 30  # nothing is taken for broken off, which would be waited for


def test_dead_records_of_others_can_be_looked_at_and_discarded_but_not_replayed(
    platform: Platform, dead: Commands
) -> None:
    platform.append(dead_topic(platform.stream), [(b"junk", [("clearwell_reason", b"jane@example.com")], 0)])
    (letter,) = arrived(platform, 1)
    assert not letter.ours and "jane" not in dead.text("show", letter.id)
    assert "parked, so it can't be replayed" in dead.text("replay", letter.id, code=2)
    assert dead("reopen", letter.id)["changed"] == 0
    assert dead("discard", letter.id)["changed"] == 1
    platform.put(numbered(3))
    until(lambda: platform.cleaned() == 3)
    assert platform.balance().balanced


def _file(platform: Platform, content: bytes) -> str:
    path = platform.folder / "given.json"
    path.write_bytes(content)
    return str(path)


def _records(platform: Platform, topic: str, partition: int) -> list[Any]:
    async def read() -> list[Any]:
        async with reader(platform.settings.kafka) as log:
            return [one async for some in log.records(topic, partition, 0, 2**62) for one in some]

    return asyncio.run(read())


def test_a_stream_or_destination_without_dead_letters(platform: Platform, dead: Commands) -> None:
    """One that a contract has is no misspelling, so that a script may ask for it."""
    assert dead("list", "--stream", platform.stream)["total"] == 0
    assert dead("stats", "--stream", platform.stream, "--destination", "postgres")["total"] == 0
    assert "No dead letter has the stream" in dead.text("list", "--stream", platform.stream[:-1], code=2)

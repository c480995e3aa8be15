"""`clearwell dead-letter replay` killed in the middle: every event is sent once, whatever it had come to."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.registry import migrate
from clearwell.settings import Settings
from tests.support.dead_letters import BROKEN, Commands, arrived, letters, states, until_states
from tests.support.platform import CHECKOUT, Platform, numbered, until
from tests.support.refusing import CONTRACT, ids_in_postgres

pytestmark = pytest.mark.slow

UNFINISHED = """
SELECT count(*) FROM clearwell_registry.dead_letter_replay AS replay JOIN clearwell_registry.dead_letter AS letter
    ON letter.id = replay.dead_letter_id
WHERE letter.stream = %s AND sent_at IS NULL
"""

AGE = """
UPDATE clearwell_registry.dead_letter_replay AS replay SET started_at = started_at - interval '10 minutes'
FROM clearwell_registry.dead_letter AS letter
WHERE letter.id = replay.dead_letter_id AND letter.stream = %s AND sent_at IS NULL
"""
"""Instead of waiting until a replay that was broken off is known to be."""


@pytest.fixture(autouse=True)
def tables(stack: Settings) -> None:
    """The registry is set up."""
    migrate(stack.postgres)


def test_rejected_events_are_in_raw_once(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = BROKEN["origin is not one of the allowed values"]
    platform.put(map(spoil, numbered(1_500)))
    platform.start("cleaner")
    copier = platform.start("dead_letters")
    arrived(platform, 1_500)
    copier.stop()  # what is rejected again stays away, so that each letter is replayed once
    raw = raw_topic(platform.stream)
    kills = sum(_kill(platform, random.Random(3), most=0.15) for _ in range(3))
    until(_still(lambda: sum(admin.end_offsets(platform.settings.kafka, raw).values())))
    _settle(platform, Commands(platform, monkeypatch, capsys))
    assert kills == 3
    assert states(platform) == {"replayed": 1_500}
    assert sum(admin.end_offsets(platform.settings.kafka, raw).values()) == 3_000
    platform.start("dead_letters")  # all of them come back, each to its own letter
    until_states(platform, lambda found: found == {"waiting": 1_500})
    assert Counter(one.attempts for one in letters(platform)) == {1: 1_500}


def test_refused_events_are_in_their_destination_once(
    platform_of: Callable[[str], Platform], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = platform_of(CONTRACT)
    platform.start("deliverer", "--destination", "postgres")
    table = Identifier(platform.stream)
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session:
        there = ("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (platform.stream,))
        until(lambda: session.execute(*there).fetchone() == (True,))
        session.execute(SQL("ALTER TABLE {} ADD CONSTRAINT none CHECK (amount <> 1)").format(table))
        event = b'{"id":"b%d","at":"2026-01-01T00:00:00Z","amount":1}'
        platform.put([event % number for number in range(200)])
        platform.start("dead_letters")
        platform.start("cleaner")
        arrived(platform, 200)
        session.execute(SQL("ALTER TABLE {} DROP CONSTRAINT none").format(table))
        session.execute(SQL("ALTER TABLE {} ADD CONSTRAINT few CHECK (id NOT LIKE '%7')").format(table))
    kills = sum(_kill(platform, random.Random(5), most=0.2) for _ in range(3))
    _settle(platform, Commands(platform, monkeypatch, capsys))
    assert kills == 3
    found = letters(platform)
    again = {one.id for one in found if one.attempts}
    assert Counter(str(one.state) for one in found if one.id not in again) == {"replayed": 180}
    assert len(again) == 20 and len(ids_in_postgres(platform)) == 180
    assert platform.balance().destinations[0].balanced


def _kill(platform: Platform, dice: random.Random, most: float) -> bool:
    """Start a replay of all, and kill it up to `most` seconds after its first intent; False when it was faster."""
    command = [
        sys.executable,
        "-m",
        "clearwell.cli.main",
        "dead-letter",
        "replay",
        "--stream",
        platform.stream,
        "--yes",
    ]
    log = platform.folder / "replay.log"
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session, log.open("ab") as file:
        replay = subprocess.Popen(command, env=platform.env(), cwd=CHECKOUT, stdout=file, stderr=file)
        try:
            until(
                lambda: replay.poll() is not None or session.execute(UNFINISHED, [platform.stream]).fetchone() != (0,)
            )
            time.sleep(dice.uniform(0, most))  # anywhere in its work
        finally:
            faster = replay.poll() is not None
            replay.kill()
            replay.wait()
        session.execute(AGE, [platform.stream])
    return not faster


def _settle(platform: Platform, dead: Commands) -> None:
    """Replay what is left, without a kill."""
    while (found := states(platform))["waiting"] and any(
        one.attempts == 0 for one in letters(platform, states=["waiting"])
    ):
        dead("replay", "--stream", platform.stream, "--yes")
        assert states(platform) != found


def _still(count: Callable[[], int]) -> Callable[[], bool]:
    """Whether a count has not grown for half a second: what a killed process had sent has come to the end."""

    def settled() -> bool:
        before = count()
        time.sleep(0.5)
        return count() == before

    return settled

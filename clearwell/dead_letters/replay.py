"""Replay of dead letters: what was broken off is settled first, then each letter goes the way it failed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from clearwell.dead_letters.event import Envelopes
from clearwell.dead_letters.redeliver import Redeliverer
from clearwell.dead_letters.resend import Resender
from clearwell.errors import ConfigError
from clearwell.privacy.envelope import SealError
from clearwell.privacy.keyring import Keyring
from clearwell.registry import Registry, dead_replays
from clearwell.registry.dead_letters import Letter
from clearwell.registry.dead_replays import BROKEN_OFF, Intent
from clearwell.settings import Settings

MOST_LETTERS = 500
MOST_BYTES = 16_000_000
"""What is sent at once at most: it is in memory, and has to be sent soon after its intent (`SEND_WITHIN`)."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether a replay of somebody else has ended."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of replayed letters.

    sent: rejected events that are in raw again. taken, refused: events that their destination took, or refused again.
    passed: letters that somebody else has dealt with meanwhile. failed: letters that can't be replayed, `why` one of
    them can't; all others are.
    """

    sent: int = 0
    taken: int = 0
    refused: int = 0
    passed: int = 0
    failed: int = 0
    why: str = ""

    def __add__(self, other: Result) -> Result:
        return Result(
            self.sent + other.sent,
            self.taken + other.taken,
            self.refused + other.refused,
            self.passed + other.passed,
            self.failed + other.failed,
            self.why or other.why,
        )


class Replayer:
    """Replays letters; for one thread."""

    def __init__(self, settings: Settings, registry: Registry, keyring: Keyring, say: Say) -> None:
        """`say` is told, in a sentence, what takes long."""
        self._settings = settings
        self._registry = registry
        self._envelopes = Envelopes(keyring)
        self._say = say

    def settle(self, streams: Sequence[str]) -> int:
        """Find out what became of replays that were broken off; returns how many turned out to have been sent.

        Waits for those that may still be under way, BROKEN_OFF at most. Raises Retryable as `replay` does.
        """
        return sum(self._settle(stream) for stream in streams)

    def replay(self, letters: Sequence[Letter]) -> Result:
        """Send each letter's event the way it failed on, and return when all of it is durable.

        One that can't be (its envelope does not open, its record is too large) holds up no other. Raises Retryable when
        a server is not well; what was sent by then stays sent, and is known.
        """
        result = Result()
        for way, some in groupby(sorted(letters, key=_way), key=_way):
            chosen = list(some)
            done = 0
            for part in portions(chosen):
                result += self._send_each(way, part)
                done += len(part)
                if done < len(chosen):
                    self._say(f"{done:,} of {len(chosen):,} dead letters of {_named(way)} are replayed.")
        return result

    def _send_each(self, way: _Way, letters: Sequence[Letter]) -> Result:
        """All at once where that can be; else the bad ones are found by halving."""
        try:
            return self._send(way, letters)
        except (ConfigError, SealError) as error:
            if len(letters) == 1:
                return Result(failed=1, why=str(error))
            half = len(letters) // 2
            return self._send_each(way, letters[:half]) + self._send_each(way, letters[half:])

    def _send(self, way: _Way, letters: Sequence[Letter]) -> Result:
        stream, destination, _ = way
        if destination:
            with closing(Redeliverer(self._settings, self._registry, self._envelopes, letters[0])) as redeliverer:
                taken, refused = redeliverer.replay(letters)
            return Result(taken=taken, refused=refused, passed=len(letters) - taken - refused)
        with closing(self._resender(stream)) as resender:
            sent = resender.replay(letters)
        return Result(sent=sent, passed=len(letters) - sent)

    def _settle(self, stream: str) -> int:
        found = 0
        while True:
            with self._registry.session() as session:
                broken = dead_replays.take_over(session, stream)
                left = dead_replays.unfinished(session, stream) - len(broken)
            for way, some in groupby(sorted(broken, key=lambda pair: _way(pair[0])), key=lambda pair: _way(pair[0])):
                found += self._finish(way, list(some))
            if not left:
                return found
            self._say(
                f"{left:,} replays of {stream} are under way or were broken off: waiting for their end, "
                f"{BROKEN_OFF.seconds} s at most."
            )
            self._wait(stream)

    def _wait(self, stream: str) -> None:
        """Until no replay is unfinished, or one is old enough to be taken over."""
        deadline = time.monotonic() + BROKEN_OFF.seconds + LOOK_EVERY
        while time.monotonic() < deadline:
            with self._registry.session() as session:
                if not dead_replays.unfinished(session, stream) or dead_replays.broken_off(session, stream):
                    return
            time.sleep(LOOK_EVERY)

    def _finish(self, way: _Way, broken: Sequence[tuple[Letter, Intent]]) -> int:
        stream, destination, _ = way
        intents = [intent for _, intent in broken]
        if destination:
            with closing(Redeliverer(self._settings, self._registry, self._envelopes, broken[0][0])) as redeliverer:
                return redeliverer.finish(intents)
        with closing(self._resender(stream)) as resender:
            return resender.finish(intents)

    def _resender(self, stream: str) -> Resender:
        return Resender(self._settings.kafka, self._registry, self._envelopes, stream)


_Way = tuple[str, str, int]
"""Stream, destination ("" into raw), version of a clean event (0 of a raw one)."""


def portions(letters: Sequence[Letter]) -> Iterator[Sequence[Letter]]:
    """The letters in order, cut into what is sent at once: at least one, else within MOST_LETTERS and MOST_BYTES."""
    start = size = 0
    for index, one in enumerate(letters):
        if index > start and (index - start == MOST_LETTERS or size + one.size > MOST_BYTES):
            yield letters[start:index]
            start, size = index, 0
        size += one.size
    if letters:
        yield letters[start:]


def _way(letter: Letter) -> _Way:
    return letter.stream, letter.destination, letter.version if letter.destination else 0


def _named(way: _Way) -> str:
    return f"{way[0]} to {way[1]}" if way[1] else way[0]

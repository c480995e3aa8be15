"""Replay of dead letters: what was broken off is settled first, then each takes the path it failed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from clearwell.dead_letters.redeliver import Redeliverer
from clearwell.dead_letters.resend import Resender
from clearwell.errors import ConfigError
from clearwell.privacy.envelope import SealError
from clearwell.privacy.keyring import Keyring
from clearwell.registry import dead_letter_replays
from clearwell.registry.database import Sessions
from clearwell.registry.dead_letter_replays import BROKEN_OFF, ReplayIntent
from clearwell.registry.dead_letters import RegisteredDeadLetter
from clearwell.settings import Settings

MOST_DEAD_LETTERS = 500
MOST_BYTES = 16_000_000
"""What is sent at once at most: it is in memory, and has to be sent soon after its intent (`SEND_WITHIN`)."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether a replay of somebody else has ended."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What became of replayed dead letters.

    sent: rejected events that are in raw again. taken, refused: events that their destination took, or refused again.
    passed: those that somebody else has dealt with meanwhile. failed: those that can't be replayed, `why` one of them
    can't; all others are.
    """

    sent: int = 0
    taken: int = 0
    refused: int = 0
    passed: int = 0
    failed: int = 0
    why: str = ""

    def __add__(self, other: ReplayResult) -> ReplayResult:
        return ReplayResult(
            self.sent + other.sent,
            self.taken + other.taken,
            self.refused + other.refused,
            self.passed + other.passed,
            self.failed + other.failed,
            self.why or other.why,
        )


class Replayer:
    """Replays dead letters; for one thread."""

    def __init__(self, settings: Settings, sessions: Sessions, keyring: Keyring, say: Say) -> None:
        """`sessions` opens a transaction each time; `say` is told, in a sentence, what takes long."""
        self._settings = settings
        self._sessions = sessions
        self._keyring = keyring
        self._say = say

    def settle(self, streams: Sequence[str]) -> int:
        """Find out what became of replays that were broken off; returns how many turned out to have been sent.

        Waits for those that may still be under way, BROKEN_OFF at most. Raises Retryable as `replay` does.
        """
        return sum(self._settle(stream) for stream in streams)

    def replay(self, letters: Sequence[RegisteredDeadLetter]) -> ReplayResult:
        """Send each event on the path it failed on, and return when all of it is durable.

        One that can't be (its envelope does not open, its record is too large) holds up no other. Raises Retryable when
        a server is not well; what was sent by then stays sent, and is known.
        """
        result = ReplayResult()
        for path, some in groupby(sorted(letters, key=_path), key=_path):
            group = list(some)
            done = 0
            for part in portions(group):
                result += self._send_each(part)
                done += len(part)
                if done < len(group):
                    self._say(f"{done:,} of {len(group):,} dead letters of {_named(path)} are replayed.")
        return result

    def _send_each(self, letters: Sequence[RegisteredDeadLetter]) -> ReplayResult:
        """All at once where that can be; else the bad ones are found by halving."""
        try:
            return self._send(letters)
        except (ConfigError, SealError) as error:
            if len(letters) == 1:
                return ReplayResult(failed=1, why=str(error))
            half = len(letters) // 2
            return self._send_each(letters[:half]) + self._send_each(letters[half:])

    def _send(self, letters: Sequence[RegisteredDeadLetter]) -> ReplayResult:
        with closing(self._sender(letters[0])) as sender:
            if isinstance(sender, Resender):
                sent = sender.replay(letters)
                return ReplayResult(sent=sent, passed=len(letters) - sent)
            taken, refused = sender.replay(letters)
            return ReplayResult(taken=taken, refused=refused, passed=len(letters) - taken - refused)

    def _settle(self, stream: str) -> int:
        settled = 0
        while True:
            with self._sessions() as session:
                broken = dead_letter_replays.take_over(session, stream)
                left = dead_letter_replays.unfinished(session, stream) - len(broken)
            broken.sort(key=lambda pair: _path(pair[0]))
            for _, some in groupby(broken, key=lambda pair: _path(pair[0])):
                settled += self._finish(list(some))
            if not left:
                return settled
            self._say(
                f"{left:,} replays of {stream} are under way or were broken off: waiting for their end, "
                f"{BROKEN_OFF.seconds} s at most."
            )
            self._wait(stream)

    def _wait(self, stream: str) -> None:
        """Until no replay is unfinished, or one is old enough to be taken over."""
        deadline = time.monotonic() + BROKEN_OFF.seconds + LOOK_EVERY
        while time.monotonic() < deadline:
            with self._sessions() as session:
                if not dead_letter_replays.unfinished(session, stream) or dead_letter_replays.broken_off(
                    session, stream
                ):
                    return
            time.sleep(LOOK_EVERY)

    def _finish(self, broken: Sequence[tuple[RegisteredDeadLetter, ReplayIntent]]) -> int:
        """Those whose event was sent are complete, the others are forgotten; returns how many were sent."""
        letter, _ = broken[0]
        intents = [intent for _, intent in broken]
        with closing(self._sender(letter)) as sender:
            sent = sender.find_sent(intents)
        with self._sessions() as session:
            dead_letter_replays.complete(session, letter.stream, sent)
            dead_letter_replays.forget(session, [intent.id for intent in intents if intent.id not in sent])
        return len(sent)

    def _sender(self, letter: RegisteredDeadLetter) -> Redeliverer | Resender:
        """What sends on the path of a dead letter."""
        if letter.destination:
            return Redeliverer(self._settings, self._sessions, self._keyring, letter)
        return Resender(self._settings.kafka, self._sessions, self._keyring, letter.stream)


_Path = tuple[str, str, int]
"""Stream, destination ("" into raw), version of a clean event (0 of a raw one)."""


def portions(letters: Sequence[RegisteredDeadLetter]) -> Iterator[Sequence[RegisteredDeadLetter]]:
    """The dead letters in order, cut into what is sent at once: one, or within MOST_DEAD_LETTERS and MOST_BYTES."""
    start = size = 0
    for index, letter in enumerate(letters):
        if index > start and (index - start == MOST_DEAD_LETTERS or size + letter.size > MOST_BYTES):
            yield letters[start:index]
            start, size = index, 0
        size += letter.size
    if letters:
        yield letters[start:]


def _path(letter: RegisteredDeadLetter) -> _Path:
    return letter.stream, letter.destination, letter.version if letter.destination else 0


def _named(path: _Path) -> str:
    return f"{path[0]} to {path[1]}" if path[1] else path[0]

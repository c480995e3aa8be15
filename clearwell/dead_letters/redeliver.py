"""Clean events to the one destination that refused them, and to no other; never twice (invariant 4).

The destination keeps the position of its replays as it keeps that of its deliverer, under a group of their own. That
position counts replays, not offsets: the intent says which position the destination has after the event, so a replay
that was broken off was written exactly when the destination is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from clearwell.dead_letters.event import open_event
from clearwell.destinations.protocol import Claim, CleanBatch, RowsRefused
from clearwell.errors import ConfigError, Fatal
from clearwell.kafka.names import replay_group
from clearwell.pipeline.clean import CleanCodec
from clearwell.plugins.open_destination import open_destination
from clearwell.privacy.keyring import Keyring
from clearwell.registry import contracts, dead_letter_replays
from clearwell.registry.database import Sessions
from clearwell.registry.dead_letter_replays import ReplayIntent
from clearwell.registry.dead_letters import RegisteredDeadLetter
from clearwell.settings import Settings
from clearwell.steps import bind

GENERATION = 0
"""Replays take turns by their intents; each claim is a new epoch, which fences the one before."""


@dataclass(frozen=True, slots=True)
class _Event:
    letter: RegisteredDeadLetter
    intent: ReplayIntent
    row: tuple[Any, ...]
    value: bytes


class Redeliverer:
    """Sends the clean events of one version of a stream to one destination again. Close it."""

    def __init__(self, settings: Settings, sessions: Sessions, keyring: Keyring, letter: RegisteredDeadLetter) -> None:
        """`letter` is one of those that will be sent. Raises ConfigError when the contract has no such route now."""
        with sessions() as session:
            contract = contracts.get(session, letter.stream, letter.version).contract()
        try:
            route = contract.route(letter.destination)
        except ConfigError as error:
            raise ConfigError(f"{error} Its dead letters can't be replayed: discard or park them.") from None
        self._sessions = sessions
        self._keyring = keyring
        self._stream = letter.stream
        schema = bind(contract).schema
        self._codec = CleanCodec(schema)
        group = replay_group(letter.stream, letter.version, letter.destination)
        self._destination = open_destination(settings, route, schema, group)
        try:
            self._destination.open()
        except BaseException:
            self._destination.close()
            raise

    def replay(self, letters: Sequence[RegisteredDeadLetter]) -> tuple[int, int]:
        """(taken, refused again), when the destination has them. Those that are not open any more are passed over.

        Raises Retryable when the destination or another replay is in the way; what was not written then is settled by
        the next replay. Raises SealError, having sent nothing, when an event does not open.
        """
        taken = refused = 0
        for (topic_id, partition), some in groupby(sorted(letters, key=_order), key=_clean_partition):
            claim, events = self._begin(list(some), topic_id, partition)
            again = self._write(events, claim)
            refused += again
            taken += len(events) - again
        return taken, refused

    def find_sent(self, broken: Sequence[ReplayIntent]) -> dict[int, int]:
        """Of replays that were broken off, those that the destination has: by intent, the position after it."""
        sent: dict[int, int] = {}
        for (topic_id, partition), some in groupby(
            sorted(broken, key=_destination_partition), key=_destination_partition
        ):
            position = self._destination.claim(
                topic_id, partition, GENERATION
            ).next_offset  # nobody else writes any more
            sent |= {intent.id: intent.after for intent in some if intent.after <= position}
        return sent

    def close(self) -> None:
        """Let go of the destination."""
        self._destination.close()

    def _begin(
        self, letters: Sequence[RegisteredDeadLetter], topic_id: str, partition: int
    ) -> tuple[Claim, list[_Event]]:
        with self._sessions() as session:
            dead_letter_replays.take_turn(session, self._stream, letters[0].destination)
            claim = self._destination.claim(topic_id, partition, GENERATION)
            intents = dead_letter_replays.begin_delivery(session, letters, topic_id, claim.next_offset)
        by_id = {letter.id: letter for letter in letters}
        try:
            values = [open_event(self._keyring, by_id[intent.dead_letter_id], intent.envelope) for intent in intents]
            rows = self._codec.decode(values)
        except Exception:
            with self._sessions() as session:
                dead_letter_replays.forget(session, [intent.id for intent in intents])
            raise
        parts = zip(intents, rows, values, strict=True)
        return claim, [_Event(by_id[intent.dead_letter_id], intent, row, value) for intent, row, value in parts]

    def _write(self, events: Sequence[_Event], claim: Claim) -> int:
        """Write consecutive events; returns how many were refused again. One that is refused is found by halving."""
        if not events:
            return 0
        batch = _batch(events, claim)
        try:
            self._destination.write(batch)
        except RowsRefused as error:
            if len(events) > 1:
                middle = len(events) // 2
                return self._write(events[:middle], claim) + self._write(events[middle:], claim)
            with self._sessions() as session:  # before the position passes it (invariant 5)
                event = events[0]
                dead_letter_replays.refuse(session, self._stream, event.intent, error.reason, event.letter.version)
            self._destination.write(batch.without_row())
            return 1
        with self._sessions() as session:
            dead_letter_replays.complete(
                session, self._stream, {event.intent.id: event.intent.after for event in events}
            )
        return 0


def _batch(events: Sequence[_Event], claim: Claim) -> CleanBatch:
    return CleanBatch(
        topic_id=events[0].intent.topic_id,
        partition=events[0].intent.partition,
        next_offset=events[-1].intent.after,
        epoch=claim.epoch,
        rows=[event.row for event in events],
        values=[event.value for event in events],
        offsets=[event.letter.clean_offset or 0 for event in events],
        raw_topics=[event.letter.origin_topic_id for event in events],
        raw_offsets=[event.letter.raw_offset for event in events],
        high_watermarks=claim.high_watermarks,
    )


def _clean_partition(letter: RegisteredDeadLetter) -> tuple[str, int]:
    if letter.clean_topic_id is None:
        raise Fatal(f"Dead letter {letter.id} names a destination, but no place in the clean topic.")
    return letter.clean_topic_id, letter.raw_partition


def _order(letter: RegisteredDeadLetter) -> tuple[str, int, int]:
    return *_clean_partition(letter), letter.clean_offset or 0


def _destination_partition(intent: ReplayIntent) -> tuple[str, int]:
    return intent.topic_id, intent.partition

"""A model's own consumer group on a clean topic: every event once, resumed where the model committed."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from clearwell.backoff import retry_until_available
from clearwell.contract.model import CleanSchema, Field
from clearwell.errors import ConfigError, Retryable, nearest
from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import clean_topic, raw_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.records.clean_reader import CleanReader
from clearwell.records.origins import Origins, warn_of_forged
from clearwell.subscriptions.batch import Batch
from clearwell.subscriptions.member import HeldPartition, Member, PartitionLost
from clearwell.subscriptions.memory import Memory

__all__ = ["PartitionLost", "Subscription", "chosen_fields"]

log = logging.getLogger(__name__)

_followed: dict[tuple[int, str, str, str | None], weakref.ref[Subscription]] = {}
_followed_lock = threading.Lock()


class Subscription(Iterator[Batch], AsyncIterator[Batch]):
    """Iterate over it for batches. One thread uses one subscription; close it, or use it in a `with` block.

    At least once to the model until `batch.commit()`: after a crash the group goes on at the last committed batch of
    each partition, with no gap and without any committed event. Members of the same name share the partitions. A batch
    may take the model as long as it will. In a coroutine, `async for` it; `with` works there too.

    Leaving the loop, by whatever way, leaves the group. One that is still referenced gives way when its thread begins
    to follow the same name (and `member`) anew, as a cell of a notebook does that is run twice.
    """

    def __init__(
        self,
        name: str,
        client: LogClient,
        codec: CleanCodec,
        *,
        fields: Sequence[str] = (),
        max_rows: int = 5_000,
        idle: float | None = None,
        member: str | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Joins the group `model.<name>`; no `fields` means all. Iteration ends after `idle` seconds without events.

        `member` names this process within the group (Kafka's static membership): after a crash it takes its partitions
        back at once, not when its session has timed out; but they also wait for it when it is closed. `memory` knows
        where it stood if Kafka has forgotten that.
        Raises Retryable when Kafka does not answer or the clean topic is not there, ConfigError for an unknown field.
        """
        schema = codec.schema
        self.name = name
        self.topic = clean_topic(schema.stream, schema.version)
        self._client = client
        self._codec = codec
        self._instance = member
        self._memory = memory
        self._chosen = chosen_fields(schema, fields)
        self._order = [schema.fields.index(field) for field in self._chosen]
        self._max_rows = max_rows
        self._idle = idle
        self._ready: deque[tuple[HeldPartition, Batch]] = deque()
        self._closed = False
        self._superseded = False
        self._thread = 0
        self._origins = Origins(functools.partial(client.id_and_ends, raw_topic(schema.stream)))
        self._member = self._join(str(client.topic_now(self.topic)))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch; waits for one, at most `idle` seconds. Raises StopIteration, Fatal for a foreign record.

        Raises ConfigError when this thread has followed another subscription of that name since, or the process is a
        fork of the one that opened it.
        """
        self._take_thread()
        idle = _Idle(self._idle)
        while (batch := self._step(idle)) is None:
            if idle.over or self._closed:
                raise StopIteration
        return batch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """As `__next__`, off the event loop; a task that is cancelled gets out at once."""
        idle = _Idle(self._idle)
        while (batch := await asyncio.to_thread(self._step, idle)) is None:
            if idle.over or self._closed:
                raise StopAsyncIteration
        return batch

    def close(self) -> None:
        """Leave the group, so that others take the partitions over at once; what is not committed comes again.

        A batch can still be committed until another member follows.
        """
        self._closed = True
        self._ready.clear()
        self._member.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        """A loop left by `break` must not keep its partitions from the next one; batches do not refer to us."""
        if hasattr(self, "_member"):
            self.close()

    def _join(self, topic_id: str) -> Member:
        return Member(
            self.name,
            self._client,
            self.topic,
            topic_id,
            max_rows=self._max_rows,
            instance=self._instance,
            memory=self._memory,
        )

    def _take_thread(self) -> None:
        """A thread follows one subscription of a name: one that it left, and that something still refers to, ends."""
        if self._superseded:
            raise ConfigError(
                f'This subscription "{self.name}" ended when its thread began to follow another one of that name: use '
                "the newer one, or give each a `member` name."
            )
        self._thread = threading.get_ident()
        key = self._thread, self._client.address, self.name, self._instance
        with _followed_lock:
            known = _followed.get(key)
            earlier = known() if known is not None else None
            if earlier is self:
                return
            _followed[key] = weakref.ref(self)
        if earlier is not None and earlier._thread == self._thread and not earlier._closed:
            earlier._superseded = True
            earlier.close()

    def _step(self, idle: _Idle) -> Batch | None:
        """The next batch, if one comes within half a second or so."""
        self._member.require_own_process()
        if not self._ready and not self._closed:
            self._fetch()
        while self._ready:
            held, batch = self._ready.popleft()
            if self._member.partitions.get(batch.partition) is held:  # else it has gone to another member meanwhile
                self._member.work(batch.partition)
                return batch
        idle.look(joined=self._member.coverage.complete)
        return None

    def _fetch(self) -> None:
        """One poll. What we hold changes in here, or while the model works."""
        fetched = self._member.poll()
        if self._same_topic(insist=bool(fetched)):
            for partition, records in fetched.items():
                self._take(partition, records)
        self._member.look_at_group()

    def _take(self, partition: int, records: Sequence[Any]) -> None:
        held = self._member.partitions[partition]
        records = [record for record in records if record.offset >= held.next]
        if not records:
            return
        first = records[0].offset
        self._member.warn_of_gap(partition, held.next, first)
        held.next, held.time = records[-1].offset + 1, records[-1].timestamp
        new = CleanReader(partition, self._origins, held.duplicates).take(records)
        if new.forged:
            warn_of_forged(self.topic, partition, new.forged)
        if not new.records:
            return
        rows = self._chosen_columns(self._codec.decode([record.value for record in new.records]))
        origins = list(zip(new.raw_topics, new.raw_offsets, strict=True))
        position = held.position(self._member.topic_id)
        commit = functools.partial(self._member.commit, held=held)
        self._ready.append((held, Batch(self._chosen, rows, origins, partition, first, position, commit)))

    def _chosen_columns(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[Sequence[Any]]:
        order = self._order
        return rows if order == list(range(len(rows[0]))) else [[row[i] for i in order] for row in rows]

    def _same_topic(self, insist: bool) -> bool:
        """Whether what was fetched is of the incarnation we know (KIP-516: ids never come back); joins anew if not.

        Also asked when nothing comes: a consumer does not always notice that its topic was made again. Raises Parted
        where the topic's log is no longer the one that was read.
        """
        topic_id = self._ask_topic_id(insist)
        if topic_id in (self._member.topic_id, None):
            return True
        log.warning("%s was deleted and made again; reading it from its beginning", self.topic)
        self._ready.clear()
        self._member.close()
        self._member = self._join(topic_id)
        return False

    def _ask_topic_id(self, insist: bool) -> str | None:
        """The topic's id; asked until it is answered where fetched events wait for it, else None without an answer."""

        def ask() -> str:
            now = self._client.topic_now(self.topic)
            if now == self._member.topic_id:
                self._member.trace(now.epochs)
            return str(now)

        try:
            return retry_until_available(ask, pause=self._pause) if insist else ask()
        except Retryable:
            return None

    def _pause(self, wait: float) -> bool:
        """Whether nobody waits any longer, after so many seconds."""
        time.sleep(wait)
        return self._closed


class _Idle:
    """How long nothing has come; joining the group is not idling."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._since = time.monotonic()
        self._joined = False
        self.over = False

    def look(self, joined: bool) -> None:
        """Nothing came this time."""
        if not (joined and self._joined):
            self._since, self._joined = time.monotonic(), joined
        self.over = self._seconds is not None and time.monotonic() - self._since >= self._seconds


def chosen_fields(schema: CleanSchema, names: Sequence[str]) -> tuple[Field, ...]:
    """The fields called `names` in that order; all when there are none. Raises ConfigError for an unknown one."""
    known = {field.name: field for field in schema.fields}
    for name in names:
        if name not in known:
            raise ConfigError(
                f'{schema.stream} v{schema.version} has no clean field "{name}".'
                f"{nearest(name, known)} Its fields are {', '.join(known)}."
            )
    return tuple(known[name] for name in names) or schema.fields

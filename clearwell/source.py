"""The protocol a connector implements. A source is a noun; a new one costs one file and one entry-point line.

`Source` is read from by a collector; `PushSource` is sent requests. What else a source may be able to do is a protocol
of its own beside them: `Acknowledging`, `Disposable`, `Comparing`, `WithWarnings`, `Counting`.
`clearwell.testing.SourceSuite` proves a source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from clearwell.errors import ClearwellError, ConfigError

HEARTBEAT_SECONDS = 10.0
"""A source that waits for events says so this often (`Source.read`), so that a stuck one is noticed."""

EVENT_LIMIT = 1_048_576
"""Bytes of the largest event that enters a raw topic; larger ones become a note (`refuse`). The topics allow for it."""

NOTE_HEAD = 1_024
"""Bytes of a refused event that its note keeps, for the one who looks at the dead letter."""


class Refusal(StrEnum):
    """Why a source could make no event of an item: a closed list, so that no header can bring data into a reason."""

    TOO_LARGE = f"the event is larger than {EVENT_LIMIT} bytes"
    ROW_WIDTH = "the row has more or fewer values than the header"
    NOT_UTF8 = "the row is not UTF-8"
    QUOTES = "the quotes of the row do not match"
    TOMBSTONE = "the record has no value (a tombstone)"
    BINARY = "the message is binary, not text"
    TIME_RANGE = "a time of the row lies outside the years 0001 to 9999"
    NO_LOCAL_TIME = "a local time of the row does not exist in its time zone, whose clocks jump over it"
    KEY_TWICE = "a map of the row has a key twice"
    NAME_TAKEN = "it has a field of a name that the source gives a field of its own"
    NOT_JSON = "a value of the row can't be written as JSON"
    UNREADABLE = "a value can't be read by the database's driver"
    CLOUDEVENTS_BATCH = "it is a batch of CloudEvents, which Kafka's binding does not have: write a record an event"
    CLOUDEVENTS_FORMAT = "it is a CloudEvent in structured mode of another format than JSON"
    NO_CLOUDEVENT = "its content type says a CloudEvent in structured mode, which it is not"
    CLOUDEVENT_DATA = "it is a CloudEvent in structured mode without data, or with data that can't be read"


class SourceEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as the source gave it.

    `id` is stable: reading the same item again gives the same id. `data` is the event as JSON bytes, untouched where
    the source speaks JSON (malformed included: the cleaner judges, not the source). `refused` is the reason why the
    source could not make an event of an item: such an item still goes to the raw
    topic and becomes a dead letter, so that nothing is lost and its neighbours flow (invariant 5).
    """

    id: str
    data: bytes
    refused: Refusal | None = None


def refuse(event_id: str, size: int, head: bytes) -> SourceEvent:
    """The note that stands in for an event of `size` bytes, over EVENT_LIMIT; `head` is how it begins.

    The note is not JSON whatever the head is, so that the cleaner can only reject it.
    """
    note = f"refused: the event has {size} bytes; at most {EVENT_LIMIT} are taken; it begins: "
    return SourceEvent(event_id, note.encode() + head[:NOTE_HEAD], Refusal.TOO_LARGE)


@dataclass(frozen=True, slots=True)
class DiscoveredStream:
    """What a source offers: a name, field names with their contract types, and a few sample rows."""

    name: str
    fields: Mapping[str, str]
    sample: tuple[Mapping[str, Any], ...] = ()


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every source's configuration; unknown keys are refused, and the class is also the spec.

    What each field means is the `msgspec.Meta(description=…)` of its annotation.
    Mark a field `Annotated[str, PATH]` when it is a path (relative to the spec file), `Annotated[str, SECRET]` when it
    is a secret: then only a reference such as `${env:NAME}` is accepted; `Annotated[str, SECRET_IN_URL]` when it is a
    URL whose password must be one (invariant 10). Marks are also found in structs inside.
    """


class SourcePosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every source's positions: where to go on reading, small, kept as a JSON object in the registry."""


PATH = msgspec.Meta(extra={"clearwell": "path"})
SECRET = msgspec.Meta(extra={"clearwell": "secret"})
SECRET_IN_URL = msgspec.Meta(extra={"clearwell": "secret in url"})

PemFile = Annotated[str, PATH, msgspec.Meta(description="a PEM file of the authorities to trust.")]
BatchEvents = Annotated[int, msgspec.Meta(ge=1, le=100_000, description="events taken together, at most.")]
Username = Annotated[str | None, msgspec.Meta(description="who we are.")]
Password = Annotated[str | None, SECRET, msgspec.Meta(description="who we are.")]
StorageSecrets = Annotated[
    dict[str, Annotated[str, SECRET]],
    msgspec.Meta(description="options that are secrets, such as `secret`; they are laid over `storage_options`."),
]
"""Options that several kinds have."""

Batch: TypeAlias = tuple[list[SourceEvent], SourcePosition | None]
"""Events in the source's order, and the position after the last of them (None: still at the beginning)."""

P = TypeVar("P", bound=SourcePosition)


def stored_position(stored: Mapping[str, Any] | None, shape: type[P]) -> P | None:
    """A position as the registry keeps it, typed. Raises ConfigError when it is none of `shape`."""
    try:
        return None if stored is None else msgspec.convert(stored, shape)
    except msgspec.ValidationError as error:
        keys = ", ".join(shape.__struct_encode_fields__)
        raise ConfigError(f"This is no position of this source ({error}): its keys are {keys}.") from None


class Source(Protocol):
    """Reads events in batches and says where it is. Made by `Source(config)`, which does no I/O.

    Obligations:
    - ids are stable: reading an item again, also in another process, gives the same id;
    - `read(after)` resumes after the last event of the batch that came with `after`, without loss;
    - every item becomes exactly one event: what cannot be one is a `refuse`d one, and its neighbours flow;
    - errors, `repr` and logs hold no secrets and no data; ConfigError for what the user can mend, Retryable for what
      may pass; nothing else is raised on purpose;
    - cancellation is welcome at every await, and leaves nothing open; blocking calls go to a thread.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SourceConfig]]
    Position: ClassVar[type[SourcePosition]]

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`, references already resolved."""

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The raw fields whose values make up the ids, so that protected ones are hidden; () where none do.

        ("*",) says that an id is made of the whole event, such as its hash.
        """

    def check(self) -> None:
        """Prove that the source can be read; raise ConfigError or Retryable with one clear sentence. Blocks."""

    def discover(self) -> list[DiscoveredStream]:
        """The streams on offer, with types and at most 1,000 sample rows each. Blocks; raises as `check` does."""

    def read(self, after: Any) -> AsyncIterator[Batch]:
        """Batches of events, each with the position after its last event; ends when the source is exhausted.

        `after` is a `Position` of this source, or None for the beginning. A source that waits for events yields an
        empty list with its position at least every HEARTBEAT_SECONDS.
        """

    async def close(self) -> None:
        """Let go of everything; calling it again is harmless."""


@runtime_checkable
class Acknowledging(Protocol):
    """A source that tells its server how far the events are durable (a replication slot, a broker's session)."""

    async def acknowledged(self, position: Any) -> None:
        """Everything up to `position` is in Kafka and the position is saved (invariant 1); called in order."""


@runtime_checkable
class Disposable(Protocol):
    """A source whose server keeps something for it that must go when the connector is removed or reset."""

    def dispose(self) -> None:
        """Drop it; harmless when it is gone already. Blocks; raises as `check` does."""


@runtime_checkable
class Comparing(Protocol):
    """A source that can say what lies between two of its positions."""

    def between(self, old: Any, new: Any) -> str:
        """One sentence for a person: what would be read again or skipped when `old` becomes `new` (None: beginning)."""


@runtime_checkable
class WithWarnings(Protocol):
    """A source that, as it is configured, may miss something or repeat it (invariant 11)."""

    def warnings(self) -> Sequence[str]:
        """What it can't promise and what helps: a sentence each, for whoever registers it. Blocks.

        Raises as `check` does.
        """


@dataclass(frozen=True, slots=True)
class Count:
    """What a source has counted at its place, before it made events of it: where the account begins (invariant 11).

    `read`: items that this source object has read, all in all: of the batches that it has yielded, and once `read` has
    ended of everything. `held`: how many items the place holds from its beginning to the position of the last batch
    (to its end, once `read` has ended), counted in another way than by reading; None where nobody can tell, or it is
    not known at the moment. `passed_over`: how many things (files, folders) are there at the moment that are not read;
    None where there are no such things.
    """

    read: int
    held: int | None = None
    passed_over: int | None = None


@runtime_checkable
class Counting(Protocol):
    """A source that can say how many items there were: rows, lines, records, messages.

    Obligation: an item is counted where it is read, not where an event is made of it, so that one which gets lost
    between the two is a difference. The collector saves the count with the position, beside the events that Kafka has
    acknowledged; `connector list` and `balance` tell of a difference.
    """

    def count(self) -> Count:
        """The count as it is now; asked after each batch and at the end. Never blocks, raises nothing."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What is still to be read: how many items, and since when the oldest of them is there; None: it can't be told."""

    events: int | None = None
    seconds: float | None = None


@runtime_checkable
class Lagging(Protocol):
    """A source that can tell rightly, and for nothing, how much there is still to be read."""

    def lag(self) -> Lag:
        """As it is now; asked every few seconds. Never blocks, raises nothing."""


class Request(msgspec.Struct, frozen=True):
    """What somebody sent to a push source; names of headers are lower-case."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class RequestRefused(ClearwellError):
    """A request is not taken: `status` is the HTTP status, `retry_after` seconds for those who may come again."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class PushSource(Protocol):
    """Is sent events over HTTP at `/push/<connector>`. Obligations as for `Source`, as far as they apply.

    The sender gets its answer only after Kafka has acknowledged all events of the request (invariant 1); it sends again
    what was not answered, so ids must be stable over that.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SourceConfig]]

    def __init__(self, config: Any) -> None:
        """`config` is an instance of `Config`, references already resolved."""

    @property
    def id_fields(self) -> tuple[str, ...]:
        """As `Source.id_fields`."""

    def check(self) -> None:
        """Prove that the configuration can work; raises ConfigError."""

    def discover(self) -> list[DiscoveredStream]:
        """What can be known before anything was sent: often nothing."""

    def receive(self, request: Request) -> Sequence[SourceEvent]:
        """The events of a request. Raises RequestRefused; never blocks."""

    async def close(self) -> None:
        """Let go of everything; calling it again is harmless."""

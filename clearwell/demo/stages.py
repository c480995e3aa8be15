"""How far each stage of a stream is, cheaply enough to ask twice a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clearwell.contract.model import Contract
from clearwell.destinations.protocol import Destination
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.names import clean_topic, cleaner_group, dead_topic, deliverer_group, model_group, raw_topic
from clearwell.kafka.range_reader import RangeReader
from clearwell.plugins.routes import open_destination
from clearwell.records import dead_letter
from clearwell.settings import Settings
from clearwell.steps import bind


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `done` events since the stream began, `lag` events waiting before it."""

    name: str
    done: int
    lag: int


@dataclass(slots=True)
class Snapshot:
    """All stages at one moment, and the dead letters so far by reason."""

    stages: list[Stage] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """No stage waits for anything."""
        return not any(stage.lag for stage in self.stages)

    def done(self, name: str) -> int:
        """Events of one stage."""
        return next(stage.done for stage in self.stages if stage.name == name)


class Stages:
    """Asks Kafka and the destinations of one stream how far they are. Every method blocks."""

    def __init__(self, settings: Settings, contract: Contract, subscription: str, expected: int) -> None:
        """`expected` is how many events the source will have given when it is at its end."""
        self._kafka = settings.kafka
        self._contract = contract
        self._subscription = subscription
        self._expected = expected
        self._raw = raw_topic(contract.stream)
        self._clean = clean_topic(contract.stream, contract.version)
        self._ids = admin.require_topics(settings.kafka, contract.stream, contract.version)
        schema = bind(contract).schema
        self._stores: dict[str, Destination] = {}
        for route in contract.routes:
            group = deliverer_group(contract.stream, contract.version, route.to)
            self._stores[route.to] = open_destination(settings, route, schema, group)
        for store in self._stores.values():
            store.open()

    def counts(self) -> list[Stage]:
        """Source, cleaner, every destination, model."""
        raw, clean = admin.end_offsets(self._kafka, self._raw), admin.end_offsets(self._kafka, self._clean)
        brought = sum(raw.values())
        group = cleaner_group(self._contract.stream, self._contract.version)
        stages = [Stage("source", brought, max(0, self._expected - brought)), self._group("cleaner", group, raw)]
        for to, store in self._stores.items():
            accounts = store.accounts(self._ids[self._clean])
            lag = sum(clean.values()) - sum(account.next_offset for account in accounts)
            stages.append(Stage(to, sum(account.delivered for account in accounts), lag))
        return [*stages, self._group("model", model_group(self._subscription), clean)]

    def close(self) -> None:
        """Let go of the destinations."""
        for store in self._stores.values():
            store.close()

    def _group(self, name: str, group: str, ends: dict[int, int]) -> Stage:
        topic = self._raw if name == "cleaner" else self._clean
        done = sum(offset for offset, _ in committed(self._kafka, group, topic).values())
        return Stage(name, done, sum(ends.values()) - done)


class DeadLetters:
    """Counts new dead letters of raw events by reason, reading each only once."""

    def __init__(self, log: RangeReader, stream: str, ends: Callable[[], dict[int, int]]) -> None:
        self._log = log
        self._topic = dead_topic(stream)
        self._ends = ends
        self._read: dict[int, int] = {}
        self.reasons: dict[str, int] = {}

    async def update(self) -> None:
        """Read what came since the last call."""
        for partition, end in self._ends().items():
            async for records in self._log.records(self._topic, partition, self._read.get(partition, 0), end):
                for letter in dead_letter.known(records):
                    if letter.destination is not None:  # a clean event, that one destination refused
                        continue
                    self.reasons[letter.reason] = self.reasons.get(letter.reason, 0) + 1
            self._read[partition] = end

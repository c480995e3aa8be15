"""How far each stage of a stream is, cheaply enough to ask twice a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clearwell.contract.model import Contract
from clearwell.destinations.protocol import Destination
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.names import clean_topic, cleaner_group, deliverer_group, model_group, raw_topic
from clearwell.plugins.open_destination import open_destination
from clearwell.settings import Settings
from clearwell.steps import bind


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `done` events since the stream began, `lag` events waiting before it."""

    name: str
    done: int
    lag: int


class Stages:
    """Asks Kafka and the destinations of one stream how far they are. Every method blocks."""

    def __init__(self, settings: Settings, contract: Contract, models: Sequence[str] = ()) -> None:
        """`models` are names of subscriptions. Raises as a destination that is opened."""
        self._kafka = settings.kafka
        self._contract = contract
        self._models = models
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
        """Source, cleaner, every destination, every model by its name."""
        raw, clean = admin.end_offsets(self._kafka, self._raw), admin.end_offsets(self._kafka, self._clean)
        group = cleaner_group(self._contract.stream, self._contract.version)
        stages = [Stage("source", sum(raw.values()), 0), self._group("cleaner", group, raw)]
        for to, store in self._stores.items():
            accounts = store.accounts(self._ids[self._clean])
            lag = sum(clean.values()) - sum(account.next_offset for account in accounts)
            stages.append(Stage(to, sum(account.delivered for account in accounts), lag))
        return stages + [self._group(name, model_group(name), clean) for name in self._models]

    def close(self) -> None:
        """Let go of the destinations."""
        for store in self._stores.values():
            store.close()

    def _group(self, name: str, group: str, ends: dict[int, int]) -> Stage:
        topic = self._raw if name == "cleaner" else self._clean
        done = sum(offset for offset, _ in committed(self._kafka, group, topic).values())
        return Stage(name, done, sum(ends.values()) - done)

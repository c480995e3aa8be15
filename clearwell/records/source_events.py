"""Events of a source → raw records: Kafka key, CloudEvents headers, partition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from clearwell.contract.model import Contract
from clearwell.kafka.message_format import Record
from clearwell.privacy.keyring import Keyring
from clearwell.privacy.pseudonym import OneWay, pseudonymiser
from clearwell.records.cloudevents import Template, source_of
from clearwell.source import EVENT_LIMIT, SourceEvent, refuse

LONGEST = 512
"""Bytes of a key or id; a longer one is replaced by its hash, so that a record always fits into the topic."""


class RecordMaker:
    """Makes the raw records of one connector. Protected values leave it only as pseudonyms (invariant 9)."""

    def __init__(
        self, connector: str, contract: Contract, id_fields: Sequence[str], keyring: Callable[[], Keyring]
    ) -> None:
        """`id_fields` are the fields the source makes ids of; none where ids are positions.

        `keyring` is asked only when the key or the id must be hidden. Raises Fatal when it has no key (invariant 6).
        """
        self._template = Template(source_of(connector), f"clearwell.{contract.stream}")
        self._key_of = KeyOf(contract, keyring)
        hidden = not all(is_public(contract, field) for field in id_fields)
        self._hide_id = pseudonymiser(keyring(), contract.stream, "+".join(id_fields)) if hidden else None

    def make(self, events: Sequence[SourceEvent]) -> list[Record]:
        """One record an event, in order. The time stamp in the headers is now: when the events were read."""
        headers = self._template.at(datetime.now(UTC)).encode
        key_of, hide_id = self._key_of, self._hide_id
        records = []
        for event in events:
            if len(event.data) > EVENT_LIMIT:
                event = refuse(event.id, len(event.data), event.data)
            event_id = event.id.encode(errors="backslashreplace")
            if hide_id is not None:
                event_id = hide_id(event_id).encode()
            if len(event_id) > LONGEST:
                event_id = _shortened(event_id)
            key = None if event.refused else key_of(event.data)
            records.append(Record(key, event.data, headers(event_id, event.refused), event_id if key is None else key))
        return records


def refusals(events: Sequence[SourceEvent]) -> int:
    """How many of `events` become notes of what can't be an event, and so dead letters."""
    return sum(event.refused is not None or len(event.data) > EVENT_LIMIT for event in events)


class KeyOf:
    """The Kafka key of a raw event: the contract's key, so that events of one key stay in order.

    The contract names fields of the clean event; a renamed one is looked up under its raw name. Where steps compute the
    key, or the event has none (malformed), there is no Kafka key, and the event's id decides the partition.
    """

    def __init__(self, contract: Contract, keyring: Callable[[], Keyring]) -> None:
        names = [raw_name(contract, name) for name in contract.key]
        self._protect: list[OneWay | None] = [
            None if is_public(contract, name) else pseudonymiser(keyring(), contract.stream, name) for name in names
        ]
        shape = msgspec.defstruct("_Key", [(f"k{i}", str | int, msgspec.field(name=n)) for i, n in enumerate(names)])
        declared = {field.name for field in contract.fields}
        self._decode = msgspec.json.Decoder(shape).decode if declared.issuperset(names) else None
        self._single = len(names) == 1
        self._clear = self._single and self._protect == [None]

    def __call__(self, data: bytes) -> bytes | None:
        """The key, or None."""
        if self._decode is None:
            return None
        try:
            values: Any = self._decode(data)
        except Exception:  # hostile data raises outside msgspec's own errors too; the cleaner judges, not we
            return None
        key = str(values.k0).encode() if self._clear else self._joined(msgspec.structs.astuple(values))
        return key if len(key) <= LONGEST else _shortened(key)

    def _joined(self, values: Sequence[str | int]) -> bytes:
        clear = [str(value).encode() for value in values]
        parts = [
            one if protect is None else protect(one).encode() for one, protect in zip(clear, self._protect, strict=True)
        ]
        return parts[0] if self._single else msgspec.json.encode([part.decode() for part in parts])


def raw_name(contract: Contract, name: str) -> str:
    """The name in the raw event of the clean field `name`, as far as `rename` steps changed it."""
    for step in reversed(contract.steps):
        if step.name == "rename" and isinstance(step.args, dict):
            name = next((old for old, new in step.args.items() if new == name), name)
    return name


def is_public(contract: Contract, name: str) -> bool:
    """Whether the contract declares the raw field `name` without protection; what it does not declare is not public.

    "*" stands for all fields at once.
    """
    if name == "*":
        return all(field.privacy is None for field in contract.fields)
    return any(field.name == name and field.privacy is None for field in contract.fields)


def _shortened(text: bytes) -> bytes:
    return b"blake2b:" + hashlib.blake2b(text, digest_size=32).hexdigest().encode()

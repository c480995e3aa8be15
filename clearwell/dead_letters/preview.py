"""What would become of an event if it were replayed now: by the pipeline itself (invariant 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from clearwell.contract.model import CleanSchema, Contract, Field, UnknownFields
from clearwell.errors import ConfigError, Fatal
from clearwell.pipeline.batch import RawBatch
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import compile
from clearwell.privacy.keyring import Keyring
from clearwell.records.dead_letter import DELIVER
from clearwell.registry import contracts
from clearwell.registry.database import Sessions
from clearwell.registry.dead_letters import RegisteredDeadLetter
from clearwell.source import EVENT_LIMIT
from clearwell.steps import bind

KEPT, DROPPED, REJECTED = "kept", "dropped", "rejected"


@dataclass(frozen=True, slots=True)
class Preview:
    """`outcome` is one of KEPT, DROPPED (`step` says by which) and REJECTED.

    `clean` is the clean event where it is kept: the protected fields in it are protected.
    """

    outcome: str
    reason: str = ""
    step: str = ""
    field: str = ""
    clean: bytes | None = None


class Verifier(Protocol):
    """Says what becomes of events that take one path."""

    version: int
    fields: tuple[Field, ...]
    """What an event on this path declares."""
    schema: CleanSchema
    unknown_fields: UnknownFields
    remembers: bool
    """Whether the outcome may depend on other events, of which a preview knows none."""

    def verify(self, letter: RegisteredDeadLetter, before: bytes, event: bytes) -> Preview:
        """The outcome of `event`, which was `before`."""


class PipelineVerifier:
    """Rejected events go through the pipeline again."""

    def __init__(self, contract: Contract, keyring: Keyring) -> None:
        """Raises Fatal when a key is missing, ContractError when a step is wrong."""
        self._pipeline = compile(contract, keyring)
        self.version = contract.version
        self.fields = contract.fields
        self.unknown_fields = contract.unknown_fields
        self.schema = self._pipeline.schema
        self.remembers = self._pipeline.lookback > 0

    def verify(self, letter: RegisteredDeadLetter, before: bytes, event: bytes) -> Preview:
        """As the cleaner takes it, with no other event before it."""
        if len(event) > EVENT_LIMIT:
            return Preview(REJECTED, f"the event is larger than {EVENT_LIMIT} bytes", "decode")
        batch = RawBatch(letter.origin_topic_id, letter.raw_partition, [letter.raw_offset], [event])
        out = self._pipeline.process(batch, self._pipeline.new_state())
        if out.rejected:
            bad = out.rejected[0]
            return Preview(REJECTED, bad.reason, bad.step, bad.field)
        return Preview(DROPPED, step=out.dropped[0][1]) if out.dropped else Preview(KEPT, clean=out.values[0])


class DeliveryVerifier:
    """Clean events go to their destination again: only the store itself can tell whether it takes one."""

    remembers = False
    unknown_fields = UnknownFields.REJECT

    def __init__(self, contract: Contract, destination: str) -> None:
        """Raises ConfigError when the contract has no such route."""
        self.schema = bind(contract).schema
        self.version = contract.version
        self.fields = self.schema.fields
        self._codec = CleanCodec(self.schema)
        self._wants = contract.route(destination).wants(self.schema)
        self._fixed = [field.name for field in self.fields if _is_fixed(field, self.schema)]

    def verify(self, letter: RegisteredDeadLetter, before: bytes, event: bytes) -> Preview:
        """Kept when it is still a clean event of the contract, and the same one in all that identifies or protects."""
        try:
            (row,) = self._codec.decode([event])
            (was,) = self._codec.decode_dicts([before])
        except Fatal:
            return Preview(REJECTED, f"it is no clean event of {letter.stream} v{self.version} any more", DELIVER)
        now = dict(zip(self._codec.names, row, strict=True))
        for name in self._fixed:
            if now[name] != was[name]:
                return Preview(REJECTED, f"{name} can't be changed after the event was cleaned", DELIVER, name)
        if self._wants is not None and not self._wants(row):
            return Preview(DROPPED, step="the route's when")
        return Preview(KEPT, clean=event)


class Verifiers:
    """The verifiers of dead letters, each made once."""

    def __init__(self, sessions: Sessions, keyring: Keyring) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._made: dict[tuple[str, int | None, str], Verifier] = {}

    def of(self, letter: RegisteredDeadLetter, version: int | None = None) -> Verifier:
        """The verifier on a dead letter's path, by a published version: the newest, of a clean event its own.

        Raises ConfigError when there is no such contract or route, or the version of a clean event is to be changed.
        """
        if letter.destination and version not in (None, letter.version):
            raise ConfigError(
                f"Dead letter {letter.id} is a clean event of {letter.stream} v{letter.version} that "
                f"{letter.destination} refused: another version of the contract is cleaned from raw by its own cleaner."
            )
        version = letter.version if letter.destination else version
        path = (letter.stream, version, letter.destination)
        if path not in self._made:
            with self._sessions() as session:
                contract = contracts.get(session, letter.stream, version).contract()
            to = letter.destination
            self._made[path] = DeliveryVerifier(contract, to) if to else PipelineVerifier(contract, self._keyring)
        return self._made[path]


def visible(schema: CleanSchema, clean: bytes) -> dict[str, Any]:
    """A clean event as people may see it: of a protected field only how it is protected."""
    event: dict[str, Any] = msgspec.json.decode(clean)
    for field in schema.fields:
        if field.privacy is not None and event.get(field.name) is not None:
            event[field.name] = f"({field.privacy.kind.value})"
    return event


def _is_fixed(field: Field, schema: CleanSchema) -> bool:
    return field.privacy is not None or field.name in (*schema.key, schema.event_id, schema.event_time, schema.subject)

"""Subscriptions as the registry knows them: made by the command line, followed by a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clearwell import settings
from clearwell.contract.load import find
from clearwell.contract.model import CleanSchema
from clearwell.errors import ConfigError
from clearwell.kafka.names import clean_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.registry import subscriptions as stored
from clearwell.registry.database import Registry
from clearwell.settings import Settings
from clearwell.steps.plan import bind
from clearwell.subscriptions.begin import Start, begin
from clearwell.subscriptions.memory import Memory
from clearwell.subscriptions.position import Position
from clearwell.subscriptions.subscription import Subscription, chosen_fields

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Registered:
    """What `register` did. `outcome` is "made", "unchanged" or "replaced"; `begins` maps partition → clean offset.

    `protected` are the fields that arrive as protected values.
    """

    name: str
    stream: str
    version: int
    topic: str
    fields: tuple[str, ...]
    protected: tuple[str, ...]
    purpose: str
    outcome: str
    begins: dict[int, int]


def follow(name: str, *, max_rows: int, idle: float | None, member: str | None) -> Subscription:
    """Open the registered subscription `name`; see `clearwell.subscription`."""
    where = settings.load()
    with _session(where) as session:
        known = stored.get_subscription(session, name)
    codec = CleanCodec(clean_schema(where, known.stream, known.version))
    memory = Memory(Registry(where.postgres), name)
    return Subscription(
        name,
        where.kafka,
        codec,
        fields=known.fields,
        max_rows=max_rows,
        idle=idle,
        member=member,
        memory=memory,
    )


def clean_schema(where: Settings, stream: str, version: int | None = None) -> CleanSchema:
    """The clean shape of a stream, from its contract. Raises ConfigError or ContractError."""
    return bind(find(where.schemas, stream, version)).schema


def register(
    name: str,
    stream: str,
    version: int | None,
    fields: Sequence[str],
    purpose: str,
    start: Start | None,
    *,
    replace: bool = False,
    dry_run: bool = False,
) -> Registered:
    """Store a subscription, and where it begins (`start`: None is the earliest event, and no change of a replaced one).

    The same one again changes nothing. Raises ConfigError for an unknown stream or field, protected fields without a
    purpose, and a different subscription of that name without `replace`.
    """
    if not NAME.match(name):
        raise ConfigError(f'"{name}" is no name for a subscription: use lower-case letters, digits, "-", "_" and ".".')
    where = settings.load()
    schema = clean_schema(where, stream, version)
    chosen = chosen_fields(schema, fields)
    protected = tuple(field.name for field in chosen if field.is_protected_text)
    if protected and not purpose:
        raise ConfigError(f"{', '.join(protected)} is protected: give a --purpose, or choose other --fields.")
    wanted = stored.Subscription(name, stream, schema.version, tuple(field.name for field in chosen), purpose)
    topic, begins = clean_topic(stream, schema.version), dict[int, int]()
    with _session(where) as session:
        outcome = _outcome(session, wanted, replace)
        if outcome != "unchanged" and not dry_run:
            _save(session, wanted, outcome)
            if start is not None:  # last: when it fails, nothing is stored
                topic_id, begins = begin(where.kafka, name, topic, start)
                with closing(Memory(Registry(where.postgres), name)) as memory:
                    memory.store(topic_id, {at: Position(topic_id, offset) for at, offset in begins.items()})
    return Registered(name, stream, schema.version, topic, wanted.fields, protected, purpose, outcome, begins)


def _outcome(session: Session, wanted: stored.Subscription, replace: bool) -> str:
    known = {one.name: one for one in stored.list_subscriptions(session)}.get(wanted.name)
    if known is None:
        return "made"
    changes = difference(known, wanted)
    if changes and not replace:
        raise ConfigError(
            f'There is another subscription "{wanted.name}": {"; ".join(changes)}. '
            "Say --replace to change it (its place in the topic stays), or take another name."
        )
    return "replaced" if changes else "unchanged"


def _save(session: Session, wanted: stored.Subscription, outcome: str) -> None:
    if outcome == "replaced":
        stored.remove_subscription(session, wanted.name)
    stored.save_subscription(session, wanted)


def difference(old: stored.Subscription, new: stored.Subscription) -> list[str]:
    """What would change, in words; empty when they are the same."""
    parts = (
        ("stream", f"{old.stream} v{old.version}", f"{new.stream} v{new.version}"),
        ("fields", ", ".join(old.fields), ", ".join(new.fields)),
        ("purpose", f'"{old.purpose}"', f'"{new.purpose}"'),
    )
    return [f"{what} {before} would become {after}" for what, before, after in parts if before != after]


def registered() -> list[stored.Subscription]:
    """All subscriptions by name."""
    with _session(settings.load()) as session:
        return stored.list_subscriptions(session)


@contextmanager
def _session(where: Settings) -> Iterator[Session]:
    registry = Registry(where.postgres)
    try:
        with registry.session() as session:
            yield session
    finally:
        registry.close()

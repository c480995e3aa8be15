"""Dead letters as people and programs see them: which there are, why, and what would become of each now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from sqlalchemy.orm import Session

from clearwell.control.clear_text import reveal
from clearwell.control.platform import Actor, Platform
from clearwell.control.published_contracts import readable
from clearwell.dead_letters.event import open_event
from clearwell.dead_letters.preview import Preview, Verifiers
from clearwell.dead_letters.shape import EventShape, shape_of
from clearwell.errors import ClearwellError
from clearwell.registry import contracts, dead_letter_decisions, dead_letter_replays, dead_letters
from clearwell.registry.dead_letter_replays import DeadLetterReplay
from clearwell.registry.dead_letters import DeadLetterCount, DeadLetterFilter, DeadLetterState, RegisteredDeadLetter

__all__ = [
    "DeadLetterCount",
    "DeadLetterDetails",
    "DeadLetterFilter",
    "DeadLetterPage",
    "DeadLetterReplay",
    "DeadLetterState",
    "RegisteredDeadLetter",
    "count_dead_letters",
    "list_dead_letters",
    "require_known",
    "reveal_dead_letter",
    "show_dead_letter",
]


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest dead letters of a filter, of `total` that it means."""

    letters: Sequence[RegisteredDeadLetter]
    total: int


class DeadLetterDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter, its replays, the shape of its event, and what would become of it by contract `version` now.

    `trouble`: one sentence where the event can't be looked into; `shape`, `preview` and `version` are None then.
    """

    letter: RegisteredDeadLetter
    replays: Sequence[DeadLetterReplay]
    shape: EventShape | None = None
    preview: Preview | None = None
    version: int | None = None
    trouble: str | None = None


def list_dead_letters(platform: Platform, selection: DeadLetterFilter, limit: int = 50) -> DeadLetterPage:
    """The newest first. Raises ConfigError, with the nearest spelling, for a name that nothing has."""
    with platform.looking() as session:
        require_known(session, selection)
        letters = dead_letters.find(session, selection, limit, newest=True)
        total = sum(part.letters for part in dead_letters.count(session, selection))
    return DeadLetterPage(letters=letters, total=total)


def count_dead_letters(platform: Platform, selection: DeadLetterFilter) -> list[DeadLetterCount]:
    """How many there are of each stream, destination, step, reason and state, most first. Raises as the list."""
    with platform.looking() as session:
        require_known(session, selection)
        return dead_letters.count(session, selection)


def show_dead_letter(platform: Platform, id_: int) -> DeadLetterDetails:
    """One dead letter, nothing of its event in the clear. Raises ConfigError when there is none."""
    with platform.looking() as session:
        letter = dead_letters.get(session, id_)
        replays = dead_letter_replays.history(session, id_)
        envelope = dead_letter_decisions.envelope(session, id_)
    if envelope is None:
        trouble = "it was discarded" if letter.ours else "the record is no dead letter of ours; nothing of it is kept"
        return DeadLetterDetails(letter=letter, replays=replays, trouble=trouble)
    try:
        verifier = Verifiers(platform.looking, platform.keyring).of(letter)
        event = open_event(platform.keyring, letter, envelope)
        preview = replace(verifier.verify(letter, event, event), clean=None)
    except ClearwellError as error:  # the rest is shown all the same
        return DeadLetterDetails(letter=letter, replays=replays, trouble=str(error))
    shape = shape_of(event, verifier.fields)
    return DeadLetterDetails(letter=letter, replays=replays, shape=shape, preview=preview, version=verifier.version)


def reveal_dead_letter(platform: Platform, actor: Actor, id_: int) -> bytes:
    """The event in the clear, as it would be sent now; audited. Raises ConfigError or SealError when it can't be."""
    with platform.looking() as session:
        letter = dead_letters.get(session, id_)

    def read(session: Session) -> bytes:
        return open_event(platform.keyring, letter, dead_letter_decisions.envelope(session, id_))

    return reveal(platform, actor, dead_letter_decisions.target(letter.stream, id_), read)


def require_known(session: Session, selection: DeadLetterFilter) -> None:
    """Raise ConfigError, with the nearest spelling, for a name that neither a dead letter nor a contract has."""
    published = readable(contracts.current(session))
    if any(contract.stream == selection.stream for contract in published):
        selection = replace(selection, stream=None)
    if any(route.to == selection.destination for contract in published for route in contract.routes):
        selection = replace(selection, destination=None)
    dead_letters.require_known(session, selection)

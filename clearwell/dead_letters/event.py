"""The event of a registered dead letter, out of its envelope and back into one."""

from __future__ import annotations

from clearwell.errors import ConfigError
from clearwell.privacy.envelope import Sealer, draw_nonces
from clearwell.privacy.keyring import Keyring
from clearwell.records import dead_letter
from clearwell.records.dead_letter import DeadLetter
from clearwell.registry.dead_letters import RegisteredDeadLetter


def open_event(keyring: Keyring, letter: RegisteredDeadLetter, envelope: str | None) -> bytes:
    """The event in the clear: raw as it came or was changed, or (with a destination) the clean event's JSON.

    Raises ConfigError when the event was discarded or was never ours, SealError when the envelope does not open.
    """
    if envelope is None:
        gone = "its event was discarded" if letter.ours else "it is no dead letter of ours, and nothing of it is kept"
        raise ConfigError(f"Dead letter {letter.id} can't be opened: {gone}.", code="event_is_gone")
    return dead_letter.open_event(keyring, letter, envelope)


def seal_event(keyring: Keyring, letter: DeadLetter, event: bytes) -> str:
    """The envelope of a changed event. Raises Fatal when there is no key (invariant 6)."""
    sealer = Sealer(keyring.seal_key(None), letter.stream)
    return sealer.seal(letter.sealed_field, letter.event_id, event, next(draw_nonces(1)))

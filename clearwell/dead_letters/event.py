"""The event of a dead letter, out of its envelope and back into one."""

from __future__ import annotations

from clearwell.errors import ConfigError
from clearwell.privacy.envelope import Sealer, draw_nonces, unseal
from clearwell.privacy.keyring import Keyring
from clearwell.records import dead_letter
from clearwell.registry.dead_letters import Letter


class Envelopes:
    """Opens and seals the events of dead letters, each under its own stream, place and destination."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def open(self, letter: Letter, envelope: str | None) -> bytes:
        """The event in the clear: raw as it came or was mended, or (with a destination) the clean event's JSON.

        Raises ConfigError when the event was dropped or was never ours, SealError when the envelope does not open.
        """
        if envelope is None:
            gone = "its event was dropped" if letter.ours else "it is no dead letter of ours, and nothing of it is kept"
            raise ConfigError(f"Dead letter {letter.id} can't be opened: {gone}.")
        return unseal(self._keyring, letter.stream, _field(letter), _place(letter), envelope)

    def seal(self, letter: Letter, event: bytes) -> str:
        """The envelope of a mended event. Raises Fatal when there is no key (invariant 6)."""
        sealer = Sealer(self._keyring.seal_key(None), letter.stream)
        return sealer.seal(_field(letter), _place(letter), event, next(draw_nonces(1)))


def _field(letter: Letter) -> str:
    return dead_letter.WHOLE + letter.destination


def _place(letter: Letter) -> str:
    return dead_letter.event_id(letter.raw_topic, letter.raw_partition, letter.raw_offset)

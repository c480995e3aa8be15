"""Where keys come from. One interface for a local file now and for per-subject keys behind a KMS later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DataKey:
    """A 32-byte key and the id under which envelopes name it. The secret stays out of repr (invariant 10)."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.id!r})"


class Keyring(Protocol):
    """Hands out keys. No key means stop, never pass (invariant 6)."""

    def seal_key(self, subject: str | None) -> DataKey:
        """The key that seals events of `subject` now. Raises Fatal when there is none."""

    def open_key(self, key_id: str) -> DataKey:
        """The key an envelope names. Raises KeyError when it is unknown or destroyed."""

    def pseudonym_key(self, stream: str) -> DataKey:
        """The stable key of `stream`'s pseudonyms. Raises Fatal when there is none."""

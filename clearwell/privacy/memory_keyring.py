"""A key ring in memory, for tests and for the examples of contracts: nothing it protects outlives the process."""

from __future__ import annotations

import secrets

from clearwell.privacy.envelope import KEY_BYTES
from clearwell.privacy.keyring import DataKey
from clearwell.privacy.pseudonym import derive_key


class MemoryKeyring:
    """A `Keyring` with one fresh key for everything; `rotate` adds another and makes it the active one."""

    def __init__(self) -> None:
        self._root = secrets.token_bytes(KEY_BYTES)
        self._keys: dict[str, DataKey] = {}
        self.rotate()

    def rotate(self) -> DataKey:
        """A new active key; the ones before still open what they sealed."""
        self._active = DataKey(f"memory-{len(self._keys) + 1}", secrets.token_bytes(KEY_BYTES))
        self._keys[self._active.id] = self._active
        return self._active

    def destroy(self, key_id: str) -> None:
        """Forget a key for good. Raises KeyError when there is none."""
        del self._keys[key_id]

    def seal_key(self, subject: str | None) -> DataKey:
        """The active key, whatever the subject."""
        return self._active

    def open_key(self, key_id: str) -> DataKey:
        """The key called `key_id`. Raises KeyError when it is unknown or destroyed."""
        return self._keys[key_id]

    def pseudonym_key(self, stream: str) -> DataKey:
        """A key derived from this keyring's root."""
        return derive_key(self._root, stream)

"""Rows that are looked at again: a late commit, or a change that the cursor is too coarse to show, is among them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import blake2b

PLACE_BYTES, CONTENT_BYTES = 3, 6
_ENTRY = PLACE_BYTES + CONTENT_BYTES


class SeenRows:
    """Rows by fingerprints of their place (cursor and key) and of all they hold, so that a repeat is recognised.

    Two rows that differ have the same fingerprint of content once in 2^48; that of places only shapes an id.
    """

    def __init__(self, written: str = "") -> None:
        """`written` is what `text` gave. Raises ValueError when it is not."""
        data = b64decode(written, validate=True)
        if len(data) % _ENTRY:
            raise ValueError("cut off")
        self._entries = [data[at : at + _ENTRY] for at in range(0, len(data), _ENTRY)]
        self._contents = {entry[PLACE_BYTES:] for entry in self._entries}
        self._places = {entry[:PLACE_BYTES] for entry in self._entries}

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, entry: bytes) -> bool:
        """Whether a row with just this content was read."""
        return entry[PLACE_BYTES:] in self._contents

    def holds_place(self, entry: bytes) -> bool:
        """Whether a row was read there, with whatever content."""
        return entry[:PLACE_BYTES] in self._places

    def text(self) -> str:
        """For a position."""
        return b64encode(b"".join(self._entries)).decode()

    @classmethod
    def of(cls, entries: Iterable[bytes]) -> SeenRows:
        """These rows."""
        made = cls()
        made._entries = list(entries)
        made._contents = {entry[PLACE_BYTES:] for entry in made._entries}
        made._places = {entry[:PLACE_BYTES] for entry in made._entries}
        return made


def entry_of(place: bytes, content: bytes) -> bytes:
    """The fingerprints of a row: its place and its content as bytes."""
    return blake2b(place, digest_size=PLACE_BYTES).digest() + blake2b(content, digest_size=CONTENT_BYTES).digest()


def version_of(entry: bytes) -> str:
    """What is added to the id of a row that changed while its place stayed."""
    return entry[PLACE_BYTES:].hex()

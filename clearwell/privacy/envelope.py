"""Envelopes: a protected value as text that only its key opens.

    cw1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>      base64url without padding, RFC 4648 section 5

AES-256-GCM; the associated data is stream ‖ field ‖ event id ‖ key id, each preceded by its length in UTF-8 bytes (four
bytes, big-endian), so that no envelope can be moved to another event, field or stream, and no two different places give
the same bytes. The clear value is UTF-8 text for strings, and the JSON of the value for any other type.

Nonces are 96 random bits, the "RBG-based construction" of NIST SP 800-38D section 8.2.2. Its section 8.3 bounds one key
to 2^32 sealed values, which keeps the chance of a repeated nonce under 2^-32: rotate before (`clearwell key rotate`).
A batch draws its nonces in one call of os.urandom; each slice of it is used once, for one field of one event.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clearwell.errors import ClearwellError
from clearwell.privacy.encoding import base64url, length_prefixed, pack_length
from clearwell.privacy.keyring import DataKey, Keyring

MARK = "cw1."
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_BYTES = 32
MAX_SEALED_PER_KEY = 2**32
"""NIST SP 800-38D section 8.3, for random nonces of 96 bits."""

KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class SealError(ClearwellError):
    """An envelope does not open: it was changed, moved to another place, or its key is unknown or destroyed."""

    exit_code = 70


class Sealer:
    """Seals values of one stream under one key; keep it, because building the cipher costs as much as a seal."""

    __slots__ = ("_encrypt", "_head", "_prefixes", "_stream", "_tail", "key_id")

    def __init__(self, key: DataKey, stream: str) -> None:
        _check(key)
        self.key_id = key.id
        self._encrypt = AESGCM(key.secret).encrypt
        self._head = f"{MARK}{key.id}."
        self._tail = length_prefixed(key.id)
        self._stream = length_prefixed(stream)
        self._prefixes: dict[str, bytes] = {}

    def __repr__(self) -> str:  # invariant 10
        return f"Sealer(key {self.key_id!r})"

    def seal(self, field: str, event_id: str, clear: bytes, nonce: bytes) -> str:
        """The envelope of `clear`. `nonce` is 12 bytes of `draw_nonces`, never used before (see the module)."""
        prefix = self._prefixes.get(field)
        if prefix is None:
            prefix = self._prefixes[field] = self._stream + length_prefixed(field)
        event = event_id.encode()
        sealed = self._encrypt(nonce, clear, prefix + pack_length(len(event)) + event + self._tail)
        return self._head + base64url(nonce + sealed)


def draw_nonces(count: int) -> Iterator[bytes]:
    """`count` fresh nonces from one call of os.urandom; take each with `next`, use it once."""
    drawn = os.urandom(NONCE_BYTES * count)
    return iter([drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)])


def key_id_of(envelope: str) -> str:
    """The id of the key that opens `envelope`. Raises SealError when it is no envelope."""
    mark, _, rest = envelope.partition(".")
    key_id, dot, _ = rest.partition(".")
    if f"{mark}." != MARK or not dot or not KEY_ID.match(key_id):
        raise SealError(f"A protected value is no envelope of the version {MARK[:-1]}.")
    return key_id


def is_envelope(value: object) -> bool:
    """Whether a value looks like an envelope (nothing is opened)."""
    if not isinstance(value, str) or not value.startswith(MARK):
        return False
    key_id, dot, _ = value[len(MARK) :].partition(".")
    return bool(dot) and KEY_ID.match(key_id) is not None


def unseal(keyring: Keyring, stream: str, field: str, event_id: str, envelope: str) -> bytes:
    """The clear bytes. Raises SealError, and never returns, when anything is not as it was sealed."""
    key_id = key_id_of(envelope)
    try:
        key = keyring.open_key(key_id)
    except KeyError as error:
        raise SealError(f'The key "{key_id}" of a protected value is unknown or destroyed.') from error
    _check(key)
    sealed = _unbase64(envelope[len(MARK) + len(key_id) + 1 :])
    known = length_prefixed(stream) + length_prefixed(field) + length_prefixed(event_id) + length_prefixed(key_id)
    try:
        return AESGCM(key.secret).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], known)
    except InvalidTag as error:
        raise SealError(
            f'A protected value of "{stream}.{field}" was changed or moved since it was sealed; it does not open.'
        ) from error


def _check(key: DataKey) -> None:
    if not KEY_ID.match(key.id):
        raise ValueError("A key id consists of letters, digits, _ and -, at most 64.")
    if len(key.secret) != KEY_BYTES:
        raise ValueError(f"A key has {KEY_BYTES} bytes.")


def _unbase64(text: str) -> bytes:
    damaged = SealError("A protected value is damaged: it is not base64url of a nonce, a ciphertext and a tag.")
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise damaged from error
    if len(sealed) < NONCE_BYTES + TAG_BYTES or base64url(sealed) != text:
        raise damaged
    return sealed

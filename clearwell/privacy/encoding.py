"""How values become bytes before they are sealed or hashed, and bytes become text after."""

from __future__ import annotations

import binascii
import struct

import msgspec

pack_length = struct.Struct(">I").pack
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def clear_bytes(value: object) -> bytes:
    """The bytes of a JSON value: UTF-8 of a string as it is, the JSON of anything else."""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def base64url(data: bytes) -> str:
    """RFC 4648 section 5, without padding; four times as fast as through the base64 module's checks and str methods."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def length_prefixed(text: str) -> bytes:
    """UTF-8 of `text` after its length in bytes (four bytes, big-endian), so that joined texts stay apart."""
    known = text.encode()
    return pack_length(len(known)) + known

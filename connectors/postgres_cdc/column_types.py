"""PostgreSQL's values, as its output functions write them, to JSON without loss: one function a type, by OID.

Both a snapshot and pgoutput give these texts, so both give the same JSON. The session must write ISO dates in UTC,
`bytea` in hex and floats in full (`postgres_cdc_server.OPTIONS`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import unhexlify
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

import msgspec

ToJson = Callable[[bytes], bytes]
_encode = msgspec.json.Encoder().encode
_NOT_FINITE = frozenset((b"NaN", b"Infinity", b"-Infinity"))


def text(value: bytes) -> bytes:
    """Any text; bytes that are no UTF-8 (a database in SQL_ASCII) are written as backslash escapes."""
    try:
        return _encode(value.decode())
    except UnicodeDecodeError:
        return _encode(value.decode(errors="backslashreplace"))


def _same(value: bytes) -> bytes:
    return value


def _plain(value: bytes) -> bytes:
    """Text in which nothing needs escaping."""
    return b'"' + value + b'"'


def _number(value: bytes) -> bytes:
    """With all digits; NaN and the infinities, which JSON has not, by name."""
    return b'"' + value + b'"' if value in _NOT_FINITE else value


def _bool(value: bytes) -> bytes:
    return b"true" if value == b"t" else b"false"


def _bytea(value: bytes) -> bytes:
    return b'"' + b64encode(unhexlify(value[2:])) + b'"'


def _timestamptz(value: bytes) -> bytes:
    """ISO 8601 in UTC; "infinity", "-infinity" and years before Christ ("... BC") as PostgreSQL writes them."""
    if value.endswith(b"+00"):
        return b'"' + value[:-3].replace(b" ", b"T", 1) + b'Z"'
    return b'"' + value + b'"'


def _utc_timestamp(value: bytes) -> bytes:
    return _timestamptz(value + b"+00") if value[-1:].isdigit() else _plain(value)


def timestamp_in(zone: tzinfo) -> ToJson:
    """The function for times without a zone, which are in `zone`; with their offset in ISO 8601."""
    if zone is UTC:
        return _utc_timestamp

    def convert(value: bytes) -> bytes:
        try:
            return _plain(datetime.fromisoformat(value.decode()).replace(tzinfo=zone).isoformat().encode())
        except ValueError:  # infinity, or years that Python does not know
            return _plain(value)

    return convert


_SCALARS: dict[int, tuple[ToJson, str]] = {
    16: (_bool, "bool"),
    17: (_bytea, "bytes"),
    20: (_same, "int64"),
    21: (_same, "int32"),
    23: (_same, "int32"),
    26: (_same, "int64"),  # oid
    114: (_same, "json"),
    3802: (_same, "json"),  # jsonb
    700: (_number, "float64"),
    701: (_number, "float64"),
    1700: (_plain, "decimal"),  # as text, which is what a contract's decimal takes
    1082: (_plain, "date"),
    1114: (_utc_timestamp, "timestamp"),
    1184: (_timestamptz, "timestamp"),
    1083: (_plain, "string"),  # time
    1266: (_plain, "string"),  # timetz
    1186: (_plain, "string"),  # interval, ISO 8601
    2950: (_plain, "string"),  # uuid
}
_ARRAYS = {
    1000: 16, 1001: 17, 1016: 20, 1005: 21, 1007: 23, 1028: 26, 199: 114, 3807: 3802, 1021: 700, 1022: 701, 1231: 1700,
    1182: 1082, 1115: 1114, 1185: 1184, 1183: 1083, 1270: 1266, 1187: 1186, 2951: 2950, 1009: 25, 1015: 1043,
    1014: 1042, 1002: 18, 1003: 19, 1041: 869, 651: 650, 1040: 829, 791: 790,
}  # fmt: skip

FIRST_OWN_OID = 16384
"""Types with smaller OIDs are PostgreSQL's own and the same everywhere; what the others are only the catalog knows."""


class Types:
    """What to do with the values of a type; `learn` tells it of types that a database has made."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        """`zone` is what times without one are in."""
        self._scalars = {oid: convert for oid, (convert, _) in _SCALARS.items()} | {1114: timestamp_in(zone)}
        self._bases: dict[int, int] = {}
        self._elements: dict[int, int] = dict(_ARRAYS)

    def unknown(self, oids: list[int]) -> list[int]:
        """Those that must be looked up in the catalog."""
        known = (self._bases, self._elements)
        return [oid for oid in oids if oid >= FIRST_OWN_OID and not any(oid in types for types in known)]

    def learn(self, oid: int, base: int, element: int) -> None:
        """A domain's base type, an array's element type; 0 for what a type is not."""
        self._bases[oid] = base or oid
        if element:
            self._elements[oid] = element

    def to_json(self, oid: int) -> ToJson:
        """The function for a type; what is not known (enums, ranges, networks, composites) is text."""
        oid = self._base(oid)
        if oid in self._elements:
            element = self.to_json(self._elements[oid])
            return lambda value: array(value, element)
        return self._scalars.get(oid, text)

    def contract_type(self, oid: int) -> str:
        """The contract's word for a type."""
        oid = self._base(oid)
        if oid in self._elements:
            return "json"
        return _SCALARS[oid][1] if oid in _SCALARS else "string"

    def _base(self, oid: int) -> int:
        while (base := self._bases.get(oid, oid)) != oid:
            oid = base
        return oid


_TOKEN = re.compile(rb'[{},]|"(?:[^"\\]|\\.)*"|[^{},"]+', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def array(value: bytes, element: ToJson) -> bytes:
    """An array's text, such as `{1,NULL,{"a b"}}` or `[0:1]={1,2}`, as a JSON array; lower bounds are left out."""
    if value.startswith(b"["):
        value = value[value.index(b"=") + 1 :]
    parts: list[bytes] = []
    for token in _TOKEN.findall(value):
        if token == b"{":
            parts.append(b"[")
        elif token == b"}":
            parts.append(b"]")
        elif token == b",":
            parts.append(b",")
        elif token.startswith(b'"'):
            parts.append(element(_ESCAPE.sub(rb"\1", token[1:-1])))
        else:
            parts.append(b"null" if token == b"NULL" else element(token))
    return b"".join(parts)

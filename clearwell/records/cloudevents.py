"""CloudEvents 1.0 in Kafka's binary mode: the headers of raw, clean and dead records.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
Headers hold nothing personal (invariant 9): an id that is or may be a protected value must come in as a pseudonym.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from clearwell.kafka import names
from clearwell.kafka.message_format import AnyHeader, Header, encode_headers, varint, varint_of

JSON = b"application/json"


def attributes(source: str, kind: str) -> tuple[Header, ...]:
    """What CloudEvents requires of each event, but for its id; see `Template`."""
    return (
        (names.CE_SPECVERSION, b"1.0"),
        (names.CE_SOURCE, source.encode()),
        (names.CE_TYPE, kind.encode()),
    )


_CONNECTORS = "/connectors/"
_CONNECTOR = re.compile(_CONNECTORS + "([a-z][a-z0-9_-]{0,62})")  # as the registry names them


def source_of(connector: str) -> str:
    """The `ce_source` of what a connector of ours sends."""
    return _CONNECTORS + connector


def connector_of(headers: Sequence[AnyHeader]) -> str:
    """The connector that a raw record says it came from, as its writer says; "" where it names none."""
    for name, value in headers:
        if name == names.CE_SOURCE and value:
            source = value.decode(errors="replace")
            match = _CONNECTOR.fullmatch(source)
            return match[1] if match else ""
    return ""


class Template:
    """The headers of one source's events; all but id and time are encoded once."""

    def __init__(self, source: str, kind: str) -> None:
        """`source` is a URI reference ("/connectors/flights"), `kind` the event type ("clearwell.flights")."""
        self._constant: Sequence[Header] = (*attributes(source, kind), (names.CONTENT_TYPE, JSON))

    def plain(self, event_id: str, time: datetime, refused: str | None = None) -> list[Header]:
        """The headers of one event as pairs, as any Kafka client takes them."""
        varying = [(names.CE_TIME, rfc3339(time)), (names.CE_ID, event_id.encode())]
        return [*self._constant, *varying, *([(names.REFUSED, refused.encode())] if refused else [])]

    def at(self, time: datetime) -> Stamped:
        """The template for all events read at `time`."""
        return Stamped([*self._constant, (names.CE_TIME, rfc3339(time))])


class Stamped:
    """Encoded headers of events read at one time, but for their id."""

    def __init__(self, fixed: Sequence[Header]) -> None:
        name = names.CE_ID.encode()
        id_name = varint(len(name)) + name
        self._fixed = fixed
        self._before_id = varint(len(fixed) + 1) + encode_headers(fixed)[1:] + id_name

    def encode(self, event_id: bytes, refused: str | None = None) -> bytes:
        """The headers of one event in wire form (`Record.headers`)."""
        if refused is not None:
            return encode_headers([*self._fixed, (names.CE_ID, event_id), (names.REFUSED, refused.encode())])
        return self._before_id + varint_of(len(event_id)) + event_id


def rfc3339(time: datetime) -> bytes:
    """`time` in UTC, to the millisecond, ending in Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()

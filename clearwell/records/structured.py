"""CloudEvents 1.0 in structured mode: the record's value is the whole event, attributes and data, in JSON.

Debezium's converter and many SDKs write it by default. What is in it is the data; its attributes are the envelope's.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from clearwell.kafka.message_format import AnyHeader
from clearwell.source import Refusal

STRUCTURED = "application/cloudevents"
"""How the content type of an event in structured mode begins; its format follows ("+json")."""

JSON_EVENT = f"{STRUCTURED}+json"
BATCH = f"{STRUCTURED}-batch"


class _Envelope(msgspec.Struct, frozen=True):
    specversion: str
    id: str
    source: str
    type: str
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


def content_type(headers: Iterable[AnyHeader]) -> str:
    """The content type that a record's headers name, lower-case and without parameters; "" where they name none."""
    for name, value in headers:
        if name.lower() == "content-type" and value:
            return value.decode(errors="replace").partition(";")[0].strip().lower()
    return ""


def unwrapped(value: bytes, kind: str) -> bytes | Refusal:
    """The data of an event in structured mode, as it was written; `kind` is its content type.

    Never raises: what is no such event is a reason, since its neighbours must flow (invariant 5).
    """
    if kind.startswith(BATCH):
        return Refusal.CLOUDEVENTS_BATCH
    if kind != JSON_EVENT:
        return Refusal.CLOUDEVENTS_FORMAT
    try:
        event = msgspec.json.decode(value, type=_Envelope)
    except Exception:  # hostile data raises outside msgspec's own errors too
        return Refusal.NO_CLOUDEVENT
    if not event.specversion.startswith("1.") or not (event.id and event.source and event.type):
        return Refusal.NO_CLOUDEVENT
    data = bytes(event.data)
    if (not data) == (event.data_base64 is None):
        return Refusal.CLOUDEVENT_DATA
    return data or _binary(event.data_base64 or "")


def attribute(value: bytes, name: str) -> str:
    """What the envelope of a JSON event calls `name` ("id"), a text; "" where there is none. Never raises."""
    try:
        written = msgspec.json.decode(value, type=dict[str, msgspec.Raw]).get(name)
        return "" if written is None else msgspec.json.decode(written, type=str)
    except Exception:  # hostile data raises outside msgspec's own errors too
        return ""


def is_envelope(value: bytes) -> bool:
    """Whether a value reads as a CloudEvent in structured mode."""
    return b'"specversion"' in value and not isinstance(unwrapped(value, JSON_EVENT), Refusal)


def _binary(text: str) -> bytes | Refusal:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return Refusal.CLOUDEVENT_DATA

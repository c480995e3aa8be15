"""Events that somebody sends us over HTTP: signed requests with one event or many."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from itertools import islice
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from clearwell.records.structured import BATCH, JSON_EVENT, STRUCTURED, unwrapped
from clearwell.source import (
    EVENT_LIMIT,
    DiscoveredStream,
    Refusal,
    Request,
    RequestRefused,
    SourceConfig,
    SourceEvent,
    refuse,
)
from connectors.field_id import FieldId
from connectors.http.json_body import is_lines, list_items, require_json
from connectors.http.split import NotJson, TooMany
from connectors.webhook.signatures import Hmac, Standard

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")


class WebhookConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sent to `POST /push/<connector>`, and who may.

    Answers are 401 for a wrong signature, 400 for what is no JSON, 413 for too many events.
    """

    signature: Annotated[
        Standard | Hmac | Literal["none"],
        Meta(
            description="how requests are signed: `type: standard` (Standard Webhooks) or `type: hmac`; only the "
            'word "none" lets anyone send.'
        ),
    ]
    format: Annotated[
        Literal["auto", "json", "ndjson"],
        Meta(
            description='"json" is one event, or a list of events; "ndjson" an event a line; "auto" is "json" for '
            "what is JSON as a whole, with the data of CloudEvents in structured mode or in a batch, and "
            '"ndjson" for what is not and has its content type. A content type, which no signature '
            "covers, never makes other events of a body."
        ),
    ] = "auto"
    id_field: Annotated[
        str | None,
        Meta(
            description="the field whose value is an event's id. Without it, or where an event lacks it, the id is "
            'the delivery\'s (`webhook-id`, or with the `id_header` of "hmac" a hash of the signed '
            'body), with "/<number>" in a list; where there is none either, it is a hash of the event, '
            "of a CloudEvent with its attributes: what is sent again is then the same event, and so is "
            "what is alike to the last byte."
        ),
    ] = None
    most_events: Annotated[int, Meta(ge=1, le=100_000, description="in one request.")] = 10_000


class WebhookSource:
    """Is sent events over HTTP."""

    name: ClassVar[str] = "webhook"
    Config: ClassVar[type[SourceConfig]] = WebhookConfig

    def __init__(self, config: WebhookConfig) -> None:
        """Raises ConfigError when a secret can't be one."""
        self._config = config
        self._signature = None if config.signature == "none" else config.signature
        if self._signature is not None:
            self._signature.require_sound()
        self._id = None if config.id_field is None else FieldId(config.id_field)

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field; without one an id may be a hash of the event."""
        return (self._config.id_field or "*",)

    def check(self) -> None:
        """The configuration was judged when it was read; nothing is asked."""

    def discover(self) -> list[DiscoveredStream]:
        """Nothing can be known before something was sent."""
        return []

    def receive(self, request: Request) -> Sequence[SourceEvent]:
        """The events of a request, in its order. Raises RequestRefused."""
        if request.method != "POST":
            raise RequestRefused(405, "Events are sent with POST.")
        if self._signature is not None:
            self._signature.require_signed(request)
        items, is_list = self._items(request)
        delivery = self._delivery(request)
        return [
            self._event(item, data, f"{delivery}/{number}" if delivery and is_list else delivery)
            for number, (item, data) in enumerate(items)
        ]

    async def close(self) -> None:
        """Nothing is open."""

    def _delivery(self, request: Request) -> str:
        """What tells a request from others: of what was signed alone, so that a replay is known again. "" for none."""
        if not isinstance(self._signature, Hmac):
            return request.headers.get("webhook-id", "")
        if self._signature.id_header is None:
            return ""
        return hashlib.blake2b(request.body, digest_size=16).hexdigest()

    def _items(self, request: Request) -> tuple[list[tuple[bytes, bytes]], bool]:
        """The events as they were written, each with its data, and whether there could have been many.

        Signatures cover the body alone: a body that was sent again under another content type must not become other
        events. So that type decides only whether a body is refused.
        """
        body, most = request.body.strip(), self._config.most_events
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        by_lines = is_lines(body) if self._config.format == "auto" else self._config.format == "ndjson"
        if by_lines and (self._config.format == "ndjson" or kind in NDJSON):
            return [(line, line) for line in self._lines(body)], True
        try:
            if by_lines:
                raise NotJson
            items = list_items(body, most) if body.startswith(b"[") else [body]
            for item in items:
                require_json(item)
        except NotJson:
            raise RequestRefused(400, "The body is no JSON: send an object, a list of objects, or NDJSON.") from None
        except TooMany:
            raise self._too_many() from None
        unwraps = self._config.format == "auto"
        return [(item, _data(item, kind) if unwraps else item) for item in items], body.startswith(b"[")

    def _lines(self, body: bytes) -> list[bytes]:
        most = self._config.most_events
        items = list(islice(filter(None, (line.strip() for line in BytesIO(body))), most + 1))
        if len(items) > most:
            raise self._too_many()
        return items

    def _too_many(self) -> RequestRefused:
        return RequestRefused(413, f"A request holds at most {self._config.most_events} events.")

    def _event(self, item: bytes, data: bytes, delivery: str) -> SourceEvent:
        event_id = None if self._id is None else self._id.of(data)
        event_id = event_id or delivery or hashlib.blake2b(item, digest_size=16).hexdigest()
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)


def _data(item: bytes, kind: str) -> bytes:
    """The data of a CloudEvent, whatever the request calls it; another item is its own. Over HTTP there is a batch mode
    too: a list of such events.
    """
    if kind.startswith(STRUCTURED):
        data = unwrapped(item, JSON_EVENT if kind == f"{BATCH}+json" else kind)
        if isinstance(data, Refusal):
            raise RequestRefused(400, f"An event of this request is not taken: {data}.")
        return data
    if b"specversion" not in item:  # nearly all
        return item
    data = unwrapped(item, JSON_EVENT)
    return item if isinstance(data, Refusal) else data

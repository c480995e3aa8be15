"""Clean events as signed requests: CloudEvents over HTTP, signed as Standard Webhooks says.

One event is sent in CloudEvents' binary mode: its attributes are `ce-` headers, the body is the event as it is in the
clean topic. Several are a JSON array in CloudEvents' batch mode. https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from standardwebhooks.webhooks import Webhook

from clearwell.contract.model import CleanSchema
from clearwell.destinations.cloud_event import JSON, attributes_of, id_of
from clearwell.destinations.protocol import CleanBatch
from clearwell.errors import ConfigError

BATCH = "application/cloudevents-batch+json; charset=utf-8"
SHORTEST = 24
"""Bytes of a secret at least, by Standard Webhooks."""


class PostRequest(NamedTuple):
    """One POST. `id` is the same whenever the same events are sent together."""

    id: str
    headers: Mapping[str, str]
    body: bytes


class Requests:
    """Makes the requests of one stream."""

    def __init__(self, schema: CleanSchema, secrets: Sequence[str]) -> None:
        """Raises ConfigError when a secret can't be one."""
        self._attributes = attributes_of(schema)
        self._signers = [_signer(secret) for secret in secrets]

    def single(self, batch: CleanBatch, index: int) -> PostRequest:
        """One event by itself; the request's id is the event's."""
        event_id = id_of(batch, index)
        told = {f"ce-{name}": value for name, value in self._attributes.items()}
        return self._signed(event_id, {**told, "ce-id": event_id, "content-type": JSON}, batch.values[index])

    def array(self, batch: CleanBatch, indexes: Sequence[int]) -> PostRequest:
        """Several events in order; the request's id says which of the clean topic they are."""
        first, last = batch.offsets[indexes[0]], batch.offsets[indexes[-1]]
        events = [
            {
                **self._attributes,
                "id": id_of(batch, index),
                "datacontenttype": JSON,
                "data": msgspec.Raw(batch.values[index]),
            }
            for index in indexes
        ]
        name = f"{batch.topic_id}/{batch.partition}/{first}-{last}/{len(indexes)}"
        return self._signed(name, {"content-type": BATCH}, msgspec.json.encode(events))

    def _signed(self, name: str, headers: Mapping[str, str], body: bytes) -> PostRequest:
        now = datetime.now(UTC)
        text = body.decode()
        signatures = " ".join(signer.sign(name, now, text) for signer in self._signers)
        signed = {
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures,
        }
        return PostRequest(name, {**headers, **signed}, body)


def _signer(secret: str) -> Webhook:
    try:
        written = secret.removeprefix("whsec_").rstrip("=")
        key = base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except ValueError:
        key = b""
    if len(key) < SHORTEST:
        raise ConfigError(f"A secret in `secrets` is no `whsec_…` of at least {SHORTEST} bytes in base64.")
    return Webhook(key)

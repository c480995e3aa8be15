"""A sender of signed webhooks, by Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from clearwell.settings import Settings
from clearwell.source import Request

SECRET = "whsec_" + base64.b64encode(b"the secret of the test, 32 bytes").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret that went before it..").decode()


def signed(body: bytes, secret: str = SECRET, at: float | None = None, delivery: str | None = None) -> Request:
    """A request as Standard Webhooks has it, signed without the library that the source uses."""
    delivery = delivery or f"msg_{uuid.uuid4().hex}"
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b".".join((delivery.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    return Request("POST", headers, {}, body)


def changed(request: Request, body: bytes | None = None, **headers: str | None) -> Request:
    """`request` with another body, or other headers (None: without)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in {**request.headers, **named}.items() if value is not None}
    return Request(request.method, kept, request.query, request.body if body is None else body)


class WebhookCase:
    """Its source takes the old and the new secret, as while a sender changes them."""

    kind = "webhook"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "new").write_text(SECRET)
        (folder / "old").write_text(OLD_SECRET)
        secrets = [f"${{file:{folder / 'old'}}}", f"${{file:{folder / 'new'}}}"]
        self.config: dict[str, Any] = {"signature": {"type": "standard", "secrets": secrets}}
        self._sent = 0

    @property
    def broken(self) -> Mapping[str, Mapping[str, Any]]:
        """What people get wrong."""
        return {
            "a short secret": {"signature": {"type": "standard", "secrets": ["whsec_c2hvcnQ="]}},
            "no base64": {"signature": {"type": "standard", "secrets": ["whsec_?"]}},
            "a short HMAC secret": {"signature": {"type": "hmac", "secrets": ["short"]}},
        }

    def bodies(self, count: int) -> list[bytes]:
        """The next `count` events."""
        first, self._sent = self._sent, self._sent + count
        return [b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}' % (n, n) for n in range(first, self._sent)]

    def request(self, count: int) -> Request:
        """One event alone, several as a list."""
        bodies = self.bodies(count)
        return self.around(bodies[0] if count == 1 else b"[" + b", ".join(bodies) + b"]")

    def around(self, body: bytes) -> Request:
        """Signed with the new secret."""
        return signed(body)

    def forged(self) -> Mapping[str, Request]:
        """What must be refused."""
        good = signed(b'{"id":"forged"}')
        return {
            "another secret": signed(b"{}", "whsec_" + base64.b64encode(b"x" * 32).decode()),
            "an old time stamp": signed(b"{}", at=time.time() - 301),
            "a time stamp of tomorrow": signed(b"{}", at=time.time() + 600),
            "another body": changed(good, b'{"id":"other"}'),
            "another id": changed(good, webhook_id="msg_other"),
            "no id": changed(good, webhook_id=None),
            "no signature": changed(good, webhook_signature=None),
            "no time stamp": changed(good, webhook_timestamp=None),
            "another version": changed(good, webhook_signature=good.headers["webhook-signature"].replace("v1", "v2")),
            "nonsense": changed(good, webhook_signature="ä,ö ü", webhook_timestamp="NaN"),
            "no JSON": signed(b"no json"),
            "nothing": signed(b""),
            "half a list": signed(b'[{"id":"1"},'),
            "GET": Request("GET", good.headers, {}, good.body),
        }

    def number(self, data: bytes) -> int:
        """The event's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Nothing to let go of."""


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> WebhookCase:
    """A sender of its own."""
    return WebhookCase(folder / unique("sender"))

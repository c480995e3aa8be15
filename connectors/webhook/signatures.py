"""Whether a request was signed by someone who knows a secret of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from clearwell.errors import ConfigError
from clearwell.source import SECRET, Request, RequestRefused

Secrets = Annotated[list[Annotated[str, SECRET]], Meta(min_length=1, max_length=16)]
SHORTEST = 16
"""Bytes of a secret at least: a shorter one can be guessed."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """Base of the ways of signing. Several secrets at once let a sender change from one to the next."""

    secrets: Annotated[
        Secrets,
        Meta(description="any of them may have signed; of Standard Webhooks as the sender shows them, `whsec_…`."),
    ]

    def __repr__(self) -> str:  # invariant 10
        return f"{type(self).__name__}()"

    def require_sound(self) -> None:
        """Raises ConfigError when a secret can't be one."""
        raise NotImplementedError

    def require_signed(self, request: Request) -> None:
        """Raises RequestRefused (401) unless the request's signature is right."""
        raise NotImplementedError


class Standard(Signature, frozen=True, kw_only=True, tag="standard"):
    """Standard Webhooks: `webhook-id`, `webhook-timestamp` (at most five minutes off) and `webhook-signature`."""

    def require_sound(self) -> None:
        """They must be base64 of enough bytes."""
        for secret in self.secrets:
            try:
                written = secret.removeprefix("whsec_").rstrip("=")
                length = len(base64.b64decode(written + "=" * (-len(written) % 4), validate=True))
            except ValueError:
                length = 0
            if length < SHORTEST:
                raise ConfigError(f"A secret in `secrets` is no `whsec_…` of at least {SHORTEST} bytes in base64.")

    def require_signed(self, request: Request) -> None:
        """By any of the secrets."""
        headers = {name: value for name, value in request.headers.items() if name.startswith("webhook-")}
        for secret in self.secrets:
            try:
                Webhook(secret).verify(request.body, headers, json_parse=False)
            except EmptyWebhookSecretError:
                continue
            except Exception:  # noqa: S112 - whatever a hostile header makes the library raise means: not signed
                continue
            return
        raise RequestRefused(401, "The request's signature, id or time stamp is not right, or missing.")


class Hmac(Signature, frozen=True, kw_only=True, tag="hmac"):
    """An HMAC-SHA256 of the body in one header, as GitHub and many others send it. Only the body is signed, so that
    somebody who has overheard a request can send it again: its events then have the same ids.
    """

    header: Annotated[str, Meta(description="where the signature is.")] = "X-Hub-Signature-256"
    prefix: Annotated[str, Meta(description="what stands before it.")] = "sha256="
    encoding: Annotated[Literal["hex", "base64"], Meta(description="how it is written.")] = "hex"
    id_header: Annotated[
        str | None,
        Meta(
            description="the header with the delivery's id, such as `X-GitHub-Delivery`: then a request is an event "
            "of its own by its whole body, however alike the events in it are. The header itself is not "
            "signed, and whoever sends a request again may write another: it makes no id."
        ),
    ] = None

    def require_sound(self) -> None:
        """They must be long enough."""
        if any(len(secret.encode()) < SHORTEST for secret in self.secrets):
            raise ConfigError(f"A secret in `secrets` has fewer than {SHORTEST} bytes: choose a longer one.")

    def require_signed(self, request: Request) -> None:
        """By any of the secrets; all are compared, in constant time."""
        sent = request.headers.get(self.header.lower(), "").strip().encode(errors="surrogateescape")
        signed = [hmac.compare_digest(self._expected(secret, request.body).encode(), sent) for secret in self.secrets]
        if not any(signed):
            raise RequestRefused(401, "The request's signature is not right, or missing.")

    def _expected(self, secret: str, body: bytes) -> str:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
        return self.prefix + (digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode())

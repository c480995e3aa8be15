"""Who a source is to an HTTP server: credentials as configured, sent to that server alone."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse, ClientSession
from msgspec import Meta
from yarl import URL

from clearwell.errors import ConfigError, Retryable
from clearwell.source import SECRET
from connectors.http.failures import body_of, failures, place_of, web_url

TOKEN_BYTES = 1_048_576
RENEW_BEFORE = 60.0
"""Seconds before its end at which a token is renewed."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """Base of the ways to say who we are."""

    def __repr__(self) -> str:  # invariant 10
        return f"{type(self).__name__}()"


class Bearer(Auth, frozen=True, kw_only=True, tag="bearer"):
    """A token."""

    token: Annotated[str, SECRET, Meta(description="sent as `Authorization: Bearer …`.")]


class Header(Auth, frozen=True, kw_only=True, tag="header"):
    """A header of the API's own."""

    name: Annotated[str, Meta(description="of the header, such as `X-Api-Key`.")]
    value: Annotated[str, SECRET, Meta(description="what it says.")]


class Basic(Auth, frozen=True, kw_only=True, tag="basic"):
    """HTTP Basic authentication."""

    username: Annotated[str, Meta(description="sent by HTTP Basic authentication.")]
    password: Annotated[str, SECRET, Meta(description="sent by HTTP Basic authentication.")]


class ClientCredentials(Auth, frozen=True, kw_only=True, tag="oauth2_client_credentials"):
    """A token is fetched (RFC 6749, 4.4), kept until it ends, and renewed once when the server refuses it."""

    token_url: Annotated[str, Meta(description="where.")]
    client_id: Annotated[
        str,
        Meta(
            description="who we are there, sent by HTTP Basic authentication, or with `in_body: true` in the "
            "request's body."
        ),
    ]
    client_secret: Annotated[
        str,
        SECRET,
        Meta(
            description="who we are there, sent by HTTP Basic authentication, or with `in_body: true` in the "
            "request's body."
        ),
    ]
    scope: Annotated[str, Meta(description="what the token is for, where the server asks for it.")] = ""
    audience: Annotated[str, Meta(description="what the token is for, where the server asks for it.")] = ""
    in_body: bool = False


AnyAuth = Bearer | Header | Basic | ClientCredentials


def fixed_headers(auth: AnyAuth | None, more: Mapping[str, str]) -> dict[str, str]:
    """The headers that never change. Raises ConfigError for what no header can hold."""
    headers = dict(more)
    if isinstance(auth, Bearer):
        headers["Authorization"] = f"Bearer {auth.token}"
    elif isinstance(auth, Header):
        headers[auth.name] = auth.value
    elif isinstance(auth, Basic):
        headers["Authorization"] = _basic(auth.username, auth.password)
    for name, value in headers.items():
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError("The name of a header in `headers` or `auth` holds characters that none may hold.")
        if not value.isprintable():
            raise ConfigError(f"The value of the header {name} is not one line of text: has a line break slipped in?")
    return headers


class Credentials:
    """An aiohttp middleware: puts headers on requests to one origin, and on no others (a redirect may lead to them)."""

    def __init__(self, origin: URL, auth: AnyAuth | None, headers: Mapping[str, str]) -> None:
        self._origin = origin
        self._fixed = fixed_headers(auth, headers)
        self._tokens = Tokens(auth) if isinstance(auth, ClientCredentials) else None

    def use(self, session: ClientSession, guard_for: Callable[[URL], ClientMiddlewareType]) -> None:
        """Fetch tokens by `session`; `guard_for` makes the middleware that judges where a request leads."""
        if self._tokens is not None:
            self._tokens.use(session, guard_for)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send `request`; with a new token once more when the server refuses the old one."""
        if request.url.origin() != self._origin:
            return await handler(request)
        request.headers.update(self._fixed)
        if self._tokens is None:
            return await handler(request)
        token = await self._tokens.current()
        request.headers["Authorization"] = f"Bearer {token.value}"
        response = await handler(request)
        if response.status == 401 and not token.fresh:
            response.release()
            token = await self._tokens.fetch()
            request.headers["Authorization"] = f"Bearer {token.value}"
            response = await handler(request)
        return response


@dataclass(frozen=True, slots=True)
class Token:
    """`fresh` says that it was fetched for this very request."""

    value: str
    fresh: bool


class Tokens:
    """The token of OAuth2 client credentials."""

    _session: ClientSession
    _guard: ClientMiddlewareType

    def __init__(self, auth: ClientCredentials) -> None:
        self._auth = auth
        self._url = web_url(auth.token_url, "token_url", ("https", "http"))
        self._token = ""
        self._ends = 0.0

    def use(self, session: ClientSession, guard_for: Callable[[URL], ClientMiddlewareType]) -> None:
        """As `Credentials.use`."""
        self._session, self._guard = session, guard_for(self._url)

    async def current(self) -> Token:
        """The kept token while it lasts, else a new one. Raises as `fetch`."""
        if self._token and time.monotonic() < self._ends:
            return Token(self._token, fresh=False)
        return await self.fetch()

    async def fetch(self) -> Token:
        """A new token. Raises ConfigError when the server refuses, Retryable when it can't answer."""
        server = place_of(self._url)
        with failures(f"The token server {server}"):
            async with self._session.post(
                self._url, data=self._form(), headers=self._headers(), middlewares=(self._guard,)
            ) as response:
                if response.status >= 500 or response.status in (408, 425, 429):
                    raise Retryable(f"The token server {server} gives no token now ({response.status}); trying again.")
                if response.status != 200:
                    raise ConfigError(
                        f"The token server {server} refused us ({response.status}): set `client_id`, `client_secret`, "
                        "`scope` and `token_url` right."
                    )
                return self._take(await body_of(response, TOKEN_BYTES), server)

    def _take(self, body: bytes | None, server: str) -> Token:
        try:
            answer: dict[str, Any] = msgspec.json.decode(body or b"", type=dict[str, Any])
            value, lasts = answer["access_token"], float(answer.get("expires_in") or 300)
            if not isinstance(value, str) or not value.isprintable():
                raise ValueError
        except Exception:  # hostile data raises outside msgspec's own errors too
            raise ConfigError(f"The token server {server} answered without a token: set `token_url` right.") from None
        self._token = value
        self._ends = time.monotonic() + max(lasts - RENEW_BEFORE, lasts / 2)
        return Token(value, fresh=True)

    def _form(self) -> dict[str, str]:
        auth = self._auth
        form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
        if auth.in_body:
            form |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
        return {name: value for name, value in form.items() if value}

    def _headers(self) -> dict[str, str]:
        auth = self._auth
        return {} if auth.in_body else {"Authorization": _basic(auth.client_id, auth.client_secret)}


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()

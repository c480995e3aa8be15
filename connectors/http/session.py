"""HTTP sessions of sources: addresses are judged at the moment of connecting, certificates always verified."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from aiohttp import (
    ClientHandlerType,
    ClientMiddlewareType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Meta
from yarl import URL

from clearwell.egress import rules
from clearwell.errors import ConfigError
from clearwell.source import SECRET_IN_URL, PemFile, SourceConfig
from connectors.http.auth import AnyAuth, Credentials
from connectors.http.failures import place_of, web_url

Seconds = Annotated[float, Meta(gt=0, le=3_600)]


class HttpSourceConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sources that speak HTTP are told."""

    url: Annotated[str, SECRET_IN_URL, Meta(description="where to read, `https://…`; of a WebSocket `wss://…`.")]
    headers: Annotated[dict[str, str], Meta(description="sent with every request; a secret one goes into `auth`.")] = {}
    auth: Annotated[
        AnyAuth | None,
        Meta(
            description="who we are: `type: bearer`, `header`, `basic` or `oauth2_client_credentials`; it is sent to "
            "the host of `url` alone, also after a redirect."
        ),
    ] = None
    ca: PemFile | None = None
    timeout: Annotated[Seconds, Meta(description="seconds for connecting; of a polled API, for one answer.")] = 30.0

    def __repr__(self) -> str:  # invariant 10
        return f"{type(self).__name__}()"


class JudgingResolver(AbstractResolver):
    """Resolves names to the addresses that may be reached: those, and no others, are then connected to."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ConfigError when no address may be reached, OSError when there is none."""
        addresses = await self._resolver.resolve(host, port, family)
        now = rules()
        allowed = [address for address in addresses if now.allows(host, address["host"])]
        if addresses and not allowed:
            now.require(host, addresses[0]["host"])
        return allowed

    async def close(self) -> None:
        """Nothing is kept."""


class HttpServer:
    """The server in a configuration. Makes no connection yet; raises ConfigError for what can't be one."""

    def __init__(self, config: HttpSourceConfig, schemes: tuple[str, ...] = ("https", "http")) -> None:
        self.url = web_url(config.url, "url", schemes)
        self.name = place_of(self.url)
        self._config = config
        self._credentials = Credentials(self.url.origin(), config.auth, config.headers)

    @asynccontextmanager
    async def session(self, *, endless: bool = False) -> AsyncIterator[ClientSession]:
        """A session for it; `endless` for answers that go on for ever, where only connecting is timed."""
        seconds = self._config.timeout
        timeout = ClientTimeout(total=None, sock_connect=seconds) if endless else ClientTimeout(total=seconds)
        connector = TCPConnector(resolver=JudgingResolver(), use_dns_cache=False, ssl=await self._trust())
        async with ClientSession(
            connector=connector,
            timeout=timeout,
            middlewares=(self._credentials, guard_for(self.url)),
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": "clearwell"},
        ) as session:
            self._credentials.use(session, guard_for)
            yield session

    async def _trust(self) -> ssl.SSLContext:
        ca = self._config.ca
        try:
            return await asyncio.to_thread(ssl.create_default_context, cafile=ca)
        except (OSError, ssl.SSLError):
            raise ConfigError(f"{ca} holds no certificates in PEM form: set `ca` right.") from None


def guard_for(url: URL) -> ClientMiddlewareType:
    """A middleware that sees every request, redirected ones too: bare addresses are judged, TLS is never given up."""
    secure = url.scheme in ("https", "wss")

    async def guard(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        host = request.url.host or ""
        if _is_address(host):
            rules().require(host, host)
        if secure and request.url.scheme in ("http", "ws"):
            raise ConfigError(f"{place_of(url)} redirects from TLS to a plain connection: this is not followed.")
        return await handler(request)

    return guard


async def beats(task: asyncio.Future[Any], seconds: float) -> AsyncGenerator[None, None]:
    """Yields a little before every `seconds` until `task` is done; cancels it when left early."""
    try:
        while not (await asyncio.wait({task}, timeout=0.9 * seconds))[0]:
            yield
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def pause(closed: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until `closed` is set."""
    try:
        async with asyncio.timeout(seconds):
            await closed.wait()
    except TimeoutError:
        return


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True

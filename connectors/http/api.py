"""Asks a JSON API for pages: not too often, again when it says when, and never for more than fits."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiohttp import ClientResponse, ClientSession
from yarl import URL

from clearwell.errors import ConfigError, Retryable
from connectors.http.failures import Busy, body_of, failures, require_success
from connectors.http.json_body import path_of, records, tells_of_an_error
from connectors.http.page import Page, PageRecord, marked, whole_mark
from connectors.http.split import NotJson

if TYPE_CHECKING:
    from connectors.http.poll import HttpPollConfig

log = logging.getLogger(__name__)
BOM = b"\xef\xbb\xbf"

WAITS = 3
"""How often in a row a server's Retry-After is waited for before the trouble is told."""


class Api:
    """One API by one session. `trusted` says that it has given good pages before: then HTML may pass.

    `waits`: how often in a row its Retry-After is waited for.
    """

    def __init__(
        self, session: ClientSession, name: str, config: HttpPollConfig, *, trusted: bool, waits: int = WAITS
    ) -> None:
        self._session = session
        self._name = name
        self._config = config
        self._trusted = trusted
        self._waits = waits
        self._path = path_of(config.records)
        self._limit = int(config.page_megabytes * 1_000_000)
        self._gap = 1 / config.requests_per_second if config.requests_per_second else 0.0
        self._next = 0.0

    async def page(self, url: URL) -> Page:
        """The page at `url`. Raises Retryable for what may pass, ConfigError for what must be mended."""
        for attempt in range(self._waits + 1):
            await self._take_turn()
            try:
                return await self._ask(url)
            except Busy as busy:
                if attempt == self._waits:
                    raise
                log.warning("%s (in %.0f s, as it asks)", busy, busy.seconds)
                await asyncio.sleep(busy.seconds)
        raise AssertionError("unreachable")

    async def _take_turn(self) -> None:
        now = time.monotonic()
        turn = max(self._next, now)
        self._next = turn + self._gap
        await asyncio.sleep(turn - now)

    async def _ask(self, url: URL) -> Page:
        config = self._config
        with failures(self._name):
            async with self._session.request(config.method, url, json=config.body, max_redirects=5) as response:
                require_success(response.status, response.headers, self._name)
                body = await body_of(response, self._limit)
                kind, link = response.content_type, _next_link(response)
        if body is None:
            raise ConfigError(
                f"{self._name} sent a page larger than {config.page_megabytes:g} MB: "
                "ask for smaller pages in `params`, or raise `page_megabytes`."
            )
        body = body.removeprefix(BOM)
        try:
            items = await asyncio.to_thread(self._records, body)
        except NotJson:
            raise self._not_json(kind, body) from None
        self._trusted = True
        return Page(body, items, link)

    def _records(self, body: bytes) -> list[PageRecord]:
        """The records of an answer. Raises NotJson, and Retryable or ConfigError when there are none for a reason."""
        if not body.strip():
            return []
        items = records(body, self._path)
        if items:
            return marked(items)
        if tells_of_an_error(body):
            raise Retryable(f"{self._name} answered with an error instead of records, though by status 200.")
        if items is None and not self._config.missing_is_empty:
            sentence = f"{self._name} sent JSON without a list at `records: {self._config.records}`"
            if self._trusted:
                raise Retryable(f"{sentence}; trying again.")
            raise ConfigError(
                f"{sentence}: set `records` right, or `missing_is_empty: true` if the API leaves an empty list out."
            )
        return []

    def _not_json(self, kind: str, body: bytes) -> Exception:
        html = kind.endswith("html") or body.lstrip()[:1] == b"<"
        what = "an HTML page" if html else f"no JSON, or JSON without a list at `records: {self._config.records}`,"
        sentence = f"{self._name} sent {what} instead of records"
        if self._trusted:
            return Retryable(f"{sentence}; trying again.")
        return ConfigError(f"{sentence}: set `url`, `records` and `auth` right.")


def _next_link(response: ClientResponse) -> URL | None:
    try:
        link = response.links.get("next")
        return None if link is None else URL(str(link["url"]))
    except ValueError:
        raise Retryable("The link to the next page is no valid URL; trying again.") from None


class LoopWatch:
    """Notices when an API leads round in circles, without remembering all it saw (Brent's algorithm)."""

    def __init__(self) -> None:
        self._before = ""
        self._anchor: str | None = None
        self._steps, self._power = 0, 1

    def require_progress(self, at: str | None, page: Page) -> None:
        """Raises ConfigError when `page`, got at `at`, is as the one before it, or `at` was there before."""
        mark = whole_mark(page.records) if page.records else ""
        if mark and mark == self._before:
            raise ConfigError("The same page came twice: does the API know the parameter that `paging` sends?")
        if at is not None and at == self._anchor:
            raise ConfigError("The API's paging goes round in circles: it named a page again that was read before.")
        self._before = mark
        self._steps += 1
        if self._steps == self._power:
            self._anchor, self._steps, self._power = at, 0, self._power * 2

"""A JSON API over HTTP, read page by page, once or again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from clearwell.errors import ConfigError
from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    Batch,
    Count,
    DiscoveredStream,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    refuse,
)
from connectors.field_id import FieldId
from connectors.http.api import Api, LoopWatch
from connectors.http.failures import NotThere
from connectors.http.page import Page, PageRecord, news
from connectors.http.paging import AnyPaging, PagePosition, Since, Single
from connectors.http.session import HttpServer, HttpSourceConfig, beats, pause
from connectors.samples import field_types, json_objects

log = logging.getLogger(__name__)
SAMPLE = 1_000


class HttpPollConfig(HttpSourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which API to read, and how it is paged."""

    params: Annotated[dict[str, str], Meta(description="query parameters sent with every request.")] = {}
    method: Annotated[Literal["GET", "POST"], Meta(description='"POST" sends `body` as JSON.')] = "GET"
    body: Annotated[Any, Meta(description='what "POST" sends.')] = None
    records: Annotated[
        str,
        Meta(
            description='where in the answer the list of records is, such as "data.items" or "/data/items"; left '
            "out, the answer is the list."
        ),
    ] = ""
    missing_is_empty: Annotated[
        bool,
        Meta(
            description="the API leaves the list out where there are no records; else an answer without it is an error."
        ),
    ] = False
    paging: Annotated[
        AnyPaging,
        Meta(
            description='how to get to the next page: `type: cursor`, `page`, `offset`, `link` or `since`; "none" '
            "for one page."
        ),
    ] = Single()
    every: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=2_592_000,
                description="seconds after which to look for new records; left out, reading ends after the last page.",
            ),
        ]
        | None
    ) = None
    id_field: Annotated[
        str | None,
        Meta(
            description="the field whose value is an event's id; without it the id is a hash of the record, so that "
            "a changed record is another event, and two that are alike to the last byte on different "
            "pages are one. With `type: since` the id is made of the value and the id_field, so that a "
            "changed record is another event too."
        ),
    ] = None
    requests_per_second: Annotated[float, Meta(ge=0.01, description="at most so many.")] | None = None
    page_megabytes: Annotated[float, Meta(gt=0, le=1_024, description="a larger answer is refused.")] = 32.0


class HttpPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The last page read (`at`: a cursor, number, link or value; null for the first), and marks of its records."""

    at: str | None = None
    seen: tuple[str, ...] = ()


Found = tuple[list[SourceEvent], HttpPosition | None]


class HttpPollSource:
    """Reads a JSON API page by page."""

    name: ClassVar[str] = "http_poll"
    Config: ClassVar[type[SourceConfig]] = HttpPollConfig
    Position: ClassVar[type[SourcePosition]] = HttpPosition

    def __init__(self, config: HttpPollConfig) -> None:
        """Does no I/O yet. Raises ConfigError when the options can't work."""
        config.paging.require_sound()
        if config.body is not None and config.method == "GET":
            raise ConfigError('A `body` is sent with `method: "POST"` alone.')
        self._config = config
        self._server = HttpServer(config)
        self._url = self._server.url.update_query(config.params) if config.params else self._server.url
        self._id = None if config.id_field is None else FieldId(config.id_field)
        self._closed = asyncio.Event()
        self._items = 0

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field, and before it the one that `since` asks by; without one an id is the record's hash."""
        field, paging = self._config.id_field, self._config.paging
        if field is None:
            return ("*",)
        return (paging.field, field) if isinstance(paging, Since) and paging.field != field else (field,)

    def check(self) -> None:
        """Prove that the first page can be read."""
        asyncio.run(self._first_page())

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the end of the URL's path; types are guessed from the first page."""
        page = asyncio.run(self._first_page())
        rows = json_objects([self._event(record) for record in page.records[:SAMPLE]])
        return [DiscoveredStream(self._url.name.partition(".")[0] or "records", field_types(rows), rows)]

    async def read(self, after: HttpPosition | None) -> AsyncIterator[Batch]:
        """A page a batch; ends after the last one, unless `every` is set. Raises as `check` does."""
        position = after
        async with self._server.session() as session:
            api = Api(session, self._server.name, self._config, trusted=after is not None)
            while not self._closed.is_set():
                async with aclosing(self._walk(api, position)) as batches:
                    async for events, reached in batches:
                        position = reached
                        yield events, position
                if self._config.every is None:
                    return
                yield [], position  # nothing new is a sign of life too
                pausing = asyncio.ensure_future(pause(self._closed, self._config.every))
                async with aclosing(beats(pausing, HEARTBEAT_SECONDS)) as waiting:
                    async for _ in waiting:
                        yield [], position

    def between(self, old: HttpPosition | None, new: HttpPosition | None) -> str:
        """In the words of the way of paging."""
        if new is None:
            return "All records would be read again, from the first page on."
        return self._config.paging.between(None if old is None else old.at, new.at)

    def count(self) -> Count:
        """Records of the pages that were not read before; how many there are only the API knows."""
        return Count(self._items)

    async def close(self) -> None:
        """Stop asking; the session is closed when its reader ends or is closed."""
        self._closed.set()

    async def _walk(self, api: Api, position: HttpPosition | None) -> AsyncGenerator[Found, None]:
        """Pages from `position` to the last one."""
        page_position = PagePosition() if position is None else PagePosition(position.at, position.seen)
        watch, resumed, paging = LoopWatch(), position is not None, self._config.paging
        while not self._closed.is_set():
            asking = asyncio.ensure_future(api.page(paging.request(self._url, page_position.at)))
            async with aclosing(beats(asking, HEARTBEAT_SECONDS)) as waiting:
                async for _ in waiting:
                    yield [], position
            try:
                page = asking.result()
            except NotThere:
                if not paging.ends_by_absence(page_position.at):
                    raise
                page = None
            if resumed and paging.has_moved(page_position, page):
                who = self._server.name
                log.warning("%s: the page read last has moved, as when pages change their size; reading all again", who)
                page_position, position, resumed = PagePosition(), None, False
                continue
            if page is None:
                return  # past the last page
            resumed = False
            if not isinstance(paging, Since):
                watch.require_progress(page_position.at, page)
            fresh = self._fresh(page_position, page)
            step = paging.step(self._url, page_position, page, fresh)
            if step.here is not None:
                self._items += len(fresh)
                position = HttpPosition(at=step.here.at, seen=step.here.seen)
                yield [self._event(record) for record in fresh], position
            if step.following is None:
                return
            page_position = step.following

    def _fresh(self, page_position: PagePosition, page: Page) -> list[PageRecord]:
        paging = self._config.paging
        fresh = news(page.records, page_position.seen)
        if isinstance(paging, Since) and page_position.at is not None:
            return [record for record in fresh if not paging.is_older(record.data, page_position.at)]
        return fresh

    def _event(self, record: PageRecord) -> SourceEvent:
        if len(record.data) > EVENT_LIMIT:
            return refuse(record.hash, len(record.data), record.data)
        return SourceEvent(self._event_id(record), record.data)

    def _event_id(self, record: PageRecord) -> str:
        event_id = None if self._id is None else self._id.of(record.data)
        paging = self._config.paging
        if event_id is None or not isinstance(paging, Since) or paging.field == self._config.id_field:
            return event_id or record.hash
        return msgspec.json.encode([paging.value(record.data), event_id]).decode()

    async def _first_page(self) -> Page:
        async with self._server.session() as session:
            api = Api(session, self._server.name, self._config, trusted=False, waits=0)
            page = await api.page(self._config.paging.request(self._url, None))
            self._config.paging.step(self._url, PagePosition(), page, page.records)
            return page

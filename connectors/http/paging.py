"""How an HTTP API is walked through: which request comes first, and which after a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from yarl import URL

from clearwell.errors import ConfigError
from connectors.http.json_body import dotted, find, scalar
from connectors.http.page import MOST_MARKS, Page, PageRecord, marks_of
from connectors.http.split import NotJson

_MAIL_DATE = re.compile(r"(?:[A-Za-z]{3,9}, )?[0-9]{1,2} [A-Za-z]{3} [0-9]{2,4} ")
"""The beginning of a time as RFC 2822 and HTTP have it."""


class PagePosition(NamedTuple):
    """`at` says which page (None: the first); `seen` are the marks of its records that were already taken."""

    at: str | None = None
    seen: tuple[str, ...] = ()


class PagingStep(NamedTuple):
    """After a page: the place to remember (None: the one before), and the place to go on at (None: no more now)."""

    here: PagePosition | None
    following: PagePosition | None


class Paging(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """Base of the ways of paging. A walk goes on until there is no next page; the next walk begins at its last one."""

    def require_sound(self) -> None:
        """Raises ConfigError when the options can't work."""

    def request(self, url: URL, at: str | None) -> URL:
        """The URL of the page at `at`."""
        return url

    def next_at(self, url: URL, at: str | None, page: Page) -> str | None:
        """Where the page after `page` is; None after the last one. Raises ConfigError."""
        return None

    def between(self, old: str | None, new: str | None) -> str:
        """What lies between two pages, and whether it would be read again or skipped, in one sentence."""
        return "Reading would go on at another page: whether records are read again or skipped, only the API knows."

    def ends_by_absence(self, at: str | None) -> bool:
        """Whether 404 for the page at `at` says that there are no more pages, rather than that the URL is wrong."""
        return False

    def has_moved(self, position: PagePosition, page: Page | None) -> bool:
        """Whether the page at `position` (None: it is not there) holds others than it did when it was read last."""
        return False

    def step(self, url: URL, position: PagePosition, page: Page, news: Sequence[PageRecord]) -> PagingStep:
        """What follows on `page`, of whose records `news` were not seen yet. Raises ConfigError.

        An empty page at the end is no place to remember: what is added next may be on the page before it.
        """
        following = self.next_at(url, position.at, page)
        if following is None or following == position.at:
            return PagingStep(PagePosition(position.at, marks_of(page.records)) if page.records else None, None)
        return PagingStep(PagePosition(following), PagePosition(following))


class Single(Paging, frozen=True, kw_only=True, tag="none"):
    """All records are on one page."""

    def between(self, old: str | None, new: str | None) -> str:
        """Only what was seen of it may differ."""
        return "Reading would go on at the only page: records that the new position has not marked come again."


class Cursor(Paging, frozen=True, kw_only=True, tag="cursor"):
    """Each answer says where the next page begins."""

    param: Annotated[str, Meta(description="the query parameter that takes the cursor.")]
    path: Annotated[
        str,
        Meta(
            description='where in the answer the next cursor is, such as "meta.next", or "data.-1.id" for APIs '
            "that take the last record's id; after the last page it is missing or empty."
        ),
    ]

    def require_sound(self) -> None:
        """`path` must name something."""
        dotted(self.path, "paging.path")

    def request(self, url: URL, at: str | None) -> URL:
        """The first page has no cursor."""
        return url if at is None else url.update_query({self.param: at})

    def next_at(self, url: URL, at: str | None, page: Page) -> str | None:
        """The cursor in the answer."""
        return scalar(find(page.body, dotted(self.path, "paging.path"))) if page.body.strip() else None


class PageNumber(Paging, frozen=True, kw_only=True, tag="page"):
    """Pages are numbered."""

    param: Annotated[str, Meta(description="the query parameter that takes the page's number.")] = "page"
    start: Annotated[int, Meta(ge=0, description="the first one. Reading ends at an empty page.")] = 1

    def request(self, url: URL, at: str | None) -> URL:
        """Every page by its number."""
        return url.update_query({self.param: at or str(self.start)})

    def between(self, old: str | None, new: str | None) -> str:
        """In pages."""
        return _told("Pages", int(old or self.start), int(new or self.start))

    def next_at(self, url: URL, at: str | None, page: Page) -> str | None:
        """One further."""
        return str(int(at or self.start) + 1) if page.records else None

    def ends_by_absence(self, at: str | None) -> bool:
        """Any page but the first may be past the end."""
        return at is not None and int(at) != self.start

    def has_moved(self, position: PagePosition, page: Page | None) -> bool:
        """A page that holds nothing of what was seen on it: what it held is on another, and so may be what was not."""
        if not position.seen or not self.ends_by_absence(position.at):
            return False
        if page is None or not page.records:
            return True
        marks = {record.mark for record in page.records}
        return len(page.records) <= MOST_MARKS and marks.isdisjoint(position.seen)

    def step(self, url: URL, position: PagePosition, page: Page, news: Sequence[PageRecord]) -> PagingStep:
        """Remembers the page itself, not the next: it may not have been full yet."""
        _, following = Paging.step(self, url, position, page, news)
        return PagingStep(PagePosition(position.at, marks_of(page.records)) if page.records else None, following)


class Offset(Paging, frozen=True, kw_only=True, tag="offset"):
    """Pages begin at a number of records."""

    param: Annotated[str, Meta(description="the query parameter that takes the number of records to leave out.")] = (
        "offset"
    )
    start: Annotated[int, Meta(ge=0, description="the first. Ends at an empty page.")] = 0

    def request(self, url: URL, at: str | None) -> URL:
        """By the number of the first record."""
        return url.update_query({self.param: at or str(self.start)})

    def between(self, old: str | None, new: str | None) -> str:
        """In records."""
        return _told("Records", int(old or self.start), int(new or self.start))

    def ends_by_absence(self, at: str | None) -> bool:
        """As long as something is left out."""
        return at is not None and int(at) != self.start

    def next_at(self, url: URL, at: str | None, page: Page) -> str | None:
        """After the page's last record."""
        return str(int(at or self.start) + len(page.records)) if page.records else None


class Link(Paging, frozen=True, kw_only=True, tag="link"):
    """The next page is named by its URL, on the same server: in a header `Link: <…>; rel="next"` (RFC 8288), or where
    `path` says.
    """

    path: Annotated[
        str,
        Meta(
            description='where in the answer the URL is, such as "next" or "links.next"; after the last page it is '
            "missing or empty."
        ),
    ] = ""

    def require_sound(self) -> None:
        """`path` must name something, where there is one."""
        if self.path:
            dotted(self.path, "paging.path")

    def request(self, url: URL, at: str | None) -> URL:
        """The link, with what the configured URL's query says put back."""
        return url if at is None else url.join(URL(at)).extend_query(_without(url, URL(at)))

    def next_at(self, url: URL, at: str | None, page: Page) -> str | None:
        """Path and query of the link, without what the configured URL's query says: that may be a secret."""
        link = page.link if not self.path else self._named(url, at, page)
        if link is None:
            return None
        if link.origin() != url.origin():
            raise ConfigError("The link to the next page leads to another server: that is not followed.")
        known = {name for name in link.query if url.query.getall(name, []) == link.query.getall(name)}
        return str(link.without_query_params(*known).relative())

    def _named(self, url: URL, at: str | None, page: Page) -> URL | None:
        """The URL in the answer; a relative one counts from the page that names it."""
        text = scalar(find(page.body, dotted(self.path, "paging.path"))) if page.body.strip() else None
        try:
            return None if text is None else self.request(url, at).join(URL(text))
        except ValueError:
            raise ConfigError("What `paging.path` names is no URL: set it right.") from None


class Since(Paging, frozen=True, kw_only=True, tag="since"):
    """Asks for the records from the highest value seen on, that value included: what was taken already is left out."""

    param: Annotated[str, Meta(description="the query parameter that takes the value.")]
    field: Annotated[
        str,
        Meta(
            description='where in a record it is, such as "updated_at": a time (ISO 8601, or as in "Mon, 29 Jan 2024 '
            '09:00:00 +0000"), a number, or a text that grows as letters do, by which the API must give '
            "the records in ascending order if not all at once."
        ),
    ]
    start: Annotated[str | None, Meta(description="the value to begin with.")] = None
    limit: (
        Annotated[
            int,
            Meta(
                ge=1, description="the number of records on a full page, so that a page full of one value is noticed."
            ),
        ]
        | None
    ) = None

    def require_sound(self) -> None:
        """`field` must name something."""
        dotted(self.field, "paging.field")

    def request(self, url: URL, at: str | None) -> URL:
        """From the highest value on."""
        since = at or self.start
        return url if since is None else url.update_query({self.param: since})

    def value(self, data: bytes) -> str | None:
        """A record's value."""
        try:
            return scalar(find(data, dotted(self.field, "paging.field")))
        except NotJson:
            return None

    def between(self, old: str | None, new: str | None) -> str:
        """In values of the field."""
        old, new = old or self.start, new or self.start
        if new is None or old is None:
            way = "read again" if new is None else "skipped"
            return f"Records up to {self.field} {old if new is None else new} would be {way}."
        way = "read again" if _rank(new) < _rank(old) else "skipped"
        low, high = sorted((old, new), key=_rank)
        return f"Records with {self.field} between {low} and {high} would be {way}."

    def step(self, url: URL, position: PagePosition, page: Page, news: Sequence[PageRecord]) -> PagingStep:
        """Go on at the highest value as long as there is news."""
        values = [self.value(record.data) for record in page.records]
        _require_order([value for value in (position.at, *values) if value is not None], self.field)
        highest = max(
            [candidate for candidate in (position.at, *values) if candidate is not None], key=_rank, default=None
        )
        if not news:
            if self.limit is not None and len(page.records) >= self.limit:
                raise ConfigError(
                    f"More records than a page holds share one {self.field}: choose a finer field or larger pages."
                )
            return PagingStep(None, None)
        same = highest == position.at
        ties = [record.mark for record, value in zip(page.records, values, strict=True) if value in (highest, None)]
        seen = tuple(dict.fromkeys((*(position.seen if same else ()), *ties)))
        if len(seen) > MOST_MARKS:
            raise ConfigError(f"More than {MOST_MARKS} records share one {self.field}: choose a finer field.")
        here = PagePosition(highest, seen)
        return PagingStep(here, here)

    def is_older(self, data: bytes, at: str | None) -> bool:
        """Whether a record lies before what was asked for: a server that ignores or rounds the value sends such."""
        value = self.value(data)
        return at is not None and value is not None and _rank(value) < _rank(at)


AnyPaging = Single | Cursor | PageNumber | Offset | Link | Since


def _told(what: str, old: int, new: int) -> str:
    way = "read again" if new < old else "skipped"
    return f"{what} from {min(old, new)} to before {max(old, new)} would be {way}."


def _require_order(values: Sequence[str], field: str) -> None:
    """Raises ConfigError for values of which nobody knows which is the highest: texts that do not grow, or mixed."""
    ranks = [_rank(value) for value in values]
    kinds = {rank[0] for rank in ranks}
    if len(kinds) > 1 or (kinds == {2} and ranks != sorted(ranks)):
        raise ConfigError(
            f"The values of {field} are neither all numbers, nor all times in a form that is known, nor texts in "
            "ascending order: records would be lost. Choose another `paging.field`, or another way of paging."
        )


def _rank(value: str) -> tuple[int, Any, str]:
    """The order of values: numbers, times (without a zone in UTC), then other texts."""
    try:
        number = Decimal(value)
        if number.is_finite():
            return 0, number, ""
    except ArithmeticError:
        pass
    try:
        time = parsedate_to_datetime(value) if _MAIL_DATE.match(value) else datetime.fromisoformat(value)
    except ValueError:
        return 2, value, ""
    return 1, time if time.tzinfo else time.replace(tzinfo=UTC), value


def _without(url: URL, link: URL) -> list[tuple[str, str]]:
    """The configured URL's query parameters that a link lacks."""
    return [(name, value) for name, value in url.query.items() if name not in link.query]

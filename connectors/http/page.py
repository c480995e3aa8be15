"""One page of an HTTP API: its records, each with a mark by which it is known when the page is read again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from yarl import URL

MOST_MARKS = 10_000
"""Records of which a position remembers each: a page with more is remembered as a whole."""


class PageRecord(NamedTuple):
    """A record as written; `mark` is a short hash of it and of how many like it came before in the page."""

    data: bytes
    mark: str
    hash: str


class Page(NamedTuple):
    """An answer. `link` is the URL of the next page by its Link header."""

    body: bytes
    records: Sequence[PageRecord]
    link: URL | None = None


def marked(records: Sequence[bytes]) -> list[PageRecord]:
    """Records with their marks; those alike to the last byte are told apart by counting."""
    counts: dict[bytes, int] = {}
    made = []
    for data in records:
        digest = hashlib.blake2b(data, digest_size=16).digest()
        count = counts[digest] = counts.get(digest, 0) + 1
        text = digest.hex() if count == 1 else f"{digest.hex()}-{count}"
        made.append(PageRecord(data, text if count > 1 else text[:16], text))
    return made


def marks_of(records: Sequence[PageRecord]) -> tuple[str, ...]:
    """What a position remembers of a page."""
    if len(records) > MOST_MARKS:
        return (whole_mark(records),)
    return tuple(record.mark for record in records)


def whole_mark(records: Sequence[PageRecord]) -> str:
    """The mark of a whole page."""
    return "all-" + hashlib.blake2b("".join(record.hash for record in records).encode(), digest_size=8).hexdigest()


def news(records: Sequence[PageRecord], seen: Sequence[str]) -> list[PageRecord]:
    """The records that were not `seen` yet."""
    known = frozenset(seen)
    if not known:
        return list(records)
    if len(records) > MOST_MARKS and whole_mark(records) in known:
        return []
    return [record for record in records if record.mark not in known]

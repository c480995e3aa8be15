"""What a route to MongoDB says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Word


class MongoOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The collection."""

    container: ClassVar[str | None] = "collection"

    collection: Annotated[Word | None, Meta(description="the collection; default: named as the stream.")] = None

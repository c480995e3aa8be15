"""What a route to OpenSearch says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Word


class OpenSearchOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The index."""

    needs_name: ClassVar[bool] = True
    container: ClassVar[str | None] = "index"

    index: Annotated[Word | None, Meta(description="the index; default: named as the stream.")] = None

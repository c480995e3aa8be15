"""What a route to an SQL database says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Word


class SqlOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table."""

    needs_name: ClassVar[bool] = True
    container: ClassVar[str | None] = "table"

    table: Annotated[Word | None, Meta(description="the table; default: named as the stream.")] = None

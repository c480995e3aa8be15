"""What a route to PostgreSQL says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Word


class PostgresOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table."""

    container: ClassVar[str | None] = "table"
    widens: ClassVar[bool] = True

    table: Annotated[Word | None, Meta(description="the table; default: named as the stream.")] = None

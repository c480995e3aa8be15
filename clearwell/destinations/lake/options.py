"""What a route to the lake says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Word


class LakeOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table."""

    container: ClassVar[str | None] = "table"

    table: Annotated[
        Word | None, Meta(description="the table, a folder under `lake/`; default: <stream>_v<version>.")
    ] = None

"""What a route to files says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Word


class FilesOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The folder."""

    needs_name: ClassVar[bool] = True
    container: ClassVar[str | None] = "folder"

    folder: Annotated[
        Word | None, Meta(description="the stream's folder below the store's; default: <stream>_v<version>.")
    ] = None
